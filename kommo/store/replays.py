"""Replays: what was asked for, how far it has come, and the steps that it puts into the lanes."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis import Redis

from kommo.store.connection import translated
from kommo.store.inbox import START, RoutedEvent
from kommo.store.keys import Keys
from kommo.store.lanes import QUEUE as LANES
from kommo.store.scripts import Call, Scripts

#: Seconds for which a replay that was interrupted may be gone on with.
LIFE_SECONDS: Final = 24 * 3600
_TAG: Final = "kommo:{replays}"


class Added(NamedTuple):
    """What became of a batch: whether its place was still the right one, steps added, whether to wake a run loop."""

    moved: bool
    steps: int
    wake: bool


class Replays:
    """The replays on one Redis."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._scripts = Scripts(redis)

    def keep(self, replay: str, asked: bytes) -> None:
        """Keep what a replay is asked to do, so that it can be gone on with."""
        with translated():
            self._redis.set(f"{_TAG}:{replay}", asked, ex=LIFE_SECONDS)

    def asked(self, replay: str) -> bytes | None:
        """Give what a replay was asked to do; None when there is none of this name, or it was a day ago."""
        with translated():
            found: Any = self._redis.get(f"{_TAG}:{replay}")
        return None if found is None else bytes(found)

    def place(self, replay: str, account_id: int) -> str:
        """Give the stream id up to which a replay has come in an account."""
        with translated():
            found: Any = self._redis.get(self._key(account_id, replay, "place"))
        return found.decode() if found else START

    def add(self, replay: str, account_id: int, *, after: str, up_to: str, events: Sequence[RoutedEvent]) -> Added:
        """Put events into their lanes and move the replay's place, all or nothing (see step_add.lua).

        An event that this replay has run already is left out, and so is one that nobody wants.
        """
        keys = self._keys
        loops = keys.queue(LANES, keys.shard(account_id))
        args: list[str | int | bytes] = [account_id, after, up_to, LIFE_SECONDS]
        for event in events:
            if event.steps:
                args += [event.event_id, event.stream_id, len(event.steps)]
            for step in event.steps:
                args += [step.lane, step.record]
        names = [
            self._key(account_id, replay, "place"),
            self._key(account_id, replay, "events"),
            keys.open(account_id),
            keys.stats(account_id),
            *keys.chains(LANES, account_id).all(),
            loops.awake,
            loops.flag,
        ]
        moved, steps, wake = self._scripts.run(Call("step_add", names, args))
        return Added(bool(moved), int(steps), bool(wake))

    def _key(self, account_id: int, replay: str, part: str) -> str:
        return self._keys.of_account(account_id, "replay", replay, part)
