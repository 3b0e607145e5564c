"""Read collections page by page, and send one change at once; what all resources share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from kommo.api.protocol import Params, next_page, query_pairs
from kommo.api.writes import Change, request_of, result_of
from kommo.errors import NotFound, RequestError, ServerError

#: Makes a call: method, path, parameters, JSON body; returns the parsed answer, None for 204, or raises ApiError.
Send = Callable[[str, str, Params | None, object], Any]

#: Entities of a page: https://developers.kommo.com/docs/limitations
PAGE_LIMIT: Final = 250

Json = dict[str, Any]


class Pages:
    """Reads entities of one collection."""

    def __init__(self, send: Send, resource: str) -> None:
        self._send = send
        self._resource = resource

    def one(self, path: str, what: str, params: Params | None = None) -> Json:
        """Return the one object at a path; raises NotFound, as Kommo answers 204 for an id that does not exist."""
        answer = self._send("GET", path, params, None)
        if answer is None:
            raise not_found(path, what)
        if not isinstance(answer, dict):
            raise ServerError("the answer is no object", method="GET", path=path)
        return answer

    def all(self, path: str, params: Params) -> Iterator[Json]:
        """Walk through all pages, asking for each when the one before is used up."""
        page: tuple[str, Params] | None = (path, list(query_pairs(params)))
        while page is not None:
            answer = self._send("GET", *page, None)
            yield from embedded(answer, self._resource, page[0])
            page = self._following(page, answer)

    @staticmethod
    def _following(page: tuple[str, Params], answer: object) -> tuple[str, Params] | None:
        try:
            following = next_page(answer)
        except ValueError as error:
            raise ServerError(str(error), method="GET", path=page[0]) from error
        if following == page:
            raise ServerError("the next page is this page again", method="GET", path=page[0])
        return following


def embedded(answer: object, resource: str, path: str) -> list[Json]:
    """Return the list under `_embedded`; none for 204. Raises ServerError for another shape."""
    if answer is None:
        return []
    inner = answer.get("_embedded") if isinstance(answer, Mapping) else None
    listed = inner.get(resource) if isinstance(inner, Mapping) else None
    if not isinstance(listed, list):
        raise ServerError(f"the answer has no _embedded.{resource}", method="GET", path=path)
    return listed


def not_found(path: str, what: str) -> NotFound:
    """The error for an id that Kommo knows nothing of."""
    return NotFound(f"there is no {what}", method="GET", path=path, status=204)


def list_params(
    page_size: int,
    with_: str | Sequence[str] | None,
    query: str | None,
    filter_: Mapping[str, Any] | None,
    order: Mapping[str, str] | None,
    others: Mapping[str, Any],
) -> dict[str, Any]:
    """Check and name the parameters that all lists share; raises RequestError."""
    if isinstance(page_size, bool) or not 1 <= page_size <= PAGE_LIMIT:
        raise RequestError(f"page_size= is 1 to {PAGE_LIMIT}, not {page_size!r}")
    for field, direction in (order or {}).items():
        if direction not in {"asc", "desc"}:
            raise RequestError(f"order= is {{field: 'asc' or 'desc'}}, not {field}: {direction!r}")
    shared = {"with": joined(with_), "query": query, "filter": filter_, "order": order}
    return {"limit": page_size, **shared, **others}


def joined(with_: str | Sequence[str] | None) -> str | None:
    """`with=contacts,loss_reason`; None when nothing more is wanted."""
    return with_ if with_ is None or isinstance(with_, str) else ",".join(with_)


class Writer:
    """Sends a change at once."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def create(self, change: Change) -> Json:
        """Return the created object; raises ServerError when the answer brings no id, as the work may be done."""
        method, path, body = request_of(change)
        created = result_of(change, self._send(method, path, None, body))
        if not isinstance(created.get("id"), int):
            raise ServerError("the answer brings no id", method=method, path=path)
        return created

    def update(self, change: Change) -> Json:
        """Return what Kommo says of the updated object; it may be little."""
        method, path, body = request_of(change)
        return result_of(change, self._send(method, path, None, body))
