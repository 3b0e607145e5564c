"""Read Kommo's error answers: problem+json, older shapes, HTML pages, and nothing at all. Does no I/O.

Sources: the vendor's page on HTTP status codes, https://developers.kommo.com/docs/limitations, and for bodies of the
older shape `{"response": {"error": "…", "error_code": "110"}}` https://www.amocrm.com/developers/content/api/errors/.
"""

import codecs
import json
import math
import re
from collections.abc import Iterator, Mapping, ValuesView
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, NoReturn

from kommo.api.codes import Code, code_of
from kommo.errors import (
    AGAIN,
    ENDED,
    FEATURE,
    ITEMS,
    PAGE,
    UNREADABLE,
    Action,
    ApiError,
    ServerError,
    TryLater,
    treatment_of,
)

#: Characters of a foreign sentence that an error keeps, and validation errors that it lists.
DETAIL_LIMIT: Final = 300
VALIDATION_LIMIT: Final = 20

#: Seconds; Kommo's own figure is 300, and a wild one must not stop an account for good.
AFTER_LIMIT: Final = 86_400.0

#: What the token endpoint, or the API, says of access that somebody took back. `title` and `detail` are translated.
_REVOKED: Final = "token has been revoked"

_REDIRECTED: Final = "redirects are not followed, the token would go along"

#: Tokens, secrets and signatures are such runs; a UUID has 36 characters, and words have fewer.
_SECRET: Final = re.compile(r"[A-Za-z0-9_+/=-]{40,}")

#: Version 4 tells the older codes in a sentence: https://github.com/amocrm/amocrm-api-php/issues/33
_SPOKEN_CODE: Final = re.compile(r"(?:Код ошибки|error code)\s+([0-9]{3,4})\b", re.IGNORECASE)

#: What a code's treatment says about the answer that brings it.
_SIGNS: Final = {Action.REPEAT: AGAIN, Action.PARK: ENDED, Action.STOP: PAGE, Action.GIVE_UP: FEATURE}


def error_of(
    method: str,
    path: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime | None = None,
) -> ApiError:
    """Sort an answer by what the caller must do: TREATMENTS. Header names are lower case.

    An answer of 200-299 is taken for one that cannot be read. Addresses in an answer are not looked at.
    """
    problem = _problem(body)
    known = _known(problem, path, status)
    items = _items(problem)
    treatment = treatment_of(status, set(_signs(problem, known, status, body)) | ({ITEMS} if items else set()))
    kind = treatment.error or ServerError
    return kind(
        _detail(problem, status, headers, body),
        method=method,
        path=path,
        status=status,
        code=_first_text(problem, "error_type", "error_code", "code") or _spoken_code(problem),
        request_id=_first_text(headers, "x-request-id") or _first_text(problem, "trace_id"),
        after=_after(problem, headers, now) if issubclass(kind, TryLater) else None,
        validation=_validation(problem),
        items=items if treatment.action is Action.TAKE_OUT else {},
        meaning=known.meaning if known else "",
        hint=_first_text(problem, "hint") or "",
    )


def parse_json(body: bytes) -> Any:
    """Parse JSON strictly; raises ValueError, for bad UTF-8, bottomless nesting and NaN too."""
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _problem(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = parse_json(body)
    except ValueError:
        return {}
    older = parsed.get("response") if isinstance(parsed, dict) else None
    found = older if isinstance(older, dict) else parsed
    return found if isinstance(found, dict) else {}


def _signs(problem: Mapping[str, Any], known: Code | None, status: int, body: bytes) -> Iterator[str]:
    if 200 <= status < 300:
        yield UNREADABLE
    # The API gives its reasons in JSON. A 403 without any comes from the server in front of it, which blocks.
    if body.removeprefix(codecs.BOM_UTF8).lstrip()[:1] not in (b"{", b"["):
        yield PAGE
    if (_first_text(problem, "hint") or "").rstrip(".").casefold() == _REVOKED:
        yield ENDED
    if known and known.action in _SIGNS:
        yield _SIGNS[known.action]


def _known(problem: Mapping[str, Any], path: str, status: int) -> Code | None:
    """Find the answer's numeric code in the vendor's list."""
    said = _first_text(problem, "error_code", "code") or _spoken_code(problem) or ""
    # `error_type` is another list, the Chats API's; and a `code` beside `detail` often only repeats the status.
    if not re.fullmatch("[0-9]{1,6}", said) or "error_type" in problem:
        return None
    if "error_code" not in problem and int(said) == status:
        return None
    return code_of(path, int(said), status)


def _spoken_code(problem: Mapping[str, Any]) -> str | None:
    found = _SPOKEN_CODE.search(_first_text(problem, "detail", "error") or "")
    return found and found[1]


def _detail(problem: Mapping[str, Any], status: int, headers: Mapping[str, str], body: bytes) -> str:
    html = "html" in headers.get("content-type", "").lower() or body.lstrip()[:1] == b"<"
    if 200 <= status < 300:
        kind = headers.get("content-type", "no content type").partition(";")[0].strip()[:60]
        return f"the answer is not JSON ({kind}, {len(body)} bytes)"
    if 300 <= status < 400:
        return _REDIRECTED
    said = _first_text(problem, "detail", "error_description", "message", "error", "title", "hint")
    hint = _first_text(problem, "hint")
    if said:
        return f"{said} ({hint})" if hint and hint != said else said
    if html:
        return "an HTML page instead of JSON"
    return (
        _phrase(status)
        if problem or not body.strip()
        else f"{_phrase(status)}, and {len(body)} bytes that are no explanation"
    )


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
    line = _SECRET.sub("…", " ".join(text.split()))
    return line if len(line) <= DETAIL_LIMIT else f"{line[: DETAIL_LIMIT - 1]}…"


def _validation(problem: Mapping[str, Any]) -> tuple[str, ...]:
    """Flatten `validation-errors`: one list a request, in it one error a field."""
    found = [line for request in _dicts(problem.get("validation-errors")) for line in _lines(request)]
    if len(found) > VALIDATION_LIMIT:
        found[VALIDATION_LIMIT:] = [f"and {len(found) - VALIDATION_LIMIT} more"]
    return tuple(found)


def _items(problem: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The same by `request_id`, which names the item as it was sent; errors that name none stay out."""
    found: dict[str, tuple[str, ...]] = {}
    for request in _dicts(problem.get("validation-errors")):
        name = request.get("request_id")
        if isinstance(name, (str, int)) and not isinstance(name, bool):
            lines = (*found.get(str(name), ()), *_lines(request))
            found[str(name)] = lines[:VALIDATION_LIMIT]
    return found


def _lines(request: Mapping[str, Any]) -> Iterator[str]:
    for error in _dicts(request.get("errors")):
        path = _first_text(error, "path") or "?"
        yield f"{path}: {_first_text(error, 'detail', 'code') or 'not accepted'}"


def _dicts(value: object) -> Iterator[Mapping[str, Any]]:
    # PHP makes an object of a list whose numbers have gaps.
    found = value.values() if isinstance(value, dict) else value
    if isinstance(found, (list, ValuesView)):
        yield from (item for item in found if isinstance(item, dict))


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
