"""One call: whether it may go out, its turn, its slot, its second try with a new token, its line in the log."""

import pytest
from structlog.testing import capture_logs

from kommo.api.calls import NO_TURN, Access, Caller, FixedAccess
from kommo.api.protocol import Request, Response
from kommo.errors import (
    AccessEnded,
    Blocked,
    NeedsAttention,
    NotFound,
    PaymentRequired,
    RateLimited,
    RequestError,
    ServerError,
    Unauthorized,
    Unreachable,
)

SECRET = "s3cret-token"
OLD = Access("https://acme.kommo.com", SECRET)
NEW = Access("https://renamed.kommo.com", "n3w-token")
OK = Response(200, {}, b'{"id":1}')
REFUSED = Response(401, {}, b'{"detail":"no"}')


class Gate:
    """A turnstile that writes down what happens."""

    def __init__(self, slot: str | None = "slot", *, tries: bool = False, closed: Exception | None = None) -> None:
        self.slot = slot
        self.tries = tries
        self.closed = closed
        self.events: list[object] = []

    def admit(self, method: str, path: str) -> bool:
        self.events.append(("admit", method, path))
        if self.closed:
            raise self.closed
        return self.tries

    def worked(self, method: str) -> None:
        self.events.append(("worked", method))

    def untried(self) -> None:
        self.events.append("untried")

    def acquire(self, seconds: float) -> str | None:
        self.events.append(("acquire", seconds))
        return self.slot

    def release(self, slot: str) -> None:
        self.events.append(("release", slot))

    def heed(self, error: Exception, method: str) -> None:
        self.events.append(("heed", type(error), method))

    @property
    def after_admission(self) -> list[object]:
        """What happened after the call was let in."""
        assert self.events[0][0] == "admit"
        return self.events[1:]


class Wire:
    """A transport that gives its outcomes in turn, the last one again and again."""

    def __init__(self, gate: Gate, *outcomes: Response | BaseException) -> None:
        self.gate = gate
        self.outcomes = outcomes
        self.requests: list[Request] = []

    def send(self, request: Request) -> Response:
        self.gate.events.append("send")
        self.requests.append(request)
        outcome = self.outcomes[min(len(self.requests), len(self.outcomes)) - 1]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def close(self) -> None:
        self.gate.events.append("close")


class Renewing:
    """Tokens that can be renewed once."""

    def __init__(self, new: Access | None = NEW, ended: Exception | None = None) -> None:
        self.new = new
        self.ended = ended
        self.refused: list[Access] = []

    def access(self) -> Access:
        if self.ended:
            raise self.ended
        return OLD

    def renewed(self, refused: Access) -> Access | None:
        self.refused.append(refused)
        return self.new


def caller(*outcomes, gate=None, tokens=None, **options):
    gate = gate or Gate()
    wire = Wire(gate, *outcomes)
    return Caller(tokens or FixedAccess(OLD), wire, gate, patience=3, **options), gate, wire


def unreachable():
    return Unreachable("no answer", method="GET", path="/api/v4/leads")


SENT = [("acquire", 3), "send"]
FREED = ("release", "slot")


