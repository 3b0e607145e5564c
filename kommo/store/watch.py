"""What is known of each account's webhook at Kommo: whether it is on, and until when it was seen to be.

https://developers.kommo.com/docs/webhooks-general
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from redis import Redis

from kommo.store.connection import translated
from kommo.store.keys import Keys

#: `on` gets deliveries; `disabled` was switched off by Kommo; `missing` is not registered; `unseen` cannot be asked
#: for: no administrator, or a plan without webhooks.
State = Literal["on", "disabled", "missing", "unseen"]
#: Stands for all accounts where something has one turn in the whole fleet.
ALL: Final = 0
#: No delivery comes.
OFF: Final = frozenset(("disabled", "missing"))


@dataclass(frozen=True, slots=True)
class Watched:
    """How a webhook stood when it was last looked at; times are unix seconds."""

    state: State
    #: Since when it stands so.
    since: int
    #: When it was last seen to be on; 0 for never.
    good_at: int = 0
    #: When it first was, so that nothing from before that is looked for.
    first_at: int = 0
    #: What Kommo has answered, or what a person has to do.
    reason: str = ""
    #: Events of KOMMO_WEBHOOK_EVENTS that it does not get though they were asked for.
    lacking: tuple[str, ...] = ()


class Watch:
    """The webhooks of all accounts: two hashes a shard, account -> record, and account -> when it was looked at."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def get(self, account_id: int) -> Watched | None:
        """Read what is known; None when nobody has looked yet."""
        with translated():
            record: Any = self._redis.hget(self._key(self._keys.shard(account_id)), str(account_id))
        return _watched(record) if record else None

    def all(self) -> Mapping[int, Watched]:
        """Read what is known of all accounts, in the order of their numbers."""
        found: dict[int, Watched] = {}
        with translated():
            for shard in range(self._keys.shards):
                records: Any = self._redis.hgetall(self._key(shard))
                found |= {int(account): _watched(record) for account, record in records.items()}
        return dict(sorted(found.items()))

    def note(self, account_id: int, watched: Watched) -> None:
        """Write down how a webhook stands."""
        with translated():
            self._redis.hset(self._key(self._keys.shard(account_id)), str(account_id), json.dumps(asdict(watched)))

    def forget(self, account_id: int) -> None:
        """Drop what is known, so that the next look is the first: it registers nothing and misses nothing."""
        with translated():
            self._redis.hdel(self._key(self._keys.shard(account_id)), str(account_id))
            self._redis.hdel(self._looks(self._keys.shard(account_id)), str(account_id))

    def looked(self, account_id: int, at: int) -> None:
        """Write down when somebody began to look, whatever comes of it."""
        with translated():
            self._redis.hset(self._looks(self._keys.shard(account_id)), str(account_id), at)

    def by_last_look(self, accounts: Iterable[int]) -> list[int]:
        """Put accounts into the order in which they are due: first those that nobody has looked at for longest."""
        looks: dict[int, int] = {}
        with translated():
            for shard in range(self._keys.shards):
                rows: Any = self._redis.hgetall(self._looks(shard))
                looks |= {int(account): int(at) for account, at in rows.items()}
        return sorted(accounts, key=lambda account: looks.get(account, 0))

    def turn(self, account_id: int, what: str, seconds: int) -> bool:
        """Say whether something is to be done for an account, or ALL: once in so many seconds, in the whole fleet."""
        key = self._keys.of_account(account_id, "webhook", "turn", what)
        with translated():
            return bool(self._redis.set(key, 1, nx=True, ex=seconds))

    def _looks(self, shard: int) -> str:
        return self._keys.of_shard(shard, "webhook", "looks")

    def _key(self, shard: int) -> str:
        return self._keys.of_shard(shard, "webhook", "watch")


def _watched(record: bytes) -> Watched:
    given = json.loads(record)
    return Watched(**{**given, "lacking": tuple(given["lacking"])})
