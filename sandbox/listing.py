"""Lists: filters, order and pages (https://developers.kommo.com/reference/leads-list)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from sandbox.problems import ApiError, over_page_limit
from sandbox.state import Json, Record
from sandbox.validation import BATCH_LIMIT

#: Query parameters as they came, in order: `filter[id][]` may come several times.
Query = Sequence[tuple[str, str]]

DEFAULT_LIMIT = 50

_RANGES = ("created_at", "updated_at", "closed_at", "complete_till")
_EQUAL = (
    "id",
    "entity_id",
    "to_entity_id",
    "pipeline_id",
    "status_id",
    "responsible_user_id",
    "created_by",
    "updated_by",
)
_TEXTS = ("name", "entity_type", "to_entity_type")
_ORDERS = ("id", "created_at", "updated_at", "complete_till")
_STATUSES = re.compile(r"filter\[statuses]\[(\d+)]\[(pipeline_id|status_id)]")


class Page(NamedTuple):
    """A page of a list; `more` tells whether another follows."""

    rows: list[Any]
    number: int
    limit: int
    more: bool


def page_of(rows: Sequence[Any], query: Query) -> Page:
    """Cut the page that `page` and `limit` ask for; raises ApiError 422 above 250."""
    number, limit = _number(query, "page", 1), _number(query, "limit", DEFAULT_LIMIT)
    if limit > BATCH_LIMIT:
        raise over_page_limit()
    start = (number - 1) * limit
    return Page(list(rows[start : start + limit]), number, limit, len(rows) > start + limit)


def _number(query: Query, name: str, default: int) -> int:
    text = next((value for key, value in query if key == name), str(default))
    if not text.isdigit() or int(text) < 1:
        raise ApiError(400, f"{name} has to be a positive number")
    return int(text)


def page_body(page: Page, plural: str, rows: Sequence[Json], *, url: str, query: Query) -> Json:
    """Return the document of a page; `_links.next` is there only if there is a next page."""
    links = {"self": {"href": _href(url, query, page, page.number)}}
    if page.more:
        links["next"] = {"href": _href(url, query, page, page.number + 1)}
    return {"_page": page.number, "_links": links, "_embedded": {plural: list(rows)}}


def _href(url: str, query: Query, page: Page, number: int) -> str:
    kept = [(key, value) for key, value in query if key not in ("page", "limit")]
    return f"{url}?{urlencode([*kept, ('page', str(number)), ('limit', str(page.limit))])}"


def select(records: Iterable[Record], query: Query) -> list[Record]:
    """Return the records that pass the filters, in the order asked for."""
    found = [record for record in records if matches(_plain(record), query) and _in_statuses(record, query)]
    wanted = [text.casefold() for key, text in query if key == "query" and text]
    found = [record for record in found if all(text in _searchable(record) for text in wanted)]
    return ordered(found, query, _plain)


def matches(row: Json, query: Query) -> bool:
    """Tell whether plain fields pass the filters on ids, times, flags and names."""
    return all(_passes(row, key, value) for key, value in _by_filter(query).items())


def _by_filter(query: Query) -> Mapping[tuple[str, str], list[str]]:
    grouped: dict[tuple[str, str], list[str]] = {}
    for key, value in query:
        found = re.fullmatch(r"filter\[(\w+)](?:\[(\w*)])?", key)
        if found:
            bound = found[2] if found[2] in ("from", "to") else ""
            grouped.setdefault((found[1], bound), []).extend(value.split(",") if not bound else [value])
    return grouped


def _passes(row: Json, key: tuple[str, str], values: list[str]) -> bool:
    name, bound = key
    if name in _RANGES and bound:
        return _within(row.get(name), bound, values[-1])
    if name in _EQUAL:
        return str(row.get(name)) in values
    if name in _TEXTS:
        return row.get(name) in values
    if name == "is_completed":
        return bool(row.get(name)) == (values[-1] in ("1", "true"))
    if name in ("task_type", "note_type"):
        return str(row.get("task_type_id", row.get("note_type"))) in values
    return True


def _within(value: Any, bound: str, text: str) -> bool:
    if not text.isdigit():
        raise ApiError(400, "A time has to be in epoch seconds")
    return value is not None and (value >= int(text) if bound == "from" else value <= int(text))


def _in_statuses(record: Record, query: Query) -> bool:
    pairs: dict[str, dict[str, str]] = {}
    for key, value in query:
        found = _STATUSES.fullmatch(key)
        if found:
            pairs.setdefault(found[1], {})[found[2]] = value
    return not pairs or any(
        all(str(record.fields.get(name)) == value for name, value in pair.items()) for pair in pairs.values()
    )


def ordered(rows: list[Any], query: Query, plain: Any) -> list[Any]:
    """Sort by `order[field]=asc|desc`, oldest id first without it."""
    for key, direction in query:
        found = re.fullmatch(r"order\[(\w+)]", key)
        if found and found[1] in _ORDERS:
            name = found[1]
            return sorted(
                rows, key=lambda row: (plain(row).get(name) or 0, plain(row)["id"]), reverse=direction == "desc"
            )
    return sorted(rows, key=lambda row: plain(row)["id"])


def _plain(record: Record) -> Json:
    return {"id": record.id, **record.fields}


def _searchable(record: Record) -> str:
    values = [str(value.get("value")) for field in record.custom for value in field["values"]]
    return " ".join([str(record.id), str(record.fields.get("name", "")), *values]).casefold()
