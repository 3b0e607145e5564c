"""Show deliveries and their stories: as a table, as a tree, and as JSON."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from kommo import log
from kommo.cli.moments import shown
from kommo.store.inbox import Entry
from workers.archive import Line
from workers.cli.letters import printable
from workers.telling import DeliveryStory, EventStory, StepStory, WriteStory

_HEADINGS: Final = ("id", "account", "received", "bytes", "events", "state")
_STYLES: Final = {"done": "green", "handled": "green", "dead": "red", "given up": "red", "no record": "dim"}


def table_of(lines: Iterable[Line]) -> Table:
    """Make the table of a list."""
    table = Table()
    for heading in _HEADINGS:
        table.add_column(heading, no_wrap=heading == "id", justify="right" if heading == "bytes" else "left")
    for line in lines:
        delivery = line.entry.delivery
        cells = [delivery.id, str(delivery.account_id), shown(delivery.received_ms), f"{len(delivery.body):,}"]
        cells += [", ".join(_counted(line)) or "-", line.state]
        table.add_row(*(Text(printable(cell)) for cell in cells[:-1]), _state(line.state))
    return table


def line_record(line: Line) -> dict[str, Any]:
    """Say what the table shows of a delivery, as JSON can hold it."""
    return {**_about(line.entry), "events": list(line.types), "state": line.state}


def tree_of(story: DeliveryStory) -> Tree:
    """Draw a story."""
    delivery = story.entry.delivery
    tree = Tree(_text(f"delivery {delivery.id} of account {delivery.account_id}: ", story.state))
    stored = shown(int(story.entry.stream_id.partition("-")[0]))
    tree.add(_text(f"received {shown(delivery.received_ms)}, stored {stored} as {story.entry.stream_id}"))
    tree.add(_text(f"{len(delivery.body):,} bytes of {delivery.content_type or 'no content type'}"))
    if story.problem:
        tree.add(_text(story.problem))
    elif not story.events:
        tree.add(_text("it reports no event"))
    for event in story.events:
        _add_event(tree, event)
    return tree


def story_record(story: DeliveryStory) -> dict[str, Any]:
    """Say what the tree shows, as JSON can hold it."""
    record: dict[str, Any] = {**_about(story.entry), "state": story.state}
    record["stored_at"] = shown(int(story.entry.stream_id.partition("-")[0]))
    record["problem"] = story.problem
    record["events"] = [_event_record(event) for event in story.events]
    return record


def _add_event(tree: Tree, told: EventStory) -> None:
    event = told.event
    at = f" of {event.occurred_at:%Y-%m-%dT%H:%M:%SZ}" if event.occurred_at else ""
    branch = tree.add(_text(f"{event.type} {event.entity_type} {event.entity_id or ''}{at}, event {event.id}"))
    if told.why:
        branch.add(_text(told.why))
    for step in told.steps:
        leaf = branch.add(_text(f"{step.handler}: ", step.state, _rest(step)))
        for write in step.writes:
            leaf.add(_text(f"{write.what} {write.entity}".rstrip() + ": ", write.state, _rest(write)))


def _rest(told: StepStory | WriteStory) -> str:
    """Say the rest of a step or write in a line."""
    parts = []
    if isinstance(told, StepStory) and told.attempt:
        parts.append(f"attempt {told.attempt}")
    if told.at_ms:
        parts.append(f"at {shown(told.at_ms)}")
    if isinstance(told, StepStory) and told.took_ms is not None:
        parts.append(f"took {told.took_ms} ms")
    if told.note:
        parts.append(log.mask(told.note))
    return "".join(f", {part}" for part in parts)


def _about(entry: Entry) -> dict[str, Any]:
    delivery = entry.delivery
    return {
        "id": delivery.id,
        "account_id": delivery.account_id,
        "received_at": shown(delivery.received_ms),
        "bytes": len(delivery.body),
        "content_type": delivery.content_type,
    }


def _event_record(told: EventStory) -> dict[str, Any]:
    event = told.event
    return {
        "id": event.id,
        "type": event.type,
        "entity_type": event.entity_type,
        "entity_id": event.entity_id,
        "occurred_at": event.occurred_at and event.occurred_at.isoformat(),
        "is_echo": event.is_echo,
        "why": told.why,
        "steps": [_step_record(step) for step in told.steps],
    }


def _step_record(step: StepStory) -> dict[str, Any]:
    return {
        "handler": step.handler,
        "state": step.state,
        "note": log.mask(step.note),
        "attempt": step.attempt,
        "at": step.at_ms and shown(step.at_ms),
        "took_ms": step.took_ms,
        "writes": [
            {
                "id": write.id,
                "what": write.what,
                "entity": write.entity,
                "state": write.state,
                "note": log.mask(write.note),
                "at": write.at_ms and shown(write.at_ms),
            }
            for write in step.writes
        ],
    }


def _counted(line: Line) -> list[str]:
    return [name if number == 1 else f"{name} x{number}" for name, number in Counter(line.types).items()]


def _state(state: str) -> Text:
    return Text(state, style=_STYLES.get(state, "yellow"))


def _text(before: str, state: str = "", after: str = "") -> Text:
    return Text.assemble(printable(before), _state(state), printable(after))
