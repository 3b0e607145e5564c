"""Say which events may be echoes, what they are about, and where in the ledger their writes are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kommo.hooks import scalars
from kommo.hooks.echoes import values
from kommo.hooks.echoes.expectations import marks_of, new_subject
from kommo.hooks.echoes.ledger import Names
from kommo.hooks.echoes.shown import Shown, shown
from kommo.hooks.events import Event
from kommo.hooks.items import unwrapped

_ENTITIES: Final = ("lead", "contact", "company", "customer", "task")
_ADDED: Final = frozenset({*(f"{entity}.added" for entity in _ENTITIES)})
UPDATES: Final = frozenset(
    f"{entity}.{past}"
    for entity in _ENTITIES
    for past in ("updated", "status_changed", "responsible_changed", "completed")
)
STAGE: Final = frozenset({"status_id", "pipeline_id"})
#: The fields that an event is about, for the types that are not about all of them.
_ABOUT: Final[Mapping[str, Names]] = {
    "status_changed": STAGE,
    "responsible_changed": frozenset({"responsible_user_id"}),
    "completed": frozenset({"is_completed"}),
}


def kind_of(event: Event) -> str | None:
    """Return the kind of write that may have caused an event, None where none can."""
    if event.entity_id is None:
        return None
    if event.type.endswith(".note_added"):
        return "note"
    has_time = event.occurred_at is not None or event.type == "lead.status_changed"
    return event.entity_type if has_time and event.type in _ADDED | UPDATES else None


@dataclass(frozen=True)
class Case:
    """An event to be judged, what it shows, and the ledger entries that are needed, that of its entity first."""

    event: Event
    what: Shown
    subjects: Sequence[str]

    @property
    def about(self) -> Names | None:
        """The fields that the event is about, None for all of them."""
        return _ABOUT.get(self.event.type.partition(".")[2])

    @property
    def previous(self) -> Names:
        """The fields whose old value came along, as far as the event is about them.

        A change of hands may still name the stage before the last move, which was another change.
        """
        told = self.what.previous
        return told if self.about is None or self.event.type == "task.completed" else told & self.about


def case_of(event: Event) -> Case | None:
    """Prepare an event for `judge`; None for one that no write can have caused."""
    kind = kind_of(event)
    if kind is None:
        return None
    what = shown(event)
    if kind == "note":
        parent = {"entity_type": event.entity_type, "entity_id": event.entity_id}
        marks = {name: frozenset({values.loose(value)}) for name, value in parent.items()}
        note_id = scalars.any_id(unwrapped(event.raw).get("id"))
        return Case(event, what, [f"note:{note_id}", new_subject("note", marks)])
    own = f"{kind}:{event.entity_id}"
    if event.type not in _ADDED:
        return Case(event, what, [own])
    marks = {name: what.loose(name) or frozenset() for name in marks_of(kind)}
    return Case(event, what, list(dict.fromkeys([own, new_subject(kind, marks), kind])))
