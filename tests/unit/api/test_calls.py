"""One call: its turn, its slot, its line in the log."""

import pytest
from structlog.testing import capture_logs

from kommo.api.calls import NO_TURN, PAUSE_SECONDS, Access, Caller
from kommo.api.protocol import Request, Response
from kommo.errors import NotFound, RateLimited, RequestError, ServerError, Unreachable

SECRET = "s3cret-token"


class Gate:
    """A turnstile that writes down what happens."""

    def __init__(self, slot: str | None = "slot") -> None:
        self.slot = slot
        self.events: list[object] = []

    def acquire(self, seconds: float) -> str | None:
        self.events.append(("acquire", seconds))
        return self.slot

    def release(self, slot: str) -> None:
        self.events.append(("release", slot))

    def pause(self, seconds: float) -> None:
        self.events.append(("pause", seconds))


class Wire:
    """A transport that gives one outcome."""

    def __init__(self, outcome: Response | Exception, gate: Gate) -> None:
        self.outcome = outcome
        self.gate = gate
        self.requests: list[Request] = []

    def send(self, request: Request) -> Response:
        self.gate.events.append("send")
        self.requests.append(request)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def close(self) -> None:
        self.gate.events.append("close")


def caller(outcome, gate=None, clock=None):
    gate = gate or Gate()
    wire = Wire(outcome, gate)
    options = {"clock": clock} if clock else {}
    return Caller(Access("https://acme.kommo.com", SECRET), wire, gate, patience=3, **options), gate, wire


def unreachable():
    return Unreachable("no answer", method="GET", path="/api/v4/leads")


def test_a_call_takes_a_slot_sends_and_gives_it_back():
    call, gate, wire = caller(Response(200, {}, b'{"id":1}'))
    assert call("GET", "/api/v4/leads", {"limit": 1}) == {"id": 1}
    assert gate.events == [("acquire", 3), "send", ("release", "slot")]
    assert wire.requests[0].url == "https://acme.kommo.com/api/v4/leads?limit=1"
    assert ("Authorization", f"Bearer {SECRET}") in wire.requests[0].headers


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (unreachable(), Unreachable),
        (Response(404, {}, b""), NotFound),
        (Response(500, {}, b""), ServerError),
        (Response(200, {}, b"<html>"), ServerError),
        (RuntimeError("a fault of ours"), RuntimeError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_the_slot_comes_back_whatever_happens(outcome, error):
    call, gate, wire = caller(outcome)
    if isinstance(outcome, KeyboardInterrupt):
        wire.outcome = None

        def interrupted(_request):
            raise outcome

        wire.send = interrupted
    with pytest.raises(error):
        call("GET", "/api/v4/leads")
    assert gate.events[-1] == ("release", "slot")


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "7"}, b"", 7.0),
        ({}, b'{"retry_after":300}', 300.0),
        ({}, b"", PAUSE_SECONDS),
        ({"retry-after": "0"}, b"", 0.0),
    ],
)
def test_a_429_stops_everybody_before_the_slot_is_free(headers, body, seconds):
    call, gate, _ = caller(Response(429, headers, body))
    with pytest.raises(RateLimited):
        call("GET", "/api/v4/leads")
    assert gate.events[2:] == [("pause", seconds), ("release", "slot")]


def test_without_a_turn_nothing_is_sent():
    call, gate, _ = caller(Response(200, {}, b"{}"), Gate(slot=None))
    with pytest.raises(RateLimited) as caught:
        call("POST", "/api/v4/leads", None, [{}])
    assert caught.value.code == NO_TURN
    assert gate.events == [("acquire", 3)]


def test_what_cannot_be_sent_costs_no_slot():
    call, gate, _ = caller(Response(200, {}, b"{}"))
    with pytest.raises(RequestError):
        call("GET", "no path")
    assert gate.events == []


def test_each_call_is_one_line_without_values():
    times = iter([10.0, 10.25, 10.75])
    call, _, _ = caller(Response(200, {}, b'{"name":"private"}'), clock=lambda: next(times))
    with capture_logs() as lines:
        call("POST", "/api/v4/leads", {"query": "private"}, [{"name": "private"}])
    assert lines == [
        {"event": "api call", "log_level": "info", "method": "POST", "path": "/api/v4/leads", "status": 200}
        | {"ms": 500, "waited_ms": 250}
    ]


def test_a_call_without_answer_is_a_line_without_status():
    call, _, _ = caller(unreachable())
    with capture_logs() as lines, pytest.raises(Unreachable):
        call("GET", "/api/v4/leads")
    assert [line["status"] for line in lines] == [None]


def test_the_token_is_never_shown():
    call, _, _ = caller(Response(401, {}, b""))
    with capture_logs() as lines, pytest.raises(Exception, match="401") as caught:
        call("GET", "/api/v4/leads")
    assert SECRET not in f"{caught.value}{lines}{Access('https://x.example', SECRET)!r}"
