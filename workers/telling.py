"""Tell the story of one delivery: its events, what ran for each or why nothing did, and the writes. Does no I/O."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from kommo.cli.moments import shown
from kommo.hooks.events import Event
from kommo.router import Router
from kommo.store.inbox import Entry
from kommo.store.stories import ECHO, REPEATED, StepTold, Story, WriteTold
from kommo.store.waiting import Waiting
from workers.routing import handlers_for, lane_of

DeliveryState = Literal["waiting", "handled", "dead"]
State = Literal["done", "waiting", "running", "retrying", "not known here", "dead", "given up", "no record"]


@dataclass(frozen=True, slots=True)
class WriteStory:
    """One write of a step. `entity` is the id of what it changed or made; `at_ms` when it was last tried."""

    id: str
    what: str
    entity: str
    state: State
    note: str = ""
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class StepStory:
    """One handler on one event. `attempt` is its latest, ended at `at_ms` after `took_ms`, or the one under way."""

    handler: str
    state: State
    note: str = ""
    attempt: int = 0
    at_ms: int | None = None
    took_ms: int | None = None
    writes: Sequence[WriteStory] = ()


@dataclass(frozen=True, slots=True)
class EventStory:
    """One event; `why` says why nothing ran for it, or not everything."""

    event: Event
    steps: Sequence[StepStory] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryStory:
    """One delivery; `problem` says why it gave no events."""

    entry: Entry
    state: DeliveryState
    events: Sequence[EventStory] = ()
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the stores know of one delivery; `letters` are the ids of those of its dead letters that are still there."""

    entry: Entry
    events: Sequence[Event]
    story: Story
    is_drained: bool = True
    open_steps: int = 0
    steps: Sequence[Waiting] = ()
    writes: Sequence[Waiting] = ()
    letters: Collection[str] = frozenset()
    #: Why the account's writes wait as a whole.
    parked: str = ""
    #: The id of the delivery that brought an event first, by the event's id, as far as it is still there.
    first: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def state(self) -> DeliveryState:
        """Say how a delivery stands; what a person has to look after comes first."""
        if self.letters:
            return "dead"
        return "handled" if self.is_drained and not self.open_steps else "waiting"


def tell(known: Known, router: Router | None) -> DeliveryStory:
    """Tell the story; without a router it is not said which handlers want an event."""
    events = [_event(known, event, router) for event in known.events]
    problem = known.problem and f"{known.problem}; {_letter(known, known.entry.delivery.id)}"
    return DeliveryStory(known.entry, known.state, events, problem)


def _event(known: Known, event: Event, router: Router | None) -> EventStory:
    told = known.story.event(event.id)
    event = replace(event, is_echo=told is not None and told.reason == ECHO)
    wanted = [handler.name for handler in handlers_for(router, event)] if router else []
    names = dict.fromkeys(known.story.handlers(event.id) + _waiting_for(known, event))
    if told is None and known.is_drained:
        names |= dict.fromkeys(wanted)
    steps = [_step(known, event, name) for name in names]
    return EventStory(event, steps, _why(known, event, router, wanted) if told or not steps else "")


def _why(known: Known, event: Event, router: Router | None, wanted: Sequence[str]) -> str:
    """Say why nothing ran for an event, or only what asked for echoes."""
    told = known.story.event(event.id)
    if told is not None and told.reason == REPEATED:
        first = known.first.get(event.id)
        return f"repeated: {f'delivery {first}' if first else 'a delivery'} of {shown(told.first_ms)} brought it first"
    if event.is_echo:
        passed = [handler.name for handler in router.matching(event) if not handler.echoes] if router else []
        return "an echo of our own write" + (f", not for {', '.join(passed)}" if passed else "")
    if not known.is_drained:
        return "waits to be drained" + (f", then for {', '.join(wanted)}" if wanted else "")
    return (
        "no handler wants it" if router else "nothing ran; which handlers want it is not known without KOMMO_HANDLERS"
    )


def _step(known: Known, event: Event, handler: str) -> StepStory:
    told = known.story.step(event.id, handler)
    waiting = next((one for one in known.steps if _is_step(one, event, handler)), None)
    if waiting:
        return _waiting_step(waiting, handler, told)
    letter = f"{event.id}.{handler}"
    if told is None:
        if letter in known.letters:
            return StepStory(handler, "dead", f"kommo dead show {letter}")
        return StepStory(handler, "no record", "neither waiting nor told of: it may be newer than the delivery")
    ended = StepStory(handler, "done", told.error, told.attempt, told.at_ms, told.took_ms)
    if told.verb == "done":
        return replace(ended, writes=_writes(known, event, handler, told))
    if told.verb == "dead":
        state: State = "dead" if letter in known.letters else "given up"
        return replace(ended, state=state, note=f"{told.error}; {_letter(known, letter)}")
    return replace(ended, state="no record", note=_joined("it ran in vain, and waits no more", told.error))


