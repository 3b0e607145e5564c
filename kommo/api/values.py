"""Turn what a handler gives into what the API takes: times, custom fields, tags, links. Does no I/O.

Shapes: https://developers.kommo.com/reference (leads, contacts, custom fields).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from kommo.api.entities import Reference, checked_id
from kommo.api.protocol import unix_seconds
from kommo.errors import RequestError

#: The key under which a body holds the id of a write whose answer will bring the real one.
PENDING: Final = "$write"


def to_json(value: object, name: str) -> Any:
    """Return a JSON value: times as unix seconds, references as markers; `name` is for the error.

    Raises RequestError for a naive datetime and for what JSON lacks.
    """
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, (float, Decimal)):
        return _number(value, name)
    if isinstance(value, datetime):
        return unix_seconds(value, name)
    if isinstance(value, Reference):
        return {PENDING: value.write_id}
    if isinstance(value, Mapping):
        if PENDING in value:
            raise RequestError(f"{name}: the key {PENDING} is reserved; give the reference itself")
        return {str(key): to_json(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple, AbstractSet)):
        return [to_json(item, f"{name}.{position}") for position, item in enumerate(value)]
    raise RequestError(f"{name}: {value!r:.80} cannot be sent as JSON")


def _number(value: float | Decimal, name: str) -> int | float:
    if not math.isfinite(value):
        raise RequestError(f"{name}: {value} is not a number that can be sent")
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


#: Gives {"field_id": …} or {"field_code": …} for what names a custom field; raises RequestError.
Naming = Callable[[object], dict[str, Any]]


def custom_fields(fields: object, naming: Naming) -> list[dict[str, Any]]:
    """Return `custom_fields_values` for {what names the field: value}.

    A list is several values, a dict one value object such as {"enum_id": 5}, None or an empty list clears the field.
    """
    if not isinstance(fields, Mapping):
        raise RequestError(f"fields= is a dict of field id, code or name to value, not {fields!r:.80}")
    return [{**naming(key), **_values(key, value)} for key, value in fields.items()]


def _values(key: object, value: object) -> dict[str, Any]:
    several = list(value) if isinstance(value, (list, tuple, AbstractSet)) else [value]
    if value is None or not several:
        return {"values": None}
    return {"values": [_value_object(item, f"fields.{key}") for item in several]}


def _value_object(value: object, name: str) -> dict[str, Any]:
    if value is None:
        raise RequestError(f"{name}: None among several values; leave it out, or give None alone to clear the field")
    return dict(to_json(value, name)) if isinstance(value, Mapping) else {"value": to_json(value, name)}


def tags(names: object, option: str) -> list[dict[str, Any]]:
    """Return tag objects for one name or several; a number is a tag's id."""
    several = [names] if isinstance(names, (str, int)) else names
    if not isinstance(several, Iterable) or isinstance(several, Mapping):
        raise RequestError(f"{option}= takes names of tags, not {names!r:.80}")
    return [_tag(name, option) for name in several]


def _tag(name: object, option: str) -> dict[str, Any]:
    if isinstance(name, str) and name.strip():
        return {"name": name}
    if isinstance(name, int) and not isinstance(name, bool):
        return {"id": name}
    raise RequestError(f"{option}: {name!r:.80} is no name of a tag")


def links(ids: object, kind: str, option: str) -> list[dict[str, Any]]:
    """Return link objects for one id or reference, or several."""
    several = [ids] if isinstance(ids, (int, Reference)) else ids
    if not isinstance(several, Iterable) or isinstance(several, (str, Mapping)):
        raise RequestError(f"{option}= takes ids, not {ids!r:.80}")
    return [{"id": to_json(checked_id(id_, kind), option)} for id_ in several]