def test_a_call_is_let_in_takes_a_slot_sends_and_gives_it_back():
    call, gate, wire = caller(OK)
    assert call("GET", "/api/v4/leads", {"limit": 1}, headers={"If-Modified-Since": "never"}) == {"id": 1}
    assert gate.events == [("admit", "GET", "/api/v4/leads"), *SENT, FREED]
    assert wire.requests[0].url == "https://acme.kommo.com/api/v4/leads?limit=1"
    assert {("Authorization", f"Bearer {SECRET}"), ("If-Modified-Since", "never")} <= set(wire.requests[0].headers)


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (unreachable(), Unreachable),
        (Response(404, {}, b""), NotFound),
        (Response(401, {}, b""), Unauthorized),
        (Response(500, {}, b""), ServerError),
        (Response(200, {}, b"<html>"), ServerError),
        (RuntimeError("a fault of ours"), RuntimeError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_the_slot_comes_back_whatever_happens(outcome, error):
    call, gate, _ = caller(outcome)
    with pytest.raises(error):
        call("GET", "/api/v4/leads")
    assert gate.events.count(FREED) == 1


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Response(429, {}, b""), RateLimited),
        (Response(403, {}, b"<html>"), Blocked),
        (Response(503, {}, b""), ServerError),
        (unreachable(), Unreachable),
    ],
)
def test_what_may_work_later_is_heeded_before_the_slot_is_free(outcome, error):
    call, gate, _ = caller(outcome)
    with pytest.raises(error):
        call("PATCH", "/api/v4/leads", None, [])
    assert gate.after_admission == [*SENT, ("heed", error, "PATCH"), FREED]


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Response(402, {}, b""), PaymentRequired),
        (Response(401, {}, b'{"hint":"Token has been revoked"}'), AccessEnded),
        (Response(403, {}, b'{"error_code":113}'), AccessEnded),
    ],
)
def test_what_only_a_person_mends_is_heeded_without_asking_for_a_new_token(outcome, error):
    tokens = Renewing()
    call, gate, _ = caller(outcome, tokens=tokens)
    with pytest.raises(error):
        call("POST", "/api/v4/leads", None, [])
    assert gate.after_admission == [*SENT, FREED, ("heed", error, "POST")]
    assert tokens.refused == []


@pytest.mark.parametrize("outcome", [Response(400, {}, b""), Response(403, {}, b"{}"), Response(404, {}, b"")])
def test_what_is_wrong_with_one_call_concerns_no_other(outcome):
    call, gate, _ = caller(outcome)
    with pytest.raises(Exception, match="answered"):
        call("POST", "/api/v4/leads", None, [])
    assert gate.after_admission == [*SENT, FREED]


# A new token


@pytest.mark.parametrize("first", [REFUSED, Response(302, {"location": "https://evil.example/"}, b"")])
def test_a_refused_token_is_renewed_once_and_the_call_repeated_where_the_account_is_now(first):
    tokens = Renewing()
    call, gate, wire = caller(first, OK, tokens=tokens)
    assert call("POST", "/api/v4/leads", {"with": "contacts"}, [{"price": 1}], {"X-One": "1"}) == {"id": 1}
    assert tokens.refused == [OLD]
    assert gate.after_admission == [*SENT, FREED, *SENT, FREED]
    one, two = wire.requests
    assert two.url == one.url.replace("acme", "renamed") == "https://renamed.kommo.com/api/v4/leads?with=contacts"
    assert (two.method, two.body) == (one.method, one.body)
    assert set(two.headers) ^ set(one.headers) == {
        ("Authorization", "Bearer n3w-token"),
        ("Authorization", f"Bearer {SECRET}"),
    }


def test_a_new_token_that_is_refused_too_is_heeded_and_not_renewed_again():
    tokens = Renewing()
    call, gate, wire = caller(REFUSED, tokens=tokens)
    with pytest.raises(Unauthorized):
        call("GET", "/api/v4/account")
    assert (len(wire.requests), len(tokens.refused)) == (2, 1)
    assert gate.events.count(("heed", Unauthorized, "GET")) == 1


def test_without_a_new_token_the_call_is_not_repeated():
    call, gate, wire = caller(REFUSED, tokens=Renewing(new=None))
    with pytest.raises(Unauthorized):
        call("GET", "/api/v4/account")
    assert len(wire.requests) == 1
    assert gate.after_admission == [*SENT, FREED, ("heed", Unauthorized, "GET")]


def test_a_long_lived_token_is_all_there_is():
    assert FixedAccess(OLD).renewed(OLD) is None
    call, _, wire = caller(Response(301, {}, b""))
    with pytest.raises(NeedsAttention, match="KOMMO_SUBDOMAIN"):
        call("GET", "/api/v4/account")
    assert len(wire.requests) == 1


@pytest.mark.parametrize(("second", "error"), [(Response(404, {}, b""), NotFound), (unreachable(), Unreachable)])
def test_the_second_call_says_what_became_of_it(second, error):
    call, gate, _ = caller(REFUSED, second, tokens=Renewing())
    with pytest.raises(error):
        call("GET", "/api/v4/leads/5")
    assert gate.events[-1] == FREED


