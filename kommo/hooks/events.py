"""What happened in Kommo, as handlers see it.

An event keeps the item as it was decoded; its typed entity and its old values are read from that when first asked for,
because most of an event's way through the queues needs neither.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeVar

from kommo.hooks import scalars, schemas
from kommo.hooks.classify import parent_of
from kommo.hooks.entities import (
    CatalogElement,
    Company,
    Contact,
    Customer,
    Entity,
    Lead,
    Message,
    Note,
    Talk,
    Task,
    Unsorted,
)
from kommo.hooks.fields import CustomFields
from kommo.hooks.items import unwrapped
from kommo.hooks.kinds import ENTITY_TYPES, EVENT_TYPES

__all__ = ["ENTITY_CLASSES", "ENTITY_TYPES", "EVENT_TYPES", "Event", "fields_of"]

_E = TypeVar("_E")
_BELONGING = frozenset(("task", "note", "message", "talk"))
_OWN_LANE = frozenset(("task",))
_TIME_NAMES = frozenset(
    ("complete_till", "complete_before", "date_create", "last_modified", "date_modify", "next_date")
)
_MONEY_NAMES = frozenset(("price", "next_price"))

#: The class of an event's typed entity, by the event's type; a note's additions belong to its parent's types.
ENTITY_CLASSES: Mapping[str, type[Entity]] = {
    name: Note if name.endswith(".note_added") else schemas.ENTITY_CLASSES[entity]
    for name in EVENT_TYPES
    if (entity := name.partition(".")[0]) in schemas.ENTITY_CLASSES
}


def fields_of(event_type: str) -> frozenset[str] | None:
    """Return the names of the typed entity's fields, which filters may use; None for a type that is not known."""
    if event_type not in EVENT_TYPES:
        return None
    entity_class = ENTITY_CLASSES.get(event_type)
    return frozenset(field.name for field in fields(entity_class)) if entity_class else frozenset()


def number_fields_of(event_type: str) -> frozenset[str]:
    """Return the names of those fields that hold whole numbers: ids, for instance."""
    entity_class = ENTITY_CLASSES.get(event_type)
    return (
        frozenset(field.name for field in fields(entity_class) if field.type == int | None)
        if entity_class
        else frozenset()
    )


