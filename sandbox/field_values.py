"""The values of custom fields: what a request may set, what is stored, and how a delivery shows it.

The API speaks of `custom_fields_values` with `enum_id`; a delivery still has the older `custom_fields` with
`enum`, bare times for dates and a mapping instead of a list for radio buttons
(https://developers.kommo.com/docs/webhooks-general).
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sandbox.custom_fields import CustomField
from sandbox.dates import day, epoch_of
from sandbox.problems import Fault, missing, not_a_choice, wrong_type
from sandbox.state import Json

#: The definitions that the values of an entity may refer to.
Fields = Sequence[CustomField]

#: What `value` may be for each type; a type that is not here takes text.
_VALUE_TYPES: dict[str, tuple[type, ...]] = {
    "numeric": (int, float, str),
    "price": (int, float, str),
    "checkbox": (bool,),
    **dict.fromkeys(("date", "birthday", "date_time"), (int, str)),
    **dict.fromkeys(("legal_entity", "linked_entity", "items", "file", "payer"), (dict,)),
}
_TIMES = {"date", "birthday", "date_time"}
_CHOICES = {"select", "multiselect", "radiobutton", "multitext"}


def _lookup(fields: Fields, raw: Json) -> CustomField | None:
    key, wanted = ("id", raw["field_id"]) if raw.get("field_id") is not None else ("code", raw.get("field_code"))
    found = (spec for spec in fields if wanted is not None and getattr(spec, key) == wanted)
    return next(found, None)


def _known(fields: Fields, raw: Json) -> CustomField:
    spec = _lookup(fields, raw)
    if spec is None:
        raise LookupError("there is no such field")
    return spec


def faults(fields: Fields, values: object) -> Iterator[Fault]:
    """Yield what is wrong with the `custom_fields_values` of a request."""
    if values is None:
        return
    if not isinstance(values, list):
        yield wrong_type("custom_fields_values", "array")
        return
    for index, raw in enumerate(values):
        yield from _field_faults(fields, raw, f"custom_fields_values.{index}")


def _field_faults(fields: Fields, raw: object, path: str) -> Iterator[Fault]:
    if not isinstance(raw, dict):
        yield wrong_type(path, "array")
        return
    spec = _lookup(fields, raw)
    if spec is None:
        yield not_a_choice(f"{path}.field_code" if raw.get("field_code") is not None else f"{path}.field_id")
        return
    values = raw.get("values")
    if values is not None and not isinstance(values, list):
        yield wrong_type(f"{path}.values", "array")
        return
    for index, value in enumerate(values or ()):
        yield from _value_faults(spec, value, f"{path}.values.{index}")


def _value_faults(spec: CustomField, raw: object, path: str) -> Iterator[Fault]:
    if not isinstance(raw, dict):
        yield wrong_type(path, "array")
        return
    value, types = raw.get("value"), _VALUE_TYPES.get(spec.type, (str,))
    if spec.type in _CHOICES and spec.choice(raw) is None:
        yield not_a_choice(f"{path}.value")
    elif value is None:
        # A choice may be named by its id alone, the value beside it being null; a chained list has another key.
        if spec.type not in (_CHOICES | {"chained_list"}) or spec.type == "multitext":
            yield missing(f"{path}.value")
    elif not _fits(value, types) or (spec.type in _TIMES and epoch_of(value) is None):
        yield wrong_type(f"{path}.value", "/".join(one.__name__ for one in types))


def _fits(value: object, types: tuple[type, ...]) -> bool:
    # bool is a subclass of int, but the service does not take true for a time.
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def merge(fields: Fields, current: list[Json], given: list[Json] | None) -> list[Json]:
    """Return the values after a request: the fields given are replaced, or removed if empty, the rest stay.

    Raises LookupError for what `faults` would have named.
    """
    merged = {value["field_id"]: value for value in current}
    for raw in given or ():
        spec = _known(fields, raw)
        merged.pop(spec.id, None)
        if raw.get("values"):
            merged[spec.id] = _stored(spec, raw["values"])
    return [merged[spec.id] for spec in fields if spec.id in merged]


def _stored(spec: CustomField, values: list[Json]) -> Json:
    return {
        "field_id": spec.id,
        "field_name": spec.name,
        "field_code": spec.code,
        "field_type": spec.type,
        "is_computed": False,
        "values": [_stored_value(spec, value) for value in values],
    }


def _stored_value(spec: CustomField, raw: Json) -> Json:
    if spec.type in _TIMES:
        return {"value": epoch_of(raw["value"])}
    if spec.type not in _CHOICES:
        return {name: value for name, value in raw.items() if value is not None}
    enum = spec.choice(raw)
    if enum is None:
        raise LookupError(f"field {spec.id} has no such choice")
    value = raw["value"] if spec.type == "multitext" else enum.value
    return {"value": value, "enum_id": enum.id, "enum_code": enum.code}


def as_delivered(values: list[Json]) -> list[Json]:
    """Return the fields as a delivery shows them: `code` comes last, and only where there is one."""
    return [
        {
            "id": value["field_id"],
            "name": value["field_name"],
            "values": _delivered_values(value["field_type"], value["values"]),
            "code": value["field_code"],
        }
        for value in values
    ]


def _delivered_values(field_type: str, values: list[Json]) -> Any:
    if field_type == "date":
        return [value["value"] for value in values]
    if field_type == "birthday":
        return [{"value": day(value["value"])} for value in values]
    shown = [{"value": value.get("value"), "enum": value.get("enum_id")} for value in values]
    return shown[0] if field_type == "radiobutton" else shown
