"""Health: is the process alive, can a delivery be stored, and what else is wrong."""

from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, Response, jsonify
from redis import Redis

from kommo.errors import StoreError, StoreUnavailable
from kommo.queue import LOOPS
from kommo.store.connection import translated
from kommo.store.fleet import Fleet
from kommo.store.keys import Keys
from kommo.store.loops import Loops

#: ms after which work that nobody took means that the workers cannot keep up.
_OVERDUE_MS: Final = 60_000


@dataclass(frozen=True)
class Health:
    """What can be asked without disturbing anything."""

    redis: Redis
    fleet: Fleet
    keys: Keys

    def ready(self) -> tuple[Response, int]:
        """Say 503 only when a delivery could be stored nowhere; all else that is wrong is a reason."""
        try:
            with translated():
                self.redis.set("kommo:{health}:probe", "1", ex=60)
            reasons = self._reasons()
        except StoreUnavailable as error:
            return jsonify(status="unavailable", reasons=[str(error)]), 503
        return jsonify(status="degraded" if reasons else "ready", reasons=reasons), 200

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
        return [reason for wrong, reason in found if wrong] + shards

    def _other_shards(self) -> list[str]:
        try:
            self.fleet.check_shards(self.keys.shards)
        except StoreUnavailable:
            raise
        except StoreError as error:
            return [str(error)]
        return []

    def _overdue(self) -> bool:
        return any(
            Loops(queue, self.redis, self.keys).overdue(shard, by_ms=_OVERDUE_MS)
            for queue in LOOPS
            for shard in range(self.keys.shards)
        )

    def _durable(self) -> bool:
        return bool(self._info("persistence").get("aof_enabled", 1))

    def _evicts(self) -> bool:
        memory = self._info("memory")
        return bool(memory.get("maxmemory")) and memory.get("maxmemory_policy") != "noeviction"

    def _info(self, section: str) -> dict[str, Any]:
        with translated():
            answer: Any = self.redis.info(section)
        return dict(answer)


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
