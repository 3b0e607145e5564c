"""The service itself from outside: faults, limits, latency, subscription, and the log of requests."""

import time
from typing import Any

from flask import Blueprint, Response, request

from sandbox import pages
from sandbox.api.answers import single, world
from sandbox.control.speech import given, number_asked, told
from sandbox.journal import Wanted
from sandbox.problems import ApiError
from sandbox.rules import LIMITED_PAGES
from sandbox.state import Json

service = Blueprint("service", __name__, url_prefix="/_sandbox")


@service.get("/requests")
def requests() -> Response:
    """Give the requests that `since`, `method`, `path` and `status` ask for, the counts, and the peak.

    `bodies=1` adds what they carried, as JSON and without secrets.
    """
    since = number_asked("since") or 0
    method = request.args.get("method", "").upper() or None
    wanted = Wanted(since, method, request.args.get("path"), number_asked("status"))
    rows = world().journal.find(wanted, bodies=request.args.get("bodies") == "1")
    counts: Json = {"peak": world().gate.peak, "by_status": world().journal.by_status()}
    counts["token_calls"] = world().integration.counts()
    return told({"requests": rows, "last": rows[-1]["number"] if rows else since, **counts})


@service.get("/pages")
def list_pages() -> Response:
    """Give the ready-made answers that a fault may name."""
    shown = {name: world().rules.named(name) for name in pages.NAMES}
    rows = [
        {"name": name, "status": page.status, "content_type": page.content_type, "body": page.body}
        for name, page in shown.items()
    ]
    return told({"pages": rows})


@service.get("/faults")
def list_faults() -> Response:
    """Give the faults since they were last cleared."""
    return told({"faults": world().faults.all()})


@service.post("/faults")
def add_fault() -> Response:
    """Let requests run into a fault."""
    return told({"ok": True, "id": world().faults.add(single()).id})


@service.delete("/faults")
@service.post("/faults/clear")
def clear_faults() -> Response:
    """Forget all faults."""
    world().faults.clear()
    return told({"ok": True})


@service.post("/latency")
def set_latency() -> Response:
    """Hold every answer back for between `min` and `max` seconds."""
    rules, arguments = world().rules, given()
    rules.latency_min = _seconds(arguments.get("min", 0.0), "min")
    rules.latency_max = max(rules.latency_min, _seconds(arguments.get("max", 0.0), "max"))
    return told({"ok": True, "min": rules.latency_min, "max": rules.latency_max})


def _seconds(value: Any, name: str) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        raise ApiError(400, f"{name} has to be a number of seconds") from None
    if not 0 <= seconds < 3600:
        raise ApiError(400, f"{name} has to be between 0 and 3600 seconds")
    return seconds


@service.get("/limits")
def get_limits() -> Response:
    """Give the limits in force."""
    return told(_limits())


@service.post("/limits")
def set_limits() -> Response:
    """Change what is given of the limits; a `timeout_above` of null lets batches of any size through."""
    arguments, rules = given(), world().rules
    unknown = arguments.keys() - _limits().keys()
    if unknown:
        raise ApiError(400, f"There is no {', '.join(sorted(unknown))}; there are: {', '.join(_limits())}")
    if arguments.get("limited_page", LIMITED_PAGES[0]) not in LIMITED_PAGES:
        raise ApiError(400, "limited_page has to be one of " + ", ".join(LIMITED_PAGES))
    whole = {
        name: _whole(value, name) for name, value in arguments.items() if name not in ("block_seconds", "limited_page")
    }
    seconds = _seconds(arguments["block_seconds"], "block_seconds") if "block_seconds" in arguments else None
    world().gate.configure(rate=whole.get("rate"), block_after=whole.get("block_after"), block_seconds=seconds)
    rules.retry_after = whole.get("retry_after") or rules.retry_after
    rules.limited_page = arguments.get("limited_page", rules.limited_page)
    rules.timeout_above = whole.get("timeout_above", rules.timeout_above)
    return told({"ok": True, **_limits()})


def _whole(value: Any, name: str) -> int | None:
    if value is None and name == "timeout_above":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ApiError(400, f"{name} has to be a positive whole number")
    return value


def _limits() -> Json:
    rules = world().rules
    ours = {"retry_after": rules.retry_after, "limited_page": rules.limited_page, "timeout_above": rules.timeout_above}
    return {**world().gate.figures(), **ours}


@service.post("/block")
def block() -> Response:
    """Answer everything with the front server's 403 for so many `seconds`, as after many a 429."""
    world().gate.block(time.monotonic() + _seconds(given().get("seconds", 300), "seconds"))
    return told({"ok": True})


@service.post("/unblock")
def unblock() -> Response:
    """End a block."""
    world().gate.block(float("-inf"))
    return told({"ok": True})


@service.post("/subscription")
def set_subscription() -> Response:
    """End the subscription (`ended`): writes are answered 402, reads too with `reads_refused`."""
    rules, arguments = world().rules, given()
    rules.subscription_ended = bool(arguments.get("ended", True))
    rules.reads_refused = bool(arguments.get("reads_refused", False))
    return told({"ok": True, "ended": rules.subscription_ended, "reads_refused": rules.reads_refused})
