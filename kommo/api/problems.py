"""Read Kommo's error answers: problem+json, older shapes, HTML pages, and nothing at all. Does no I/O."""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, NoReturn

from kommo.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    NeedsAttention,
    NotFound,
    PaymentRequired,
    RateLimited,
    Refused,
    ServerError,
    TryLater,
    Unauthorized,
)

#: Characters of a foreign sentence that an error keeps, and validation errors that it lists.
DETAIL_LIMIT: Final = 300
VALIDATION_LIMIT: Final = 20

#: Seconds; Kommo's own figure is 300, and a wild one must not stop an account for good.
AFTER_LIMIT: Final = 86_400.0

_REDIRECTED: Final = (
    "redirects are not followed, the token would go along; check KOMMO_SUBDOMAIN and KOMMO_API_BASE: the account may "
    "have been renamed"
)

_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    400: BadRequest,
    401: Unauthorized,
    402: PaymentRequired,
    403: Forbidden,
    404: NotFound,
    # The server waited in vain, or is not ready: nothing is wrong with the call itself.
    408: ServerError,
    422: BadRequest,
    425: ServerError,
    429: RateLimited,
}


def error_of(
    method: str,
    path: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime | None = None,
) -> ApiError:
    """Sort an answer outside 200-299 by what the caller must do; header names are lower case."""
    kind = _class_of(status)
    problem = _problem(body)
    return kind(
        _detail(problem, status, headers, body),
        method=method,
        path=path,
        status=status,
        code=_first_text(problem, "code", "error_code", "error_type"),
        request_id=headers.get("x-request-id") or _first_text(problem, "trace_id"),
        after=_after(problem, headers, now) if issubclass(kind, TryLater) else None,
        validation=_validation(problem),
    )


def parse_json(body: bytes) -> Any:
    """Parse JSON strictly; raises ValueError, for bad UTF-8, bottomless nesting and NaN too."""
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _class_of(status: int) -> type[ApiError]:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 300 <= status < 400:
        return NeedsAttention
    return Refused if 400 <= status < 500 else ServerError


def _problem(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = parse_json(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _detail(problem: Mapping[str, Any], status: int, headers: Mapping[str, str], body: bytes) -> str:
    if 300 <= status < 400:
        return _REDIRECTED
    said = _first_text(problem, "detail", "error_description", "message", "title", "hint")
    hint = _first_text(problem, "hint")
    if said:
        return f"{said} ({hint})" if hint and hint != said else said
    if body.lstrip()[:1] == b"<" or "html" in headers.get("content-type", "").lower():
        return "an HTML page instead of JSON"
    return _phrase(status) if not body.strip() else f"{_phrase(status)}, and {len(body)} bytes that are no explanation"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no HTTP status that is known"


def _first_text(problem: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        value = problem.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip():
            return _one_line(str(value))
    return None


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= DETAIL_LIMIT else f"{line[: DETAIL_LIMIT - 1]}…"


def _validation(problem: Mapping[str, Any]) -> tuple[str, ...]:
    """Flatten `validation-errors`: one list a request, in it one error a field."""
    requests = problem.get("validation-errors")
    found = [line for request in _dicts(requests) for line in _lines(request)]
    if len(found) > VALIDATION_LIMIT:
        found[VALIDATION_LIMIT:] = [f"and {len(found) - VALIDATION_LIMIT} more"]
    return tuple(found)


def _lines(request: Mapping[str, Any]) -> Iterator[str]:
    for error in _dicts(request.get("errors")):
        path = _first_text(error, "path") or "?"
        yield f"{path}: {_first_text(error, 'detail', 'code') or 'not accepted'}"


def _dicts(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _after(problem: Mapping[str, Any], headers: Mapping[str, str], now: datetime | None) -> float | None:
    """Seconds to wait: the header first, else the body, where Kommo's own page puts it."""
    said = _header_seconds(headers, now)
    return said if said is not None else _seconds(problem.get("retry_after"))


def _header_seconds(headers: Mapping[str, str], now: datetime | None) -> float | None:
    text = headers.get("retry-after", "").strip()
    seconds = _seconds(text)
    if seconds is not None:
        return seconds
    until = _date(text)
    if until is None:
        return None
    start = now or _date(headers.get("date", "")) or datetime.now(UTC)
    return _seconds(max(0.0, (until - start).total_seconds()))


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return min(seconds, AFTER_LIMIT) if math.isfinite(seconds) and seconds >= 0 else None


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    # RFC 9110 dates are GMT; "-0000" parses as naive.
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
