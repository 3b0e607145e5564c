"""Errands: what a door has promised and not done yet, kept in Redis until it is done or its time is over.

Keys, all under the tag `{errands}`:

    kommo:{errands}:due          zset    errand -> unix ms at which it is next to be done
    kommo:{errands}:record:<id>  string  JSON: ends, tries, record, outcome once there is one; lives a little longer
    kommo:{errands}:held:<id>    string  somebody is doing it now; lives HOLD_SECONDS
    kommo:{errands}:pass:<name>  string  how many passed a door within the minute; lives as long
    kommo:{errands}:name:<name>  string  the errand that a name stands for; lives as long as the name is good
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from redis import Redis

from kommo.store.connection import translated

#: Seconds for which an errand belongs to whoever took it: longer than three calls with their waiting may last, since
#: two that use the same code at once lose it.
HOLD_SECONDS: Final = 180
#: Seconds for which an errand can be looked up after its time is over.
_REMEMBERED: Final = 20 * 60
_TAG: Final = "kommo:{errands}"
_DUE: Final = f"{_TAG}:due"
#: Errands that one look takes into account.
_PAGE: Final = 20


@dataclass(frozen=True, slots=True)
class Errand:
    """Something to do, by its id (`kind:…`), until a moment in unix seconds. `record` is JSON, its secrets sealed."""

    id: str
    ends: float
    record: Mapping[str, Any] = field(repr=False)
    tries: int = 0
    #: What came of it; None while it is not done.
    outcome: Mapping[str, Any] | None = None

    @property
    def kind(self) -> str:
        return self.id.partition(":")[0]


class Errands:
    """All errands of the fleet's receivers."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def add(self, errand: Errand, *, after: float = 0.0) -> bool:
        """Keep an errand, to be done after so many seconds; False when one with this id is known, done or not.

        Raises:
            StoreUnavailable: Redis is away. Whether it is kept is not known; add it again.
        """
        with translated():
            pipe = self._redis.pipeline(transaction=True)
            pipe.set(_record(errand.id), _dump(errand), nx=True, ex=_life(errand))
            # Of one that is done already the place is taken out by whoever meets it.
            pipe.zadd(_DUE, {errand.id: _now_ms() + int(after * 1000)}, nx=True)
            added, _ = pipe.execute()
        return bool(added)

    def take(self) -> Errand | None:
        """Take an errand that is due, for HOLD_SECONDS; None when there is none."""
        with translated():
            due: Any = self._redis.zrangebyscore(_DUE, "-inf", _now_ms(), start=0, num=_PAGE)
            for name in due:
                id_ = name.decode()
                if not self._redis.set(_held(id_), "1", nx=True, ex=HOLD_SECONDS):
                    continue
                errand = self.look(id_)
                if errand and errand.outcome is None:
                    return errand
                self._redis.zrem(_DUE, id_)
                self._redis.delete(_held(id_))
        return None

    def look(self, id_: str) -> Errand | None:
        """Look an errand up, done or not; None when it is not known."""
        with translated():
            text: Any = self._redis.get(_record(id_))
        return None if text is None else _load(id_, text)

    def keep(self, errand: Errand) -> None:
        """Write down how far an errand has come, and go on with it for another HOLD_SECONDS."""
        with translated():
            pipe = self._redis.pipeline(transaction=True)
            pipe.set(_record(errand.id), _dump(errand), ex=_life(errand))
            pipe.set(_held(errand.id), "1", ex=HOLD_SECONDS)
            pipe.execute()

    def postpone(self, errand: Errand, *, seconds: float) -> None:
        """Let an errand rest."""
        later = replace(errand, tries=errand.tries + 1)
        with translated():
            pipe = self._redis.pipeline(transaction=True)
            pipe.set(_record(errand.id), _dump(later), ex=_life(errand))
            pipe.zadd(_DUE, {errand.id: _now_ms() + int(seconds * 1000)})
            pipe.delete(_held(errand.id))
            pipe.execute()

    def finish(self, errand: Errand, outcome: Mapping[str, Any] | None) -> None:
        """End an errand. Its record goes, and its outcome stays for a while; without one the id is free again."""
        with translated():
            pipe = self._redis.pipeline(transaction=True)
            if outcome is None:
                pipe.delete(_record(errand.id))
            else:
                pipe.set(_record(errand.id), _dump(replace(errand, record={}, outcome=outcome)), ex=_life(errand))
            pipe.zrem(_DUE, errand.id)
            pipe.delete(_held(errand.id))
            pipe.execute()

    def next_in(self) -> float | None:
        """Say in how many seconds the next errand is due (0 and less: it is); None when there is none."""
        with translated():
            rows: Any = self._redis.zrange(_DUE, 0, 0, withscores=True)
        return (rows[0][1] - _now_ms()) / 1000 if rows else None

    def waiting(self, kind: str) -> int:
        """Count the errands of a kind that are not done."""
        with translated():
            names: Any = self._redis.zrange(_DUE, 0, -1)
        return sum(name.decode().partition(":")[0] == kind for name in names)

    def claim(self, name: str, id_: str, *, seconds: int) -> bool:
        """Let a name stand for one errand and no other, for so long; False when it stands for another."""
        with translated():
            pipe = self._redis.pipeline(transaction=True)
            pipe.set(_name(name), id_, nx=True, ex=seconds)
            pipe.get(_name(name))
            _, stands_for = pipe.execute()
        return bool(stands_for == id_.encode())

    def claimed(self, name: str) -> str | None:
        """Give the errand that a name stands for."""
        with translated():
            stands_for: Any = self._redis.get(_name(name))
        return None if stands_for is None else stands_for.decode()

    def passes(self, name: str, *, a_minute: int) -> bool:
        """Count who passes a door that asks for no proof; False for those above so many a minute."""
        with translated():
            key = f"{_TAG}:pass:{name}:{int(time.time()) // 60}"
            pipe = self._redis.pipeline(transaction=True)
            pipe.incr(key)
            pipe.expire(key, 60)
            count, _ = pipe.execute()
        return bool(count <= a_minute)


def _record(id_: str) -> str:
    return f"{_TAG}:record:{id_}"


def _held(id_: str) -> str:
    return f"{_TAG}:held:{id_}"


def _name(name: str) -> str:
    return f"{_TAG}:name:{name}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _life(errand: Errand) -> int:
    return max(1, int(errand.ends - time.time())) + _REMEMBERED


def _dump(errand: Errand) -> str:
    return json.dumps(
        {"ends": errand.ends, "tries": errand.tries, "record": errand.record, "outcome": errand.outcome},
        separators=(",", ":"),
    )


def _load(id_: str, text: bytes) -> Errand:
    return Errand(id_, **json.loads(text))