@dataclass(frozen=True)
class Event:
    """Something that happened in an account, by its type (`lead.status_changed`).

    `occurred_at` is aware, or None if Kommo gave no time. `raw` is the item as decoded; what it holds is shared between
    the events of one item and not to be changed. `attempt` counts from 1. `is_echo` says that our own writes caused it.
    """

    id: str
    type: str
    account_id: int
    entity_type: str
    entity_id: int | str | None
    occurred_at: datetime | None
    raw: Mapping[str, Any]
    delivery_id: str
    attempt: int = 1
    is_echo: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "raw", MappingProxyType(dict(self.raw)))

    def __hash__(self) -> int:
        return hash((self.id, self.attempt))

    @cached_property
    def previous(self) -> Mapping[str, Any]:
        """The `old_*` values that came along, typed, by their names without `old_`."""
        old = {name[4:]: value for name, value in self._body.items() if name.startswith("old_") and len(name) > 4}
        return MappingProxyType({name: _typed_old(name, value) for name, value in old.items()})

    @property
    def parent(self) -> tuple[str, int | str] | None:
        """The lead, contact, company or customer that a task, note, message or talk belongs to."""
        if self.type.endswith(".note_added"):
            return None if self.entity_id is None else (self.entity_type, self.entity_id)
        return parent_of(self._body) if self.entity_type in _BELONGING else None

    @property
    def lane_entity(self) -> tuple[str, int | str | None]:
        """The entity whose events run in order with this one: a task's own, a message's, talk's or note's parent."""
        parent = None if self.entity_type in _OWN_LANE else self.parent
        return parent or (self.entity_type, self.entity_id)

    @cached_property
    def entity(self) -> Entity | None:
        """The typed entity; None for `unknown.*` and for events of the account."""
        entity_class = ENTITY_CLASSES.get(self.type)
        if entity_class is None:
            return None
        entity = schemas.load(entity_class, self._body)
        if isinstance(entity, Note) and entity.entity_type is None and self.parent:
            # Where a note does not name its parent, the key under which it came does.
            return replace(entity, entity_type=self.parent[0])
        return entity

    @property
    def lead(self) -> Lead | None:
        """The lead, of events about one."""
        return _as(self.entity, Lead)

    @property
    def contact(self) -> Contact | None:
        """The contact, of events about one."""
        return _as(self.entity, Contact)

    @property
    def company(self) -> Company | None:
        """The company, of events about one."""
        return _as(self.entity, Company)

    @property
    def customer(self) -> Customer | None:
        """The customer, of events about one."""
        return _as(self.entity, Customer)

    @property
    def task(self) -> Task | None:
        """The task, of events about one."""
        return _as(self.entity, Task)

    @property
    def note(self) -> Note | None:
        """The note, of events about one; also of `lead.note_added` and its like."""
        return _as(self.entity, Note)

    @property
    def message(self) -> Message | None:
        """The message, of events about one."""
        return _as(self.entity, Message)

    @property
    def talk(self) -> Talk | None:
        """The talk, of events about one."""
        return _as(self.entity, Talk)

    @property
    def unsorted(self) -> Unsorted | None:
        """The incoming lead, of events about one."""
        return _as(self.entity, Unsorted)

    @property
    def catalog_element(self) -> CatalogElement | None:
        """The catalog element, of events about one."""
        return _as(self.entity, CatalogElement)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it: times in ISO 8601, the typed entity under its name."""
        result: dict[str, Any] = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        result["previous"] = _plain(self.previous)
        if self.entity is not None:
            result[_ENTITY_NAMES[type(self.entity)]] = _plain(self.entity)
        return result

    def to_record(self) -> dict[str, Any]:
        """Return what has to be stored, as JSON can hold it."""
        return {
            "id": self.id,
            "type": self.type,
            "account_id": self.account_id,
            "entity_type": self.entity_type,
            "entity_id": self.entity_id,
            "occurred_at": None if self.occurred_at is None else self.occurred_at.isoformat(),
            "raw": dict(self.raw),
            "delivery_id": self.delivery_id,
            "is_echo": self.is_echo,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], *, attempt: int = 1) -> "Event":
        """Return the event of a record; raise KeyError if it is none."""
        occurred_at = record["occurred_at"]
        return cls(
            id=record["id"],
            type=record["type"],
            account_id=record["account_id"],
            entity_type=record["entity_type"],
            entity_id=record["entity_id"],
            occurred_at=None if occurred_at is None else datetime.fromisoformat(occurred_at),
            raw=record["raw"],
            delivery_id=record["delivery_id"],
            attempt=attempt,
            # Records of earlier versions have none.
            is_echo=record.get("is_echo", False),
        )

    @property
    def _body(self) -> Mapping[str, Any]:
        is_note = self.type.endswith(".note_added") or self.entity_type == "note"
        return unwrapped(self.raw) if is_note else self.raw


_ENTITY_NAMES: Mapping[type[Entity], str] = {cls: name for name, cls in schemas.ENTITY_CLASSES.items()}


def _as(entity: Entity | None, entity_class: type[_E]) -> _E | None:
    return entity if isinstance(entity, entity_class) else None


def _typed_old(name: str, value: Any) -> Any:
    if name.endswith("_id") or name in ("main_user", "modified_by"):
        return scalars.whole(value)
    if name in _MONEY_NAMES:
        return scalars.money(value)
    if name.endswith("_at") or name in _TIME_NAMES:
        return scalars.task_moment(value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, CustomFields):
        return [_plain(field) for field in value]
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
