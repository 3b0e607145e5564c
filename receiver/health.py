"""Health: is the process alive, can a delivery be stored, and what else is wrong."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from flask import Blueprint, Response, jsonify
from redis import Redis

from kommo.errors import StoreError, StoreUnavailable
from kommo.store.backlog import Backlogs
from kommo.store.connection import translated
from kommo.store.fleet import Fleet
from kommo.store.keys import Keys
from receiver import watched
from receiver.changed_secrets import ChangedSecrets
from receiver.spool import Spool

#: ms after which work that nobody took means that the workers cannot keep up.
_OVERDUE_MS: Final = 60_000


@dataclass(frozen=True)
class Health:
    """What can be asked without disturbing anything."""

    redis: Redis
    fleet: Fleet
    keys: Keys
    changed: ChangedSecrets | None = None
    spool: Spool | None = None

    def ready(self) -> tuple[Response, int]:
        """Say 503 only when a delivery could be stored nowhere; all else that is wrong is a reason."""
        refused = self._spool_refuses()
        try:
            probe(self.redis, self.keys)
            reasons = [*self._reasons(), *refused]
        except StoreUnavailable as error:
            reasons = [str(error), *refused]
            if refused or self.spool is None:
                return jsonify(status="unavailable", reasons=reasons), 503
        reasons += self._spooled()
        return jsonify(status="degraded" if reasons else "ready", reasons=reasons), 200

    def _spool_refuses(self) -> list[str]:
        try:
            if self.spool:
                self.spool.check()
        except StoreUnavailable as error:
            return [str(error)]
        return []

    def _spooled(self) -> list[str]:
        census = self.spool.census() if self.spool else None
        if census is None:
            return []
        since = datetime.fromtimestamp(census.since, UTC).isoformat(" ", "seconds")
        return [
            f"{census.deliveries} deliveries ({census.bytes} bytes) lie in the spool, used since {since}: "
            "they go into Redis when it is back"
        ]

    def _reasons(self) -> list[str]:
        workers = self.fleet.size()
        found = [
            (workers == 0, "no worker has been seen for 5 s: deliveries are kept, and wait"),
            (
                self._overdue(),
                "work has been waiting for more than a minute: start more workers, or look at their logs",
            ),
            (
                not self._durable(),
                "Redis does not write an append-only file: set appendonly yes, or a crash loses work",
            ),
            (self._evicts(), "Redis may evict work when memory runs out: set maxmemory-policy noeviction"),
        ]
        # A worker has put the number of shards on record before it is seen, so that asking records nothing here.
        shards = self._other_shards() if workers else []
        further = [*shards, *self._changed_secrets(), *watched.reasons(self.redis, self.keys)]
        return [reason for wrong, reason in found if wrong] + further

    def _changed_secrets(self) -> list[str]:
        return self.changed.reasons() if self.changed else []

    def _other_shards(self) -> list[str]:
        try:
            self.fleet.check_shards(self.keys.shards)
        except StoreUnavailable:
            raise
        except StoreError as error:
            return [str(error)]
        return []

    def _overdue(self) -> bool:
        return any(backlog.age_ms > _OVERDUE_MS for backlog in Backlogs(self.redis, self.keys).all())

    def _durable(self) -> bool:
        return bool(self._info("persistence").get("aof_enabled", 1))

    def _evicts(self) -> bool:
        memory = self._info("memory")
        return bool(memory.get("maxmemory")) and memory.get("maxmemory_policy") != "noeviction"

    def _info(self, section: str) -> dict[str, Any]:
        with translated():
            answer: Any = self.redis.info(section)
        return dict(answer)


def probe(redis: Redis, keys: Keys) -> None:
    """Find out whether Redis stores what it is given, in every shard; raises StoreUnavailable when it does not."""
    with translated():
        pipe = redis.pipeline(transaction=False)
        for shard in range(keys.shards):
            pipe.set(keys.of_shard(shard, "health", "probe"), "1", ex=60)
        pipe.execute()


def blueprint(health: Health) -> Blueprint:
    """Make the routes that need no proof."""
    routes = Blueprint("health", __name__)
    routes.add_url_rule("/health/live", "live", lambda: jsonify(status="alive"))
    routes.add_url_rule("/health/ready", "ready", health.ready)
    # Kommo probes the domain of an integration from time to time.
    routes.add_url_rule(
        "/", "root", lambda: Response("This address receives webhooks from Kommo.\n", mimetype="text/plain")
    )
    return routes