def _waiting_step(waiting: Waiting, handler: str, told: StepTold | None) -> StepStory:
    """Tell of a step that lies in its lane."""
    if waiting.ahead:
        return StepStory(handler, "waiting", f"behind {waiting.ahead} in its lane")
    attempt = waiting.runs + waiting.crashes + 1
    if waiting.is_leased and waiting.due_in_ms > 0:
        return StepStory(handler, "running", _joined(told.error if told else "", _crashes(waiting)), attempt)
    due = f"due in {waiting.due_in_ms / 1000:.0f} s" if waiting.due_in_ms > 0 else "due now"
    if told is None or not (waiting.runs or waiting.crashes or told.verb == "postpone"):
        return StepStory(handler, "waiting", _joined(due, _crashes(waiting)), waiting.runs)
    story = StepStory(handler, "retrying", _joined(due, told.error, _crashes(waiting)), waiting.runs, told.at_ms)
    if told.verb == "postpone":
        return replace(story, state="not known here", note=f"no worker that looked knows the handler; {due}")
    return replace(story, took_ms=told.took_ms)


def _crashes(waiting: Waiting) -> str:
    if waiting.is_leased and waiting.due_in_ms <= 0:
        return "its worker did not come back"
    return f"its worker did not come back {waiting.crashes} times" if waiting.crashes else ""


def _writes(known: Known, event: Event, handler: str, told: StepTold) -> list[WriteStory]:
    """Tell of the writes that a step asked for: those that were tried, those that wait, and how many are not known."""
    tried = known.story.writes_of(event.id, handler)
    found: dict[str, WriteStory] = {}
    for waiting in known.writes:
        record = _record(waiting.item)
        if record and (record.get("event_id"), record.get("handler")) == (event.id, handler):
            id_ = str(record.get("id"))
            found[id_] = _waiting_write(known, waiting, record, tried.get(id_))
    ended = [_write(known, id_, write) for id_, write in tried.items() if id_ not in found]
    ended.sort(key=lambda write: write.at_ms or 0)
    missing = told.writes - len(ended) - len(found)
    unknown = [WriteStory("", f"{missing} more", "", "no record")] if missing > 0 else []
    return [*ended, *found.values(), *unknown]


def _write(known: Known, id_: str, told: WriteTold) -> WriteStory:
    write = WriteStory(id_, told.what, told.entity, "done", told.error, told.at_ms)
    if told.verb == "done":
        return write
    if told.verb == "dead":
        state: State = "dead" if id_ in known.letters else "given up"
        return replace(write, state=state, note=f"{told.error}; {_letter(known, id_)}")
    return replace(write, state="no record", note=_joined("tried in vain, and waits no more", told.error))


def _waiting_write(known: Known, waiting: Waiting, record: Mapping[str, Any], told: WriteTold | None) -> WriteStory:
    state: State = "retrying" if told else "waiting"
    if waiting.is_leased and waiting.due_in_ms > 0:
        state, due = "running", "on its way to Kommo"
    elif waiting.ahead:
        due = f"behind {waiting.ahead} of the same entity"
    else:
        due = f"due in {waiting.due_in_ms / 1000:.0f} s" if waiting.due_in_ms > 0 else "due now"
    parked = known.parked and f"the account is parked: {known.parked}"
    doubt = "Kommo may have done it already" if waiting.item.startswith(b"?") else ""
    return WriteStory(
        str(record.get("id")),
        f"{record.get('resource')}:{record.get('action')}",
        told.entity if told else "",
        state,
        _joined(due, parked, doubt, told.error if told else ""),
        told.at_ms if told else None,
    )


def _waiting_for(known: Known, event: Event) -> list[str]:
    """Name the handlers in whose lanes an event waits."""
    records = [_record(waiting.item) for waiting in known.steps]
    return [str(record.get("handler")) for record in records if _event_of(record) == event.id]


def _is_step(waiting: Waiting, event: Event, handler: str) -> bool:
    return waiting.chain == lane_of(event, handler) and _event_of(_record(waiting.item)) == event.id


def _event_of(record: Mapping[str, Any]) -> object:
    event = record.get("event")
    return event.get("id") if isinstance(event, Mapping) else None


def _record(item: bytes) -> Mapping[str, Any]:
    """Read an item of a lane or of the outbox, where a line in front says what it is; empty for what cannot be read."""
    try:
        record = json.loads(item.partition(b"\n")[2] or item)
    except ValueError:
        return {}
    return record if isinstance(record, Mapping) else {}


def _letter(known: Known, letter: str) -> str:
    return f"kommo dead show {letter}" if letter in known.letters else "its dead letter was retried or dropped"


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
