"""Lanes: one handler on one entity, its events one at a time and in order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Literal

from redis import Redis

from kommo.store.chains import Chains, Lease, Taken
from kommo.store.dead import DeadLetter
from kommo.store.keys import Keys
from kommo.store.outbox import QUEUE as OUTBOX
from kommo.store.scripts import Call
from kommo.store.stories import Line, life_seconds, story_key

QUEUE: Final = "lanes"
Verb = Literal["done", "failed", "again", "postpone", "dead"]


@dataclass(frozen=True, slots=True)
class AskedWrite:
    """A write for the outbox: the chain that keeps its order, and its record as an item (see outbox.item_of)."""

    chain: str
    record: bytes


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """How a step ended (the verbs are explained in lane_finish.lua). `runner` is the thread that ran it.

    `told` goes into the story of its delivery, which then lives for `story_seconds`.
    """

    lease: Lease
    verb: Verb
    runner: str
    stream_id: str
    delay_ms: int = 0
    writes: Sequence[AskedWrite] = field(default_factory=tuple)
    dead: DeadLetter | None = None
    told: Line | None = None
    story_seconds: int = life_seconds(0)


class Finished(IntEnum):
    """Whether an outcome was recorded. The values are those of the finish scripts."""

    STALE = 0
    RECORDED = 1
    RECORDED_BEFORE = 2


class Lanes(Chains):
    """The lanes of all accounts."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        super().__init__(QUEUE, redis, keys)
        #: The keys of lane_finish.lua by account, up to `finished` and after it: naming them takes as long as its work.
        self._named: dict[int, tuple[Sequence[str], Sequence[str]]] = {}

    def finish(self, outcome: StepOutcome) -> tuple[Finished, bool]:
        """Record how a step ended and store its writes; say whether a flush has to be woken.

        STALE means that the lease had passed to somebody else: nothing was changed, and the writes are discarded.
        Call it again after StoreUnavailable: what was recorded is not recorded twice.
        """
        return _finished(self._scripts.run(self._finish_call(outcome)))

    def finish_and_take(self, outcome: StepOutcome, token: str) -> tuple[Finished, bool, Taken]:
        """Finish a step and lease the account's next one, in one round trip."""
        account = outcome.lease.account_id
        calls = [self._finish_call(outcome), self._take_call(account, token, 1)]
        finished, taken = self._scripts.run_together(calls)
        return *_finished(finished), self._taken(account, token, taken)

    @staticmethod
    def name(entity_type: str, entity_id: int | str | None, handler: str) -> str:
        """Name a lane within its account."""
        return f"{entity_type}:{'' if entity_id is None else entity_id}:{handler}"

    def _finish_call(self, outcome: StepOutcome) -> Call:
        account, keys = outcome.lease.account_id, self._keys
        lease, letter, told = outcome.lease, outcome.dead, outcome.told
        args: list[str | int | bytes] = [account, lease.chain, lease.token, lease.seq, outcome.verb, outcome.delay_ms]
        args += [outcome.stream_id, letter.id if letter else "", letter.to_json() if letter else ""]
        args += [told.name if told else "", told.text if told else "", outcome.story_seconds]
        for write in outcome.writes:
            args += [write.chain, write.record]
        before, after = self._named.get(account) or self._name(account)
        finished = keys.of_shard(keys.shard(account), QUEUE, "finished", outcome.runner)
        story = [story_key(keys, account, told.delivery_id)] if told else []
        return Call("lane_finish", [*before, finished, *after, *story], args)

    def _name(self, account: int) -> tuple[Sequence[str], Sequence[str]]:
        keys = self._keys
        flush = keys.queue(OUTBOX, keys.shard(account))
        chains = (*keys.chains(QUEUE, account).all(), *keys.chains(OUTBOX, account).all())
        named = (*chains, flush.awake, flush.flag), (keys.open(account), keys.stats(account), *keys.dead(account))
        self._named[account] = named
        return named


def _finished(answer: Sequence[Any]) -> tuple[Finished, bool]:
    return Finished(answer[0]), bool(answer[1])
