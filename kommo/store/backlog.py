"""How much work waits, and for how long: per queue, over all accounts.

Work waits from the moment at which it is due. What is under a lease is being worked on; a retry whose time has not
come is not due. Writes wait for Kommo's limit, or for a person when their account is parked, and that is nobody's
fault: they count as late only from the moment at which a loop should have looked after them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis

from kommo.queue import LOOPS
from kommo.store.connection import now_ms, translated
from kommo.store.inbox import QUEUE as INBOX
from kommo.store.keys import Keys
from kommo.store.outbox import QUEUE as OUTBOX
from kommo.store.scripts import Call, Scripts

#: Accounts of a shard that are looked into, those first that have waited longest for a loop; and the deliveries of one
#: account that are counted at most, since a stream cannot say how long its rest is.
ACCOUNTS: Final = 100
DELIVERIES: Final = 1_000
#: ms for which a drain keeps an account to itself at most; its deliveries wait all the same.
_DRAINED_MS: Final = 3_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in one queue.

    `age_ms` is for how long the oldest due work has waited, 0 when there is none. `accounts` have something due, and
    `depth` is how many deliveries, events or writes they have; those that are not due yet are among them.
    """

    queue: str
    age_ms: int
    accounts: int
    depth: int


class Backlogs:
    """The backlogs of a Redis."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._scripts = Scripts(redis)

    def late_ms(self, queue: str) -> int:
        """Say for how long an account with due work has waited for a loop at most; one question a shard.

        Each turn of an account begins its wait anew: a flood that is worked on does not look late here.
        """
        now = now_ms(self._redis, beside=self._keys.queue(queue, 0).ready)
        with translated():
            pipe = self._redis.pipeline(transaction=False)
            for shard in range(self._keys.shards):
                pipe.zrange(self._keys.queue(queue, shard).ready, 0, 0, withscores=True)
            firsts: Any = pipe.execute()
        return max((int(now - due) for first in firsts for _, due in first if due <= now), default=0)

    def measure(self, queue: str) -> Backlog:
        """Measure one queue (`inbox`, `lanes` or `outbox`): two questions a shard."""
        now = now_ms(self._redis, beside=self._keys.queue(queue, 0).ready)
        waits = [wait for shard in range(self._keys.shards) for wait in self._waits(queue, shard, now)]
        due = [(since, depth) for since, depth in waits if since <= now]
        age = max((now - since for since, _ in due), default=0)
        return Backlog(queue, age, len(due), sum(depth for _, depth in due))

    def all(self) -> Sequence[Backlog]:
        """Measure every queue."""
        return [self.measure(queue) for queue in LOOPS]

    def _waits(self, queue: str, shard: int, now: int) -> list[tuple[int, int]]:
        """Give, per account that a loop may take, the ms since which it waits and how much waits."""
        key = self._keys.queue(queue, shard).ready
        latest = now + (_DRAINED_MS if queue == INBOX else 0)
        with translated():
            rows: Any = self._redis.zrangebyscore(key, "-inf", latest, 0, ACCOUNTS, withscores=True)
        answers = self._scripts.run_together([self._call(queue, int(account)) for account, _ in rows])
        return [
            (int(ready) if since < 0 or queue == OUTBOX else min(int(ready), since), depth)
            for (_, ready), (since, depth) in zip(rows, answers, strict=True)
        ]

    def _call(self, queue: str, account: int) -> Call:
        keys = self._keys
        if queue == INBOX:
            stream, cursor = (keys.of_account(account, INBOX, part) for part in ("stream", "cursor"))
            return Call("backlog_inbox", [stream, cursor], [DELIVERIES])
        chains = keys.chains(queue, account)
        return Call("backlog_chains", [chains.due, chains.items], [])
