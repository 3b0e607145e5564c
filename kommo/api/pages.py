"""Read collections page by page; what all resources share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Protocol

from kommo.api.bounds import PAGE_LIMIT, check_page
from kommo.api.protocol import Params, next_page, query_pairs
from kommo.errors import NotFound, RequestError, ServerError

Json = dict[str, Any]


class Send(Protocol):
    """Makes a call: method, path, parameters, JSON body, further headers.

    Returns the parsed answer, None for 204 and 304, or raises ApiError. The fifth argument is given only when there
    are further headers, so that a function of four is enough for tests.
    """

    def __call__(
        self,
        method: str,
        path: str,
        params: Params | None,
        json: object,
        headers: Mapping[str, str] | None = None,
        /,
    ) -> Any: ...


@dataclass(frozen=True)
class Wanted:
    """What of a collection is wanted: one page or all of them, and since when."""

    params: Mapping[str, Any]
    _: KW_ONLY
    one_page: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


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

    def walk(self, path: str, wanted: Wanted) -> Iterator[Json]:
        """Go through what is wanted, asking for each page when the one before is used up."""
        page: tuple[str, Params] | None = (path, list(query_pairs(wanted.params)))
        while page is not None:
            answer = self._read(*page, wanted.headers)
            yield from embedded(answer, self._resource, page[0])
            page = None if wanted.one_page else self._following(page, answer)

    def all(self, path: str, params: Mapping[str, Any]) -> Iterator[Json]:
        """Go through all pages."""
        return self.walk(path, Wanted(params))

    def _read(self, path: str, params: Params, headers: Mapping[str, str]) -> Any:
        return self._send("GET", path, params, None, headers) if headers else self._send("GET", path, params, None)

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


@dataclass(frozen=True)
class PageSizes:
    """How large the pages of a collection are by default and at most; None for one that has no pages."""

    usual: int | None = PAGE_LIMIT
    largest: int = PAGE_LIMIT


def wanted_of(
    sizes: PageSizes,
    *,
    page: int | None = None,
    limit: int | None = None,
    page_size: int | None = None,
    if_modified_since: datetime | None = None,
    with_: str | Sequence[str] | None = None,
    order: Mapping[str, str] | None = None,
    **params: Any,
) -> Wanted:
    """Check and name what all lists take; raises RequestError.

    `limit` and `page_size` are the same, the size of a page. https://developers.kommo.com/docs/limitations
    """
    if limit is not None and page_size is not None:
        raise RequestError("limit= and page_size= are the same: give one of them")
    size = page_size if limit is None else limit
    check_page(page, size, sizes.largest)
    for name, direction in (order or {}).items():
        if direction not in {"asc", "desc"}:
            raise RequestError(f"order= is {{field: 'asc' or 'desc'}}, not {name}: {direction!r}")
    shared = {"limit": sizes.usual if size is None else size, "page": page, "with": joined(with_)}
    return Wanted({**shared, **params, "order": order}, one_page=page is not None, headers=_since(if_modified_since))


def _since(moment: datetime | None) -> dict[str, str]:
    """The header in the only form that HTTP takes, RFC 9110."""
    if moment is None:
        return {}
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise RequestError(f"if_modified_since= is an aware datetime, not {moment!r:.80}")
    return {"If-Modified-Since": format_datetime(moment.astimezone(UTC), usegmt=True)}


def joined(with_: str | Sequence[str] | None) -> str | None:
    """`with=contacts,loss_reason`; None when nothing more is wanted."""
    return with_ if with_ is None or isinstance(with_, str) else ",".join(with_)
