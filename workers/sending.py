"""Sending leased writes as one request: which of them are ready, and what Kommo's answer means for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from kommo.api.bulk import Batch, mergeable, target_of
from kommo.api.doubt import may_be_done, search_for
from kommo.api.writes import Write
from kommo.errors import Action, ApiError, RequestError, StoreUnavailable, TryLater, named
from kommo.store.outbox import ALONE, DOUBTFUL, FAILED, RESULT_SECONDS, Pile, PileOutcome, Verb
from workers.backoff import backoff_ms
from workers.letters import given_up

_log = structlog.get_logger(__name__)
#: Tries of a write before it becomes a dead letter; with the longest waits that is about two hours.
ATTEMPTS: Final = 16
#: ms after which a write that waits for another one is looked at again.
_NEEDS_MS: Final = 200
#: What is nobody's failure: the account or the limit has to be ready again first, and is looked after elsewhere.
_NOT_NOW: Final = frozenset({Action.RENEW, Action.PARK, Action.PARK_PAYMENT, Action.STOP, Action.SLOW_DOWN})


@dataclass(frozen=True)
class Load:
    """A pile and those of its writes that go now, resolved."""

    pile: Pile
    writes: Sequence[Write]

    @property
    def head(self) -> Write:
        return self.writes[0]


def sort_out(
    piles: Sequence[tuple[Pile, Sequence[Write]]], results: Mapping[str, str]
) -> tuple[list[Load], list[PileOutcome]]:
    """Choose what is ready to go; the rest waits for writes it refers to, or is given up with them."""
    loads, outcomes = [], []
    targets: set[object] = set()
    for pile, writes in piles:
        unready = _unless_ready(pile, writes[0], results)
        if unready is None:
            load = Load(pile, _ready(writes, results))
            own = {target_of(write) for write in load.writes if write.action == "update"}
            if targets.isdisjoint(own):
                targets |= own
                loads.append(load)
                continue
            # One entity under two names: by its id, and as what an earlier write has made. It is in no request twice.
            unready = PileOutcome(pile.lease, "postpone")
        outcomes.append(unready)
    return loads, outcomes


def _unless_ready(pile: Pile, head: Write, results: Mapping[str, str]) -> PileOutcome | None:
    if any(results.get(needed) == FAILED for needed in head.needs):
        return dead(pile, head, "depends_on_failed", "a write whose result it needs has failed")
    if any(needed not in results for needed in head.needs):
        if (datetime.now(UTC) - head.asked_at).total_seconds() > RESULT_SECONDS:
            return dead(pile, head, "depends_on_lost", "the result that it needs is no longer known")
        return PileOutcome(pile.lease, "postpone", delay_ms=_NEEDS_MS)
    if pile.lease.crashes >= ATTEMPTS:
        return dead(pile, head, "crashed", f"its sender did not come back {pile.lease.crashes} times")
    return None


def _ready(writes: Sequence[Write], results: Mapping[str, str]) -> list[Write]:
    """Take writes as long as what they need is there and they can be merged with those before."""
    ready: list[Write] = []
    merged: dict[object, dict[str, Any]] = {}
    for write in writes:
        if any(results.get(needed, FAILED) == FAILED for needed in write.needs):
            break
        before = merged.setdefault(target_of(write), {})
        if write.action == "update" and not mergeable(before, write.body):
            break
        ready.append(write.resolve({needed: int(results[needed]) for needed in write.needs}))
        before.update(write.body)
    return ready


def done(loads: Sequence[Load], batch: Batch, answer: Any) -> list[PileOutcome]:
    """Say how the loads of a request that Kommo has taken ended: whoever refers to a creation gets its id.

    What the answer does not mention is not taken for done: a creation without an id is in doubt, and a patch that is
    passed over, where others are named, is sent again by itself.
    """
    made: dict[str, str] = {}
    missing: set[tuple[int, int]] = set()
    said_of = batch.results(answer)
    for entry, said in zip(batch.entries, said_of, strict=True):
        for chain, place in entry.places:
            write, id_ = loads[chain].writes[place], (said or {}).get("id")
            if write.action == "create" and isinstance(id_, int):
                made[write.id] = str(id_)
            elif write.action == "create" or (said is None and any(said_of)):
                missing.add((chain, place))
    return [
        _done(load, made, [place for at, place in sorted(missing) if at == chain]) for chain, load in enumerate(loads)
    ]


def _done(load: Load, made: Mapping[str, str], missing: Sequence[int]) -> PileOutcome:
    """Say how a load ended, of which the writes at some places were not mentioned."""
    number = missing[0] if missing else len(load.writes)
    results = {write.id: made[write.id] for write in load.writes[:number] if write.id in made}
    if not missing:
        return PileOutcome(load.pile.lease, "done", done=number, results=results)
    left = len(load.writes) - number
    if load.head.action == "update":
        verb: Verb = "done" if number else "postpone"
        return PileOutcome(load.pile.lease, verb, done=number, mark=ALONE, marked=left)
    if number:
        return PileOutcome(load.pile.lease, "done", done=number, results=results, mark=DOUBTFUL, marked=left)
    if not _doubt_helps(load.head):
        # Sent again it might be made a second time, and it could not be told.
        return dead(load.pile, load.head, "in_doubt", "Kommo's answer does not say what became of it")
    _log.warning("write not mentioned by Kommo, looked for", write=load.head.id, resource=load.head.resource)
    return PileOutcome(load.pile.lease, "failed", delay_ms=_delay(load, None), mark=DOUBTFUL, marked=left)


def _doubt_helps(write: Write) -> bool:
    """Say whether a creation can be looked for, or is to be parked rather than repeated."""
    return write.on_doubt == "park" or (write.on_doubt == "look" and search_for(write) is not None)


def found(load: Load, id_: int) -> PileOutcome:
    """Say that a doubtful creation had been done."""
    _log.info("write found: it had been done", write=load.head.id, resource=load.head.resource)
    return PileOutcome(load.pile.lease, "done", done=1, results={load.head.id: str(id_)})


def failed(loads: Sequence[Load], batch: Batch | None, error: Exception) -> list[PileOutcome]:
    """Say what becomes of the loads of a request that did not come through: what errors.TREATMENTS says."""
    if isinstance(error, StoreUnavailable):
        return [PileOutcome(load.pile.lease, "failed", delay_ms=_delay(load, None)) for load in loads]
    if not isinstance(error, ApiError):
        # Wrong before it was sent, or a fault of ours: kept rather than tried for ever.
        return _given_up(loads, "refused" if isinstance(error, RequestError) else "sending_failed", error)
    if error.action is Action.TAKE_OUT and batch is not None:
        return _without_bad_ones(loads, batch, error)
    if error.action is Action.HALVE and batch is not None and len(batch.entries) > 1:
        return [_halved(load) for load in loads]
    return _all_alike(loads, error)


def _all_alike(loads: Sequence[Load], error: ApiError) -> list[PileOutcome]:
    if error.action in _NOT_NOW:
        return [PileOutcome(load.pile.lease, "postpone") for load in loads]
    if error.action in {Action.REPEAT, Action.HALVE}:
        return [_again(load, error) for load in loads]
    return _given_up(loads, "refused", error)


def _halved(load: Load) -> PileOutcome:
    """Send it again in a smaller request; what can be looked for is looked for first, as it may be done."""
    if load.head.action == "create" and any(_doubt_helps(write) for write in load.writes):
        return PileOutcome(load.pile.lease, "postpone", mark=DOUBTFUL, marked=len(load.writes))
    return PileOutcome(load.pile.lease, "postpone")


def _given_up(loads: Sequence[Load], reason: str, error: Exception) -> list[PileOutcome]:
    """Give up the only write there is; of several, nobody knows whose fault it was: each goes alone."""
    if len(loads) == 1 and len(loads[0].writes) == 1:
        return [dead(loads[0].pile, loads[0].head, reason, named(error), error)]
    if reason == "sending_failed" and loads[0].head.action == "create":
        # A fault of ours may have come after the sending.
        return [PileOutcome(load.pile.lease, "postpone", mark=DOUBTFUL, marked=len(load.writes)) for load in loads]
    return [_alone(load, len(load.writes)) for load in loads]


def _alone(load: Load, writes: int) -> PileOutcome:
    return PileOutcome(load.pile.lease, "postpone", mark=ALONE, marked=writes)


def _without_bad_ones(loads: Sequence[Load], batch: Batch, error: ApiError) -> list[PileOutcome]:
    """Take out what Kommo named as bad; nothing of the request was done, so the rest goes again at once."""
    bad = [entry for place, entry in enumerate(batch.entries) if str(place) in error.items]
    if not bad:
        return _given_up(loads, "refused", error)
    blamed = {place: entry for entry in bad for place in entry.places}
    outcomes = []
    for chain, load in enumerate(loads):
        own = [write for write in range(len(load.writes)) if (chain, write) in blamed]
        if own[:1] == [0] and len(blamed[chain, 0].places) == 1:
            outcomes.append(dead(load.pile, load.head, "refused", named(error), error))
        else:
            # A merged patch says not whose field was bad: its writes, and those before a bad one, go alone.
            outcomes.append(_alone(load, own[-1] + 1) if own else PileOutcome(load.pile.lease, "postpone"))
    return outcomes


def _again(load: Load, error: ApiError) -> PileOutcome:
    failures = load.pile.lease.failures + 1
    if failures >= ATTEMPTS:
        return dead(load.pile, load.head, "attempts_exhausted", named(error), error)
    delay = _delay(load, error)
    _log.warning("write failed, again later", write=load.head.id, error=named(error), in_ms=delay)
    if load.head.action == "create" and may_be_done(error):
        return PileOutcome(load.pile.lease, "failed", delay_ms=delay, mark=DOUBTFUL, marked=len(load.writes))
    return PileOutcome(load.pile.lease, "failed", delay_ms=delay)


def _delay(load: Load, error: ApiError | None) -> int:
    after = error.after if isinstance(error, TryLater) else None
    return backoff_ms(load.pile.lease.failures + 1, at_least=after)


def dead(pile: Pile, write: Write, reason: str, sentence: str, error: Exception | None = None) -> PileOutcome:
    """Give up the first write of a pile; what refers to it is told."""
    _log.error("write given up", write=write.id, handler=write.handler, reason=reason, error=sentence)
    letter = given_up(write, pile.lease, reason, sentence, error)
    return PileOutcome(pile.lease, "dead", done=1, results={write.id: FAILED}, dead=[letter])