def test_access_that_has_ended_costs_no_slot_and_says_nothing_of_kommo():
    ended = AccessEnded("revoked", method="GET", path="/x")
    call, gate, _ = caller(OK, tokens=Renewing(ended=ended))
    with pytest.raises(AccessEnded):
        call("GET", "/api/v4/account")
    assert gate.after_admission == []


# Whether it may go out


def test_a_parked_account_sends_nothing():
    parked = PaymentRequired("parked", method="PATCH", path="/api/v4/leads")
    call, gate, _ = caller(OK, gate=Gate(closed=parked))
    with pytest.raises(PaymentRequired):
        call("PATCH", "/api/v4/leads", None, [])
    assert gate.after_admission == []


def test_a_call_that_was_to_try_says_that_it_worked():
    call, gate, _ = caller(OK, gate=Gate(tries=True))
    call("PATCH", "/api/v4/leads", None, [])
    assert gate.after_admission == [*SENT, FREED, ("worked", "PATCH")]


def test_a_call_that_tried_in_vain_has_tried():
    call, gate, _ = caller(Response(402, {}, b""), gate=Gate(tries=True))
    with pytest.raises(PaymentRequired):
        call("PATCH", "/api/v4/leads", None, [])
    assert gate.after_admission == [*SENT, FREED, ("heed", PaymentRequired, "PATCH")]


@pytest.mark.parametrize(
    ("path", "outcome", "error"),
    [
        ("/api/v4/leads", unreachable(), Unreachable),
        ("no path", OK, RequestError),
        ("/api/v4/leads", RuntimeError("a fault of ours"), RuntimeError),
    ],
)
def test_a_call_that_found_nothing_out_lets_another_one_try(path, outcome, error):
    call, gate, _ = caller(outcome, gate=Gate(tries=True))
    with pytest.raises(error):
        call("PATCH", path, None, [])
    assert gate.events[-1] == "untried"
    assert ("worked", "PATCH") not in gate.events


def test_without_a_turn_nothing_is_sent():
    call, gate, _ = caller(OK, gate=Gate(slot=None))
    with pytest.raises(RateLimited) as caught:
        call("POST", "/api/v4/leads", None, [{}])
    assert caught.value.code == NO_TURN
    assert gate.after_admission == [("acquire", 3)]


def test_what_cannot_be_sent_costs_no_slot():
    call, gate, _ = caller(OK)
    with pytest.raises(RequestError):
        call("GET", "no path")
    assert gate.after_admission == []


# What is told


def test_each_call_is_one_line_without_values():
    times = iter([10.0, 10.25, 10.75])
    call, _, _ = caller(Response(200, {}, b'{"name":"private"}'), clock=lambda: next(times))
    with capture_logs() as lines:
        call("POST", "/api/v4/leads", {"query": "private"}, [{"name": "private"}])
    assert lines == [
        {"event": "api call", "log_level": "info", "method": "POST", "path": "/api/v4/leads", "status": 200}
        | {"entities": 1, "ms": 500, "waited_ms": 250}
    ]


def test_a_call_that_is_repeated_is_two_lines():
    call, _, _ = caller(REFUSED, OK, tokens=Renewing())
    with capture_logs() as lines:
        call("GET", "/api/v4/leads")
    assert [line["status"] for line in lines] == [401, 200]


def test_a_call_without_answer_is_a_line_without_status():
    call, _, _ = caller(unreachable())
    with capture_logs() as lines, pytest.raises(Unreachable):
        call("GET", "/api/v4/leads")
    assert [line["status"] for line in lines] == [None]


def test_the_token_is_never_shown():
    call, _, _ = caller(REFUSED, tokens=Renewing())
    with capture_logs() as lines, pytest.raises(Unauthorized) as caught:
        call("GET", "/api/v4/leads")
    shown = f"{caught.value!r}{vars(caught.value)}{lines}{OLD!r}{NEW!r}{FixedAccess(OLD)!r}"
    assert not any(access.token in shown for access in (OLD, NEW))
