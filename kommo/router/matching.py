"""Say whether an event is one that a handler wants: by its type, and by filters on its fields."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kommo.hooks.events import EVENT_TYPES, Event, fields_of

#: What every event has, whatever its kind, and may be filtered by.
EVENT_FIELDS: Final = frozenset({"account_id", "entity_id", "entity_type"})

#: The fields of the typed entity, by the event's type.
FIELDS: Final = {event_type: fields_of(event_type) or frozenset() for event_type in EVENT_TYPES}
UNKNOWN: Final = "unknown."
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Filter:
    """A field and the values that it may have."""

    name: str
    values: Sequence[object]

    def accepts(self, event: Event) -> bool:
        """Say whether the event's field has one of the values; a field that is missing has the value None."""
        value = _field_of(event, self.name)
        if isinstance(value, str) and event.type.startswith(UNKNOWN):
            # Its fields are as they came, and all of them came as texts.
            return _is_one_of(value, self.values) or _is_one_of(_as_whole(value), self.values)
        return _is_one_of(value, self.values)


def _is_one_of(value: object, values: Sequence[object]) -> bool:
    """Compare; a range is asked for whole numbers only, as it would count through to the end for anything else."""
    if isinstance(values, range):
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return is_whole and value in values
    return value in values


def _as_whole(text: str) -> int | str:
    return int(text) if _WHOLE.fullmatch(text) else text


@dataclass(frozen=True, slots=True)
class Route:
    """Types of events, wildcards included, and the filters that all have to accept."""

    types: tuple[str, ...]
    filters: tuple[Filter, ...] = ()

    def leads_from(self, event_type: str) -> bool:
        """Say whether events of this type may match."""
        return any(covers(pattern, event_type) for pattern in self.types)

    def accepts(self, event: Event) -> bool:
        """Say whether every filter accepts an event of a type that may match.

        A field that cannot be read counts as a match: the handler then meets the fault itself, and the event ends
        as a dead letter with a traceback instead of nowhere.
        """
        try:
            return all(filter_.accepts(event) for filter_ in self.filters)
        except Exception:
            return True


def covers(pattern: str, event_type: str) -> bool:
    """Say whether a pattern (`*`, `lead.*`, `lead.added`) stands for a type."""
    return pattern in {"*", event_type} or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))


def _field_of(event: Event, name: str) -> object:
    # The account is the proven one, whatever a body says of itself.
    if name == "account_id":
        return event.account_id
    known = FIELDS.get(event.type)
    if known is None:
        return getattr(event, name) if name in EVENT_FIELDS else event.raw.get(name)
    if name in known:
        return getattr(event.entity, name)
    return getattr(event, name) if name in EVENT_FIELDS else None
