"""Turn a call into an HTTP request, and an HTTP response into a value or an error. Does no I/O.

Sources: https://developers.kommo.com/reference for paths and parameters,
https://developers.kommo.com/docs/limitations for the limits, and the vendor's page on HTTP status codes.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from kommo.api.problems import error_of, parse_json
from kommo.errors import RequestError

#: Query parameters: nested, as `{"filter": {"id": [1, 2]}}`, or flat pairs that are sent as they are.
Params = Mapping[str, Any] | Sequence[tuple[str, str]]

USER_AGENT: Final = "kommo-receiver"

METHODS: Final = frozenset({"GET", "POST", "PATCH", "DELETE"})

_PATH: Final = re.compile(r"(?:/[A-Za-z0-9_.~-]+)+")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; its repr shows neither token nor body nor query."""

    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    #: How many entities the body carries; 0 for a body that is no list.
    entities: int = 0

    @property
    def path(self) -> str:
        """The path alone: query values may be somebody's name or number."""
        return urlsplit(self.url).path


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response, read to its end; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def build(
    method: str,
    path: str,
    params: Params | None = None,
    json: object = None,
    headers: Mapping[str, str] | None = None,
    *,
    base_url: str,
    token: str | None = None,
) -> Request:
    """Build the request of a call.

    `path` is absolute (`/api/v4/leads`), `json` is any JSON value or None for no body, `headers` are further ones.
    Without a token the request says nothing of who it comes from (the token endpoint). Raises RequestError for
    what cannot be sent as it is: an odd path, a naive datetime, a number that JSON lacks.
    """
    check_call(method, path)
    query = _query(params or ())
    lines = [("Accept", "application/json"), ("Accept-Encoding", "identity"), ("User-Agent", USER_AGENT)]
    if token is not None:
        lines.append(("Authorization", f"Bearer {_checked_token(token)}"))
    lines += (headers or {}).items()
    body = b""
    if json is not None:
        body = encode(json)
        lines.append(("Content-Type", "application/json"))
    url = f"{base_url}{path}?{query}" if query else f"{base_url}{path}"
    return Request(method, url, tuple(lines), body, len(json) if isinstance(json, list) else 0)


def _query(params: Params) -> str:
    try:
        return urlencode(list(query_pairs(params)))
    except UnicodeEncodeError as error:
        raise RequestError(f"a query parameter is no text that can be sent: {error.reason}") from error


def check_call(method: str, path: str) -> None:
    """Raise RequestError unless this is a method and a plain absolute path."""
    if method not in METHODS:
        raise RequestError(f"{method!r} is not a method of this API; use one of {', '.join(sorted(METHODS))}")
    if not _PATH.fullmatch(path) or "/.." in path or "/./" in path:
        raise RequestError(f"{path!r} is not a plain path such as /api/v4/leads; parameters go into `params`")


def _checked_token(token: str) -> str:
    """A token with a line break would smuggle a header; the sentence does not repeat it."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise RequestError("the access token is empty or holds characters that no token has")
    return token


def encode(value: object) -> bytes:
    """Encode a body as UTF-8 JSON; raises RequestError for what JSON cannot carry."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {error}") from error


def query_pairs(params: Params) -> Iterator[tuple[str, str]]:
    """Flatten parameters the way PHP reads them: `filter[updated_at][from]`, `filter[id][]`; None is left out."""
    if not isinstance(params, Mapping):
        yield from params
        return
    for name, value in params.items():
        yield from _pairs(name, value)


def _pairs(name: str, value: object) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if isinstance(value, Mapping):
        for key, nested in value.items():
            yield from _pairs(f"{name}[{key}]", nested)
    elif isinstance(value, (list, tuple, AbstractSet, range)):
        for position, item in enumerate(_in_order(value)):
            # Without an index the parts of several objects would mix: filter[statuses][0][status_id].
            yield from _pairs(f"{name}[{position}]" if isinstance(item, Mapping) else f"{name}[]", item)
    else:
        yield name, _scalar(name, value)


def _in_order(values: Iterable[object]) -> Iterable[object]:
    """A set has no order of its own; the same call should look the same every time."""
    return sorted(values, key=str) if isinstance(values, AbstractSet) else values


def _scalar(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    if isinstance(value, datetime):
        return str(unix_seconds(value, name))
    raise RequestError(f"{name}: a query parameter cannot be {value!r}")


def unix_seconds(moment: datetime, name: str) -> int:
    """Kommo's times are whole unix seconds; a naive datetime is refused, since nobody knows its zone."""
    if moment.utcoffset() is None:
        raise RequestError(f"{name}: {moment} has no time zone; give an aware datetime")
    return int(moment.timestamp())


def decipher(
    request: Request, status: int, headers: Mapping[str, str], body: bytes, *, now: datetime | None = None
) -> Any:
    """Return the parsed answer, None for 204 and 304, or raise the ApiError that says what to do.

    `now` is the moment of the answer, for a `Retry-After` that is a date; default: the answer's own `Date`.
    A redirect is never followed, because the token would go along. It is NeedsAttention: the account was renamed or
    an address in the settings is wrong, and no repetition mends that.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    if not 200 <= status < 300 and status != 304:
        raise error_of(request.method, request.path, status, lower, body, now=now)
    # Kommo answers 204 for an empty list and for an id that does not exist.
    if status in (204, 304) or (not body.strip() and request.method != "GET"):
        return None
    try:
        return parse_json(body)
    except ValueError as error:
        raise error_of(request.method, request.path, status, lower, body, now=now) from error


def next_page(answer: object) -> tuple[str, list[tuple[str, str]]] | None:
    """Return path and query of `_links.next`, or None on the last page.

    Only path and query are taken: the token goes to the account's own host, whatever host the link names.
    Raises ValueError for a link that is no page of the API.
    """
    links = answer.get("_links") if isinstance(answer, Mapping) else None
    link = links.get("next") if isinstance(links, Mapping) else None
    href = link.get("href") if isinstance(link, Mapping) else link
    if not href:
        return None
    parts = urlsplit(str(href))
    if not _PATH.fullmatch(parts.path):
        raise ValueError("the link to the next page is no path of the API")
    return parts.path, parse_qsl(parts.query, keep_blank_values=True)
