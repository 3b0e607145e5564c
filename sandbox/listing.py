"""Lists: order and pages (https://developers.kommo.com/reference/leads-list)."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from sandbox.filters import Query, in_custom_fields, in_statuses, matches
from sandbox.problems import ApiError, over_page_limit
from sandbox.state import Json, Record
from sandbox.validation import BATCH_LIMIT

DEFAULT_LIMIT = 50

_ORDERS = ("id", "created_at", "updated_at", "complete_till", "closed_at", "sort")


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
    """Return the document of a page; `_links` names the pages beside it as far as there are any."""
    links = {"self": {"href": _href(url, query, page, page.number)}}
    if page.more:
        links["next"] = {"href": _href(url, query, page, page.number + 1)}
    if page.number > 1:
        links["first"] = {"href": _href(url, query, page, 1)}
        links["prev"] = {"href": _href(url, query, page, page.number - 1)}
    return {"_page": page.number, "_links": links, "_embedded": {plural: list(rows)}}


def _href(url: str, query: Query, page: Page, number: int) -> str:
    kept = [(key, value) for key, value in query if key not in ("page", "limit")]
    return f"{url}?{urlencode([*kept, ('page', str(number)), ('limit', str(page.limit))])}"


def select(records: Iterable[Record], query: Query) -> list[Record]:
    """Return the records that pass the filters, in the order asked for."""
    found = [record for record in records if matches(_plain(record), query)]
    found = [record for record in found if in_statuses(record, query) and in_custom_fields(record, query)]
    wanted = [text.casefold() for key, text in query if key == "query" and text]
    found = [record for record in found if all(text in _searchable(record) for text in wanted)]
    return ordered(found, query, _plain)


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
