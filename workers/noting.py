"""What the story of a delivery is told: of a step that ran, and of writes that were sent or given up. Does no I/O."""

import time
from collections.abc import Iterator, Sequence

from kommo.api.writes import Write
from kommo.hooks.events import Event
from kommo.store.lanes import AskedWrite
from kommo.store.outbox import PileOutcome
from kommo.store.stories import Line, StepTold, WriteTold
from workers.outcome import Ending


def of_step(event: Event, handler: str, ending: Ending, writes: Sequence[AskedWrite], took_ms: int) -> Line:
    """Tell how a step ended, and to which chains its writes went."""
    told = StepTold(
        verb=ending.verb,
        attempt=event.attempt,
        at_ms=_now_ms(),
        took_ms=took_ms,
        writes=len(writes),
        chains=tuple(dict.fromkeys(write.chain for write in writes)),
        error=": ".join(str(part) for part in (ending.reason, ending.error) if part),
    )
    return told.line(event.delivery_id, event.id, handler)


def of_pile(outcome: PileOutcome, writes: Sequence[Write], error: str) -> list[Line]:
    """Tell how the first writes of a pile ended; `error` is why those came to nothing that go again.

    What only waits for another write, or for its turn, is not told.
    """
    at_ms = _now_ms()
    return [
        WriteTold(verb, f"{write.resource}:{write.action}", entity, at_ms, reason).line(
            write.delivery_id, write.event_id, write.handler, write.id
        )
        for write, verb, entity, reason in _ends(outcome, writes, error)
    ]


def _ends(outcome: PileOutcome, writes: Sequence[Write], error: str) -> Iterator[tuple[Write, str, str, str]]:
    for write in writes[: outcome.done]:
        reason = "".join(f"{letter.reason}: {letter.error}" for letter in outcome.dead if letter.id == write.id)
        made = "" if outcome.verb == "dead" else outcome.results.get(write.id, "")
        yield write, outcome.verb, made or _changed(write), reason
    again = "failed" if outcome.verb == "failed" else "postpone"
    for write in writes[outcome.done :]:
        if error:
            yield write, again, _changed(write), error


def _changed(write: Write) -> str:
    """Give the id of what a write changes; a creation has none before it is done, nor has a reference to one."""
    if write.action == "create":
        return ""
    id_ = write.item if write.resource == "notes" else write.entity and write.entity.id
    return str(id_) if isinstance(id_, int) else ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
