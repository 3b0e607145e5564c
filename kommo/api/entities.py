"""Say which entity of Kommo is meant: by an event, a typed entity, a reference or a pair. Does no I/O."""

from dataclasses import dataclass, field
from typing import Any, Final

from kommo.errors import RequestError
from kommo.hooks.entities import CatalogElement, Company, Contact, Customer, Lead
from kommo.hooks.events import Event

#: An entity's name in events, and its name in paths and in `entity_type`.
PLURALS: Final = {
    "lead": "leads",
    "contact": "contacts",
    "company": "companies",
    "customer": "customers",
    "task": "tasks",
    "note": "notes",
    "catalog_element": "catalog_elements",
}
_SINGULARS: Final = {plural: kind for kind, plural in PLURALS.items()}

_KINDS: Final[dict[type, str]] = {
    Lead: "lead",
    Contact: "contact",
    Company: "company",
    Customer: "customer",
    CatalogElement: "catalog_element",
}

#: What a task or a note may hang on: https://developers.kommo.com/reference (tasks, notes).
PARENTS: Final = frozenset({"lead", "contact", "company", "customer"})


@dataclass(frozen=True, slots=True)
class Reference:
    """Stands for the id that a write will have once it is done; equal to any other for the same write."""

    write_id: str
    #: What the write makes, and the queue that keeps its order; a reference read back from a record has neither.
    kind: str = field(default="", compare=False)
    chain: str = field(default="", compare=False)


Id = int | Reference


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity: its kind in the singular, and its id."""

    kind: str
    id: Id

    @property
    def chain(self) -> str:
        """The key of the queue that keeps the order of writes to this entity."""
        return self.id.chain if isinstance(self.id, Reference) else f"{self.kind}:{self.id}"


def checked_id(value: object, what: str) -> Id:
    """Return an id or a reference to a write that makes `what`; raises RequestError for anything else."""
    if isinstance(value, Reference):
        if value.kind not in {what, ""}:
            raise RequestError(f"a {what} is needed, and the reference is to a {value.kind}")
        return value
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise RequestError(f"the id of a {what} is a positive whole number, not {value!r}")
    return value


def parent_of(thing: object) -> Entity:
    """Return the lead, contact, company or customer that a task or a note should hang on.

    `thing` is an event (of a task, message, talk or note: what that belongs to), a typed entity such as
    `event.lead`, a reference from `kommo.later`, or a pair such as ("lead", 123). Raises RequestError.
    """
    kind, id_ = thing_of(thing)
    if kind not in PARENTS:
        raise RequestError(f"tasks and notes hang on {', '.join(sorted(PARENTS))}, not on {kind!r}")
    return Entity(kind, checked_id(id_, kind))


def thing_of(thing: object) -> tuple[str, Any]:
    """Return the kind in the singular and the id, unchecked, of what `parent_of` takes or of a catalog element."""
    kind, id_ = _kind_and_id(thing)
    return _SINGULARS.get(kind, kind), id_


def _kind_and_id(thing: object) -> tuple[str, Any]:
    if isinstance(thing, Event):
        return _of_event(thing)
    if isinstance(thing, Reference):
        return thing.kind, thing
    if isinstance(thing, (tuple, list)) and len(thing) == 2 and isinstance(thing[0], str):
        return thing[0], thing[1]
    return _of_typed(thing)


def _of_event(event: Event) -> tuple[str, Any]:
    kind, id_ = event.parent or (event.entity_type, event.entity_id)
    if id_ is None:
        raise RequestError(f"the event {event.type} does not say which {kind} it belongs to")
    return kind, id_


def _of_typed(thing: object) -> tuple[str, Any]:
    """A typed entity: its class says what it is; tasks, notes, messages and talks say what they belong to."""
    if type(thing) in _KINDS:
        return _KINDS[type(thing)], getattr(thing, "id", None)
    kind = getattr(thing, "entity_type", None)
    if isinstance(kind, str):
        return kind, getattr(thing, "entity_id", None)
    raise RequestError(
        f'entity= takes an event, event.lead, a reference from kommo.later or ("lead", 123), not {thing!r:.80}'
    )
