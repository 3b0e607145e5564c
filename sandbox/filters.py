"""Filters of lists, in the spellings that clients use (https://developers.kommo.com/reference/leads-list).

PHP writes `filter[id][0]=1&filter[id][1]=2` where others write `filter[id][]` twice or `filter[id]=1,2`; a range is
`filter[updated_at][from]` and `[to]`, or, for events, both in one text with a comma between.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.problems import ApiError
from sandbox.state import Json, Record

#: Query parameters as they came, in order: `filter[id][]` may come several times.
Query = Sequence[tuple[str, str]]

_TIMES = ("created_at", "updated_at", "closed_at", "closest_task_at", "complete_till", "next_date")
_RANGES = (*_TIMES, "price", "next_price")
_EQUAL = (
    *("id", "uid", "entity_id", "to_entity_id", "to_catalog_id", "external_id", "pipeline_id", "status_id"),
    *("responsible_user_id", "created_by", "updated_by", "type", "category", "note_type", "task_type_id"),
)
_TEXTS = ("name", "entity_type", "to_entity_type")
#: An older spelling that the vendor's client sends besides the present one.
_ALIASES = {"task_type": "task_type_id"}

_FILTER = re.compile(r"filter\[(\w+)](?:\[(\w*)])?")
_STATUSES = re.compile(r"filter\[statuses]\[(\d+)]\[(pipeline_id|status_id)]")
_CUSTOM = re.compile(r"filter\[custom_fields_values]\[(\d+)](?:\[(\w*)])?")


def matches(row: Json, query: Query) -> bool:
    """Tell whether plain fields pass the filters; a filter that is not known lets all through."""
    return all(_passes(row, _ALIASES.get(name, name), bound, said) for (name, bound), said in _grouped(query).items())


def _grouped(query: Query) -> Mapping[tuple[str, str], list[str]]:
    grouped: dict[tuple[str, str], list[str]] = {}
    for key, value in query:
        found = _FILTER.fullmatch(key)
        if found:
            bound = found[2] if found[2] in ("from", "to") else ""
            grouped.setdefault((found[1], bound), []).append(value)
    return grouped


def _passes(row: Json, name: str, bound: str, said: list[str]) -> bool:
    if name in _RANGES:
        return _in_range(row.get(name), bound, said[-1])
    if name in _EQUAL:
        return str(row.get(name)) in [one for text in said for one in text.split(",")]
    if name in _TEXTS:
        return row.get(name) in said
    if name == "is_completed":
        return bool(row.get(name)) == (said[-1] in ("1", "true"))
    return True


def _in_range(value: Any, bound: str, text: str) -> bool:
    first, comma, last = text.partition(",")
    if bound or not comma:
        return _within(value, bound, text)
    return _within(value, "from", first) and _within(value, "to", last)


def _within(value: Any, bound: str, text: str) -> bool:
    if not text.isdigit():
        raise ApiError(400, "A range has to be made of whole numbers, times of epoch seconds")
    limit = int(text)
    if value is None:
        return False
    return bool(value >= limit if bound == "from" else value <= limit if bound == "to" else value == limit)


def in_statuses(record: Record, query: Query) -> bool:
    """Tell whether a lead stands in one of the stages that `filter[statuses]` names, if it names any."""
    pairs: dict[str, dict[str, str]] = {}
    for key, value in query:
        found = _STATUSES.fullmatch(key)
        if found:
            pairs.setdefault(found[1], {})[found[2]] = value
    return not pairs or any(
        all(str(record.fields.get(name)) == value for name, value in pair.items()) for pair in pairs.values()
    )


def in_custom_fields(record: Record, query: Query) -> bool:
    """Tell whether an entity has one of the values asked for in each custom field that a filter names."""
    wanted: dict[tuple[int, str], list[str]] = {}
    for key, value in query:
        found = _CUSTOM.fullmatch(key)
        if found:
            bound = found[2] if found[2] in ("from", "to") else ""
            wanted.setdefault((int(found[1]), bound), []).append(value)
    return all(_holds(record, field_id, bound, said) for (field_id, bound), said in wanted.items())


def _holds(record: Record, field_id: int, bound: str, said: list[str]) -> bool:
    held = [value for field in record.custom if field["field_id"] == field_id for value in field["values"]]
    if bound:
        return any(_within(_number(value.get("value")), bound, said[-1]) for value in held)
    return any(str(value.get(name)) in said for value in held for name in ("value", "enum_id"))


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
