"""The error pages of the service as they arrive, each by a name: problem documents, and HTML of its front server.

Sources: https://developers.kommo.com/docs/response-codes, https://developers.kommo.com/docs/limitations and,
for the numbered refusals, the older list of error codes.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

PROBLEM_TYPE = "application/problem+json"
HTML_TYPE = "text/html"

#: The `type` of what the token endpoint refuses.
OAUTH_PROBLEM = "https://developers.amocrm.ru/v3/errors/OAuthProblemJson"


@dataclass(frozen=True)
class Page:
    """A whole answer: status, body, its type, and headers besides."""

    status: int
    body: str
    content_type: str = PROBLEM_TYPE
    headers: Mapping[str, str] | None = None


def problem_page(status: int, detail: str, **extra: Any) -> Page:
    """Return a problem document with the title and the type that belong to its status."""
    body = {
        **extra,
        "title": HTTPStatus(status).phrase,
        "type": f"https://httpstatus.es/{status}",
        "status": status,
        "detail": detail,
    }
    return Page(status, json.dumps(body, ensure_ascii=False))


def front_page(status: int) -> Page:
    """Return what the server in front of the service shows on its own account."""
    headline = f"{status} {'Gateway Time-out' if status == 504 else HTTPStatus(status).phrase}"
    body = (
        f"<html>\r\n<head><title>{headline}</title></head>\r\n<body>\r\n"
        f"<center><h1>{headline}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Page(status, body, HTML_TYPE)


def oauth_page(status: int, title: str, detail: str, hint: str | None = None) -> Page:
    """Return what the token endpoint answers; only the hint and the status tell its refusals apart."""
    body = {"title": title, "type": OAUTH_PROBLEM, "status": status, "detail": detail}
    return Page(status, json.dumps({"hint": hint, **body} if hint else body, ensure_ascii=False))


def _numbered(status: int, code: int, error: str, **extra: Any) -> Page:
    """Return a refusal in the older form, with a number of the service's list."""
    return Page(status, json.dumps({"response": {"error": error, "error_code": code, **extra}}), "application/json")


def _too_many(retry_after: int) -> Page:
    return problem_page(429, "Request limit exceeded, slow down", retry_after=retry_after)


def _too_many_with_header(retry_after: int) -> Page:
    plain = _too_many(retry_after)
    return Page(plain.status, plain.body, plain.content_type, {"Retry-After": str(retry_after)})


def _internal_error(_: int) -> Page:
    body = {"title": "ErrInternalServer", "status": 500, "detail": "Something went wrong", "trace_id": uuid.uuid4().hex}
    return Page(500, json.dumps(body))


def _always(page: Page) -> Callable[[int], Page]:
    return lambda _: page


def _invalid() -> Page:
    fault = {
        "code": "NotSupportedChoice",
        "path": "status_id",
        "detail": "The value you selected is not a valid choice.",
    }
    errors = [{"request_id": "0", "errors": [fault]}]
    return problem_page(400, "Request validation failed", **{"validation-errors": errors})


_REVOKED = ("Authorization failed", "The token was refused.", "Token has been revoked")

#: Every page; each is made anew from the `retry_after` in force.
_PAGES: dict[str, Callable[[int], Page]] = {
    "validation": _always(_invalid()),
    "unauthorized": _always(problem_page(401, "Invalid or missing access token", hint="Token has expired")),
    "unauthorized_bare": _always(problem_page(401, "Invalid or missing access token")),
    "token_revoked": _always(oauth_page(401, *_REVOKED)),
    "client_unknown": _always(oauth_page(401, "Unknown client", "The client could not be authorized.")),
    "login_wrong": _always(_numbered(401, 110, "Login or password is wrong")),
    "captcha": _always(_numbered(401, 111, "Too many attempts; log in through the browser")),
    "user_off": _always(_numbered(401, 112, "The user is switched off")),
    "address_refused": _always(_numbered(403, 113, "Access from this address is forbidden")),
    "account_unknown": _always(_numbered(401, 101, "Account not found")),
    "account_elsewhere": _always(_numbered(401, 401, "The account is on another server", ip="192.0.2.77")),
    "payment_required": _always(problem_page(402, "The subscription has ended")),
    "forbidden_html": _always(front_page(403)),
    "forbidden_scope": _always(problem_page(403, "Invalid scope")),
    "forbidden_right": _always(problem_page(403, "Not enough rights for this action")),
    "not_found": _always(problem_page(404, "Resource not found")),
    "method_not_allowed": _always(problem_page(405, "The method is not allowed for this address")),
    "conflict": _always(problem_page(409, "The resource was changed meanwhile")),
    "over_limit": _always(problem_page(422, "Limit 250 per page")),
    "too_many": _too_many,
    "too_many_header": _too_many_with_header,
    "too_many_html": _always(front_page(429)),
    "internal_error": _internal_error,
    "bad_gateway": _always(front_page(502)),
    "unavailable": _always(front_page(503)),
    "gateway_timeout": _always(front_page(504)),
}

#: What a status means when nothing else is said.
_DEFAULTS = {
    400: "validation",
    401: "unauthorized",
    402: "payment_required",
    403: "forbidden_html",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    422: "over_limit",
    429: "too_many",
    500: "internal_error",
    502: "bad_gateway",
    503: "unavailable",
    504: "gateway_timeout",
}

NAMES = tuple(_PAGES)


def page(name: str, *, retry_after: int = 300) -> Page:
    """Return the page of that name; `retry_after` is told, in seconds, where the page tells one."""
    return _PAGES[name](retry_after)


def page_for(status: int, *, retry_after: int = 300) -> Page:
    """Return what the service answers with that status: empty below 400, a bare problem where it has no page."""
    if status in _DEFAULTS:
        return page(_DEFAULTS[status], retry_after=retry_after)
    return Page(status, "", HTML_TYPE) if status < 400 else problem_page(status, "The service refused the request")
