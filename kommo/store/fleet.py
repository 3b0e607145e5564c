"""The fleet: which worker processes live, what they can do, which handlers they know."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from redis import Redis

from kommo.errors import StoreError, StoreUnavailable
from kommo.store.connection import is_partly_away, now_ms, translated
from kommo.store.scripts import Call, Scripts

#: ms after its last announcement at which a process counts as gone. Processes announce themselves every second.
LIFE_MS: Final = 5_000
_TAG: Final = "kommo:{fleet}"


class Fleet:
    """All worker processes on one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)

    def announce(self, process: str, capacity: Mapping[str, int], handlers: Iterable[str], *, sweep_ms: int) -> bool:
        """Say that a process lives, how many loops it may run per queue, and which handlers it knows.

        True when it is the one process that is to sweep, which no other one is for the next `sweep_ms`; also when
        this cannot be asked, while there are other nodes of a Cluster with work to sweep.
        """
        args: list[str | int | bytes] = [process, LIFE_MS, sweep_ms, len(capacity)]
        for queue, loops in capacity.items():
            args += [queue, loops]
        keys = [f"{_TAG}:{name}" for name in ("processes", "capacity", "handlers", "sweeper")]
        try:
            return bool(self._scripts.run(Call("fleet_announce", keys, [*args, *handlers])))
        except StoreUnavailable:
            if is_partly_away(self._redis):
                return True
            raise

    def leave(self, process: str, queues: Iterable[str]) -> None:
        """Say that a process ends."""
        with translated():
            self._redis.zrem(f"{_TAG}:processes", process)
            self._redis.hdel(f"{_TAG}:capacity", *(f"{process} {queue}" for queue in queues))

    def capacity(self) -> Counter[str]:
        """Add up how many loops the announced processes may run per queue."""
        with translated():
            rows: Any = self._redis.hgetall(f"{_TAG}:capacity")
        totals: Counter[str] = Counter()
        for name, loops in rows.items():
            totals[name.decode().rpartition(" ")[2]] += int(loops)
        return totals

    def size(self) -> int:
        """Count the living processes."""
        with translated():
            now = now_ms(self._redis, beside=_TAG)
            number: Any = self._redis.zcount(f"{_TAG}:processes", f"({now}", "+inf")
        return int(number)

    def handler_unseen_ms(self, handler: str) -> int | None:
        """Say for how long no process has announced a handler; None when none ever did."""
        with translated():
            last: Any = self._redis.zscore(f"{_TAG}:handlers", handler)
            return None if last is None else now_ms(self._redis, beside=_TAG) - int(last)

    def check_shards(self, shards: int) -> None:
        """Record the number of shards, or compare it with the one on record.

        Raises:
            StoreError: work lies in Redis under another number; it would not be found.
        """
        with translated():
            self._redis.set(f"{_TAG}:shards", shards, nx=True)
            recorded: Any = self._redis.get(f"{_TAG}:shards")
        if int(recorded) != shards:
            raise StoreError(
                f"KOMMO_SHARDS={shards}, but the work in this Redis lies in {int(recorded)} shards: set KOMMO_SHARDS="
                f"{int(recorded)}, or use an empty Redis"
            )
