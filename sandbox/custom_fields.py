"""The custom fields of the account: what exists, what a request may set, and how a delivery shows them.

The API speaks of `custom_fields_values` with `enum_id`; a delivery still has the older `custom_fields` with
`enum`, bare times for dates and a mapping instead of a list for radio buttons
(https://developers.kommo.com/docs/webhooks-general).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.problems import Fault, missing, not_a_choice, wrong_type
from sandbox.state import Json


@dataclass(frozen=True)
class Enum:
    """One choice of a field."""

    id: int
    value: str
    code: str | None = None


@dataclass(frozen=True)
class CustomField:
    """A field; only fields of the system have a code."""

    id: int
    name: str
    type: str
    code: str | None = None
    enums: tuple[Enum, ...] = ()

    def choice(self, raw: Json) -> Enum | None:
        """Return the choice that a value names by id, code or text; the first one when it names none."""
        if "enum_id" in raw:
            return self._where("id", raw["enum_id"])
        if "enum_code" in raw:
            return self._where("code", raw["enum_code"])
        return self.enums[0] if self.type == "multitext" else self._where("value", raw.get("value"))

    def _where(self, attribute: str, wanted: object) -> Enum | None:
        return next((enum for enum in self.enums if getattr(enum, attribute) == wanted), None)


_PHONE = (Enum(552_601, "WORK", "WORK"), Enum(552_602, "MOB", "MOB"), Enum(552_603, "HOME", "HOME"))
_EMAIL = (Enum(552_611, "WORK", "WORK"), Enum(552_612, "PRIV", "PRIV"))

CUSTOM_FIELDS: dict[str, tuple[CustomField, ...]] = {
    "leads": (
        CustomField(771_101, "Referrer", "tracking_data", "REFERRER"),
        CustomField(771_102, "Order note", "text"),
        CustomField(771_103, "Pieces", "numeric"),
        CustomField(771_104, "Gift wrap", "checkbox"),
        CustomField(771_105, "Wanted by", "date"),
        CustomField(771_106, "Delivery", "select", None, (Enum(908_201, "Courier"), Enum(908_202, "Pick-up"))),
        CustomField(771_107, "Payment", "radiobutton", None, (Enum(908_211, "Card"), Enum(908_212, "Invoice"))),
        CustomField(771_108, "Extras", "multiselect", None, (Enum(908_221, "Lamp"), Enum(908_222, "Lock"))),
    ),
    "contacts": (
        CustomField(771_201, "Phone", "multitext", "PHONE", _PHONE),
        CustomField(771_202, "Email", "multitext", "EMAIL", _EMAIL),
        CustomField(771_203, "Position", "text", "POSITION"),
        CustomField(771_204, "Birthday", "birthday"),
        CustomField(771_205, "About", "textarea"),
        CustomField(771_206, "Likes to be called", "radiobutton", None, (Enum(566_701, "Yes"), Enum(566_702, "No"))),
    ),
    "companies": (
        CustomField(771_201, "Phone", "multitext", "PHONE", _PHONE),
        CustomField(771_202, "Email", "multitext", "EMAIL", _EMAIL),
        CustomField(771_301, "Web", "url", "WEB"),
        CustomField(771_302, "Address", "textarea", "ADDRESS"),
    ),
    "catalog_elements": (
        CustomField(771_401, "SKU", "text", "SKU"),
        CustomField(771_402, "Price", "price", "PRICE"),
        CustomField(771_403, "Unit", "select", "UNIT", (Enum(552_701, "piece"), Enum(552_702, "kg"))),
    ),
    "tasks": (),
}

#: What `value` may be for each type; a type that is not here takes text.
_VALUE_TYPES: dict[str, tuple[type, ...]] = {
    "numeric": (int, float, str),
    "price": (int, float, str),
    "checkbox": (bool,),
    "date": (int,),
    "birthday": (int,),
}
_CHOICES = {"select", "multiselect", "radiobutton", "multitext"}


def _lookup(kind: str, raw: Json) -> CustomField | None:
    key, wanted = ("id", raw["field_id"]) if "field_id" in raw else ("code", raw.get("field_code"))
    found = (spec for spec in CUSTOM_FIELDS[kind] if wanted is not None and getattr(spec, key) == wanted)
    return next(found, None)


def _known(kind: str, raw: Json) -> CustomField:
    spec = _lookup(kind, raw)
    if spec is None:
        raise LookupError(f"{kind} have no such field")
    return spec


def faults(kind: str, values: object) -> Iterator[Fault]:
    """Yield what is wrong with the `custom_fields_values` of a request."""
    if values is None:
        return
    if not isinstance(values, list):
        yield wrong_type("custom_fields_values", "array")
        return
    for index, raw in enumerate(values):
        yield from _field_faults(kind, raw, f"custom_fields_values.{index}")


def _field_faults(kind: str, raw: object, path: str) -> Iterator[Fault]:
    if not isinstance(raw, dict):
        yield wrong_type(path, "array")
        return
    spec = _lookup(kind, raw)
    if spec is None:
        yield not_a_choice(f"{path}.field_code" if "field_code" in raw else f"{path}.field_id")
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
    if spec.type in _CHOICES and spec.choice(raw) is None:
        yield not_a_choice(f"{path}.value")
    elif "value" not in raw and (spec.type not in _CHOICES or spec.type == "multitext"):
        yield missing(f"{path}.value")
    elif "value" in raw and not _fits(raw["value"], _VALUE_TYPES.get(spec.type, (str,))):
        yield wrong_type(f"{path}.value", "/".join(one.__name__ for one in _VALUE_TYPES.get(spec.type, (str,))))


def _fits(value: object, types: tuple[type, ...]) -> bool:
    # bool is a subclass of int, but the service does not take true for a time.
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def merge(kind: str, current: list[Json], given: list[Json] | None) -> list[Json]:
    """Return the values after a request: the fields given are replaced, or removed if empty, the rest stay.

    Raises LookupError for what `faults` would have named.
    """
    merged = {value["field_id"]: value for value in current}
    for raw in given or ():
        spec = _known(kind, raw)
        merged.pop(spec.id, None)
        if raw.get("values"):
            merged[spec.id] = _stored(spec, raw["values"])
    return [merged[spec.id] for spec in CUSTOM_FIELDS[kind] if spec.id in merged]


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
    if spec.type not in _CHOICES:
        return {"value": raw["value"]}
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
        return [{"value": _day(value["value"])} for value in values]
    shown = [{"value": value["value"], "enum": value.get("enum_id")} for value in values]
    return shown[0] if field_type == "radiobutton" else shown


def _day(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%d.%m.%Y")
