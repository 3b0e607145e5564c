"""What holds for every request to the service: limit, faults, token, subscription, journal, latency."""

import json
import time
import uuid

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from sandbox.api.answers import paged, world
from sandbox.faults import FaultRule
from sandbox.limits import Verdict
from sandbox.pages import HTML_TYPE, PROBLEM_TYPE, Page, page_for
from sandbox.problems import ApiError, Refusal, unauthorized
from sandbox.server import ENDING, Fate

_FATES = {
    "close_before": Fate.CUT,
    "close_after": Fate.CUT,
    "truncate": Fate.TRUNCATED,
    "hang": Fate.HANGING,
}


def guard(app: Flask) -> None:
    """Put the rules around every request, also one to no route, and answer errors as the service does."""
    for step in (arrive, stumble, authorize, admit):
        app.before_request(step)
    app.after_request(leave)
    app.register_error_handler(Refusal, lambda refusal: paged(refusal.page))
    app.register_error_handler(HTTPException, _http_problem)


def arrive() -> Response | None:
    """Count the request on arrival, before anything is known of it, and refuse what is too much."""
    g.arrived_at = time.time()
    g.in_second = 0
    g.fault = None
    if not _is_service():
        return None
    judged = world().gate.arrive(time.monotonic())
    g.in_second = judged.in_second
    if judged.verdict is Verdict.BLOCKED:
        return paged(world().rules.named("forbidden_html"))
    return paged(world().rules.limited()) if judged.verdict is Verdict.LIMITED else None


def stumble() -> Response | None:
    """Let the request run into the fault that waits for it."""
    rule = world().faults.strike(request.method, request.path, _items()) if _is_service() else None
    if rule is None:
        return None
    if not rule.waits_last:
        world().pause(rule.delay)
    g.fault = rule
    # What this returns instead of the work is replaced on the way out.
    return None if rule.lets_work else Response()


def authorize() -> None:
    """Refuse a request to another account, or without one of the account's tokens."""
    if _is_service() and _is_elsewhere(request.host.partition(":")[0]):
        raise Refusal(world().rules.named("account_unknown" if _is_api() else "not_found"))
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if _is_api() and (scheme.lower() != "bearer" or not world().integration.book.admits(token.strip())):
        raise unauthorized()


def _is_elsewhere(host: str) -> bool:
    """Tell whether a host is that of another account, or of this one before it was renamed."""
    _, _, domain = host.partition(".")
    return domain == world().options.domain and host not in (world().host, world().options.api_domain)


def admit() -> Response | None:
    """Refuse what the subscription does not cover, and give up on batches that are too large."""
    refusal = world().rules.refusal(request.method, _items()) if _is_api() else None
    return None if refusal is None else paged(refusal)


def leave(response: Response) -> Response:
    """Break the answer if a fault wants it, write the request down, and hold the answer back."""
    if not _is_service():
        return response
    if g.fault is not None:
        response = _broken(g.fault, response)
    response.headers["X-Request-Id"] = uuid.uuid4().hex
    world().journal.write(
        method=request.method,
        path=request.path,
        query=request.query_string.decode("utf-8", "replace"),
        status=_status(g.fault, response),
        at=g.arrived_at,
        in_second=g.in_second,
        fault=None if g.fault is None else g.fault.id,
        body=request.get_data(),
    )
    world().pause(world().rules.latency())
    return response


def _broken(rule: FaultRule, response: Response) -> Response:
    if rule.waits_last:
        world().pause(rule.delay)
    if rule.kind in _FATES:
        request.environ[ENDING].fate = _FATES[rule.kind]
    if rule.says_something or not rule.lets_work:
        response = paged(_page(rule))
    response.headers.update(rule.headers)
    return response


def _page(rule: FaultRule) -> Page:
    told = world().rules.named(rule.page) if rule.page else page_for(rule.status or 200, retry_after=_retry_after())
    if rule.body is None:
        return Page(rule.status or told.status, told.body, rule.content_type or told.content_type, told.headers)
    text = rule.body if isinstance(rule.body, str) else json.dumps(rule.body, ensure_ascii=False)
    usual = HTML_TYPE if isinstance(rule.body, str) else PROBLEM_TYPE
    return Page(rule.status or told.status, text, rule.content_type or usual)


def _retry_after() -> int:
    return world().rules.retry_after


def _status(rule: FaultRule | None, response: Response) -> int:
    lost = rule is not None and rule.kind in ("close_before", "close_after", "hang")
    return 0 if lost else response.status_code


def _http_problem(error: HTTPException) -> Response:
    answer = paged(ApiError(error.code or 500, error.description or error.name).page)
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        answer.headers["Allow"] = ", ".join(sorted(allowed))
    return answer


def _items() -> int:
    """Return how many items the JSON array of the request has; 1 for anything else that it carries."""
    if "asked_items" not in g:
        g.asked_items = _count(request.get_data())
    return int(g.asked_items)


def _count(body: bytes) -> int:
    if not body:
        return 0
    try:
        document = json.loads(body)
    except ValueError:
        return 1
    return len(document) if isinstance(document, list) else 1


def _is_api() -> bool:
    return request.path == "/api" or request.path.startswith(("/api/", "/v3/"))


def _is_service() -> bool:
    return _is_api() or request.path.startswith("/oauth2/")
