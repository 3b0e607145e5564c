"""Check the types and filters of a registration: what could never match is an error while it is imported."""

import difflib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from kommo.errors import HandlersError
from kommo.hooks.events import EVENT_TYPES, number_fields_of
from kommo.router.matching import EVENT_FIELDS, FIELDS, UNKNOWN, Filter, covers

#: Options to come; as filters they would silently never match.
RESERVED: Final = frozenset({"changed", "debounce", "stage"})

#: Fields that hold whole numbers in every entity that has them: a text never matches one.
_NUMBERS: Final = {"account_id"}.union(*map(number_fields_of, EVENT_TYPES)).difference(
    {"entity_id"}, *(fields - number_fields_of(event_type) for event_type, fields in FIELDS.items())
)
_COLLECTIONS: Final = (list, tuple, set, frozenset, range)
_PLAIN: Final = (str, int, float, Decimal, datetime, date, type(None))


def checked_types(types: Sequence[object]) -> tuple[str, ...]:
    """Return the types of events, each once; raises HandlersError for one that does not exist."""
    if not types:
        raise HandlersError('router.on needs types of events: @router.on("lead.added")')
    checked = []
    for event_type in types:
        if not isinstance(event_type, str):
            raise HandlersError(f'types of events are texts, as in @router.on("lead.added"), not {event_type!r:.80}')
        if not _is_known(event_type):
            raise HandlersError(f"there is no event {event_type!r}{_suggestion(event_type, _patterns())}")
        checked.append(event_type)
    return tuple(dict.fromkeys(checked))


def _patterns() -> frozenset[str]:
    return EVENT_TYPES | {f"{event_type.partition('.')[0]}.*" for event_type in EVENT_TYPES} | {"*", "unknown.*"}


def _is_known(event_type: str) -> bool:
    return event_type in _patterns() or (event_type.startswith(UNKNOWN) and "*" not in event_type)


def _suggestion(name: str, known: AbstractSet[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(sorted(known))}"


def checked_filters(
    types: Sequence[str], filters: Mapping[str, object], where: Mapping[str, object]
) -> tuple[Filter, ...]:
    """Return the filters of a registration, those of `where` last; raises HandlersError."""
    for name in sorted(RESERVED & filters.keys()):
        raise HandlersError(f"{name}= is not available in this version")
    for name in sorted(filters.keys() & where.keys()):
        raise HandlersError(f"{name} is given twice, as a keyword and in where=")
    known = _filterable(types)
    if known is not None:
        for name in (*filters, *where):
            if name not in known:
                raise HandlersError(f"{', '.join(types)}: there is no field {name!r}{_suggestion(name, known)}")
    checked = tuple(Filter(name, _values(name, wanted)) for name, wanted in {**filters, **where}.items())
    for filter_ in checked if known is not None else ():
        _check_numbers(filter_.name, filter_.values)
    return checked


def _check_numbers(name: str, values: Sequence[object]) -> None:
    """Refuse a text for a field of numbers; a range is not walked through, it holds none."""
    for value in () if isinstance(values, range) or name not in _NUMBERS else values:
        if isinstance(value, str):
            raise HandlersError(f"{name} is a whole number, and {value!r:.80} is a text: it would never match")


def _filterable(types: Sequence[str]) -> frozenset[str] | None:
    """The names that a filter may have, or None when any may, as nobody knows the fields of an unknown type."""
    if any(pattern.startswith(UNKNOWN) for pattern in types):
        return None
    covered = [known for known in EVENT_TYPES if any(covers(pattern, known) for pattern in types)]
    return EVENT_FIELDS.union(*(FIELDS[event_type] for event_type in covered))


def _values(name: str, wanted: object) -> Sequence[object]:
    """A range stays as it is; anything but plain values is refused, since its comparison could fail later."""
    if isinstance(wanted, range):
        return wanted
    values = tuple(wanted) if isinstance(wanted, _COLLECTIONS) else (wanted,)
    if not values:
        raise HandlersError(f"{name}= is an empty collection, which nothing matches")
    for value in values:
        if not isinstance(value, _PLAIN):
            raise HandlersError(f"{name}= takes plain values or a collection of them, not {value!r:.80}")
    return values
