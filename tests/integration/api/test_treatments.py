"""Each row of the table of treatments, answered by a real server on loopback."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kommo.api.calls import Access, Caller
from kommo.api.transport import NO_ANSWER, NOT_SENT, HttpTransport
from kommo.errors import (
    AGAIN,
    ENDED,
    FEATURE,
    ITEMS,
    PAGE,
    TREATMENTS,
    UNREADABLE,
    AccessEnded,
    Action,
    ApiError,
    BadRequest,
    Blocked,
    Conflict,
    Forbidden,
    NeedsAttention,
    NotAllowed,
    NotFound,
    Overloaded,
    PaymentRequired,
    RateLimited,
    Refused,
    ServerError,
    TryLater,
    Unauthorized,
    Unreachable,
    treatment_of,
)

OLD, NEW = "0ld-token", "n3w-token"
#: Goes along with every call, and must not come back in an error.
QUERY = "a-customer"
BLOCK = b"<html>\n<head><title>403 Forbidden</title></head><body><center>nginx</center></body></html>"


@dataclass(frozen=True)
class Answer:
    """What the server says, and which row that is."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    sign: str = ""
    path: str = "/api/v4/leads"
    #: What the error has besides method, path and status.
    has: dict[str, Any] = field(default_factory=dict)
    #: Bytes by which the announced length exceeds the body.
    missing: int = 0


def said(status: int, sign: str = "", path: str = "/api/v4/leads", has: Any = (), /, **problem: Any) -> Answer:
    """An answer in problem+json."""
    headers = {"Content-Type": "application/problem+json", "X-Request-Id": f"r{status}"}
    return Answer(status, json.dumps(problem).encode(), headers, sign, path, {"request_id": f"r{status}", **dict(has)})


WRONG = [
    {"request_id": "0", "errors": [{"code": "TooLong", "path": "name", "detail": "Too long."}]},
    {"request_id": "4", "errors": [{"code": "X", "path": "price", "detail": "No number."}]},
]
HTML = {"Content-Type": "text/html"}
ANSWERS = [
    Answer(200, b'{"id":', {"X-Request-Id": "r1"}, UNREADABLE, has={"request_id": "r1"}),
    Answer(200, b"<html>busy</html>", HTML, UNREADABLE),
    Answer(201, b"\xff\xfe", sign=UNREADABLE),
    Answer(200, b'{"_embedded":{}}'),
    Answer(201, b'{"_embedded":{}}'),
    Answer(204),
    Answer(304),
    Answer(301, b"", {"Location": "https://evil.example/"}),
    Answer(307, b"<html>", {"Location": "/other-place"}),
    said(400, AGAIN, "/api/v4/contacts", {"code": "219"}, error_code=219, detail="Search"),
    Answer(404, b'{"response":{"error":"no","error_code":"281"}}', sign=AGAIN, path="/api/v4/catalogs/3"),
    said(402, FEATURE, "/api/v4/customers", {"code": "402"}, error_code=402),
    said(426, FEATURE, "/api/v4/customers", {"code": "426"}, error_code="426"),
    said(
        400,
        ITEMS,
        "/api/v4/leads",
        {"items": {"0": ("name: Too long.",), "4": ("price: No number.",)}},
        **{"validation-errors": WRONG},
    ),
    said(422, ITEMS, **{"validation-errors": WRONG}),
    said(400, title="Bad Request", detail="Wrong filter"),
    said(422, "", "/api/v4/leads", {"detail": "Limit 250 per page"}, detail="Limit 250 per page"),
    Answer(400, b"", {"Content-Type": "text/plain"}),
    said(
        401, ENDED, "/api/v4/leads", {"hint": "Token has been revoked"}, hint="Token has been revoked", title="Что-то"
    ),
    said(401, ENDED, error_code=111),
    said(401, ENDED, error_code=112),
    said(401, title="Unauthorized", status=401, detail="Wrong login"),
    said(401, "", "/api/v4/leads", {"code": "110"}, error_code=110),
    said(401, error_code=101),
    Answer(401, b'{"response":{"error_code":"401","ip":"192.0.2.9"}}', has={"code": "401"}),
    Answer(401),
    said(402, title="Payment Required"),
    Answer(402, b"<html>", HTML),
    said(403, ENDED, "/api/v4/leads", {"code": "113"}, error_code=113),
    Answer(403, BLOCK, HTML, PAGE, has={"after": None}),
    Answer(403, BLOCK, {**HTML, "Retry-After": "900"}, PAGE, has={"after": 900.0}),
    Answer(403, sign=PAGE),
    said(403, title="Forbidden", detail="Invalid scope"),
    Answer(403, b'{"detail":"No right"}', HTML, has={"detail": "No right"}),
    said(404, title="Not Found"),
    Answer(404, b"<html>", HTML),
    said(405, title="Method Not Allowed"),
    Answer(408),
    Answer(425),
    said(409, title="Conflict"),
    said(429, "", "/api/v4/leads", {"after": 300.0}, title="Too Many Requests", retry_after=300),
    Answer(429, b"", {"Retry-After": "7"}, has={"after": 7.0}),
    Answer(429, b"<html>slow down</html>", HTML, has={"after": None}),
    Answer(
        429,
        b"",
        {"Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT", "Date": "Thu, 01 Jan 2026 00:00:00 GMT"},
        has={"after": 30.0},
    ),
    Answer(418, b"{}"),
    Answer(504, b"<html>504 Gateway Time-out</html>", HTML),
    said(504, title="Gateway Timeout"),
    said(500, "", "/api/v4/leads", {"detail": "Oops"}, title="ErrInternalServer", detail="Oops", trace_id="t-1"),
    Answer(502, b"<html>Bad Gateway</html>", HTML),
    Answer(503, b"", {"Retry-After": "3"}, has={"after": 3.0}),
]
ERRORS = [answer for answer in ANSWERS if treatment_of(answer.status, {answer.sign}).error]


class Gate:
    """A turnstile that writes down what it is told."""

    def __init__(self) -> None:
        self.heeded: list[tuple[ApiError, str, bool]] = []
        self.admitted: list[tuple[str, str]] = []
        self.held = 0
        self.slots = 0

    def admit(self, method: str, path: str) -> bool:
        self.admitted.append((method, path))
        return False

    def worked(self, method: str) -> None:
        raise AssertionError(f"this {method} was not to try")

    def untried(self) -> None:
        raise AssertionError("no call was to try")

    def acquire(self, seconds: float) -> str:
        self.slots += 1
        self.held += 1
        return f"slot {self.slots} within {seconds}"

    def release(self, slot: str) -> None:
        self.held -= slot.startswith(f"slot {self.slots} ")

    def heed(self, error: ApiError, method: str) -> None:
        self.heeded.append((error, method, self.held > 0))


class Tokens:
    """An access whose token can be renewed, or not."""

    def __init__(self, base_url: str, new: str = "") -> None:
        self.base_url = base_url
        self.new = new
        self.renewals = 0

    def access(self) -> Access:
        return Access(self.base_url, OLD)

    def renewed(self, refused: Access) -> Access | None:
        self.renewals += 1
        return Access(refused.base_url, self.new) if self.new else None


class Kommo:
    """A server that gives one answer to everything, or another one to a new token."""

    def __init__(self) -> None:
        self.answer = Answer(204)
        self.to_new_token: Answer | None = None
        self.requests: list[tuple[str, str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        kommo = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                token = self.headers["Authorization"].removeprefix("Bearer ")
                kommo.requests.append((self.command, self.path, token))
                answer = kommo.to_new_token if token == NEW and kommo.to_new_token else kommo.answer
                self.send_response_only(answer.status)
                for name, text in answer.headers.items():
                    self.send_header(name, text)
                if answer.status not in (204, 304):
                    self.send_header("Content-Length", str(len(answer.body) + answer.missing))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_PATCH = do_DELETE = respond  # noqa: N815 - names that http.server calls

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's own name
                """Say nothing."""

        return Handler

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[Kommo]:
    """One server for all answers."""
    with contextlib.closing(Kommo()) as kommo:
        yield kommo


@pytest.fixture
def kommo(server: Kommo) -> Kommo:
    """The server, with an empty memory."""
    server.requests.clear()
    server.to_new_token = None
    return server


@pytest.fixture(scope="module")
def transport() -> Iterator[HttpTransport]:
    """The real transport."""
    with HttpTransport(deadline=10) as carrier:
        yield carrier


@pytest.fixture
def gate() -> Gate:
    """A turnstile."""
    return Gate()


@pytest.fixture
def call(kommo: Kommo, transport: HttpTransport, gate: Gate) -> Callable[..., Any]:
    """Make a call, by default one whose token cannot be renewed."""

    def make(path: str = "/api/v4/leads", *, method: str = "GET", new: str = "") -> Any:
        tokens = Tokens(kommo.base_url, new)
        body = None if method == "GET" else [{"name": QUERY}]
        try:
            return Caller(tokens, transport, gate)(method, path, {"query": QUERY}, body)
        finally:
            make.renewals = tokens.renewals

    make.renewals = 0
    return make


def failed(call: Callable[..., Any], *args: Any, **options: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        call(*args, **options)
    return caught.value


def test_every_row_that_an_answer_can_reach_is_tried():
    tried = {id(treatment_of(answer.status, {answer.sign})) for answer in ANSWERS}
    assert [row for row in TREATMENTS if id(row) not in tried] == [treatment_of(None)]


@pytest.mark.parametrize("answer", [one for one in ANSWERS if one not in ERRORS], ids=lambda one: one.status)
@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_success_comes_back_and_nobody_is_told(kommo, gate, call, answer, method):
    kommo.answer = answer
    assert call(method=method) == (json.loads(answer.body) if answer.body else None)
    assert (len(kommo.requests), gate.slots, gate.held, gate.heeded) == (1, 1, 0, [])


@pytest.mark.parametrize("answer", ERRORS, ids=lambda one: f"{one.status}-{one.sign}")
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
def test_every_answer_raises_the_error_of_its_row_after_one_request(kommo, gate, call, answer, method):
    kommo.answer = answer
    row = treatment_of(answer.status, {answer.sign})
    error = failed(call, answer.path, method=method)
    assert (type(error), error.action) == (row.error, row.action)
    assert (error.method, error.path, error.status) == (method, answer.path, answer.status)
    assert {name: getattr(error, name) for name in answer.has} == answer.has
    assert str(error).startswith(f"{method} {answer.path} answered {answer.status}")
    assert str(error).endswith(error.remedy)
    assert [request[:2] for request in kommo.requests] == [(method, f"{answer.path}?query={QUERY}")]
    assert (gate.admitted, gate.slots, gate.held) == ([(method, answer.path)], 1, 0)


@pytest.mark.parametrize("answer", ERRORS, ids=lambda one: f"{one.status}-{one.sign}")
def test_the_limit_is_told_of_what_concerns_other_calls_and_of_nothing_else(kommo, gate, call, answer):
    kommo.answer = answer
    error = failed(call, answer.path, method="PATCH")
    told = [(error, "PATCH", isinstance(error, TryLater))]
    assert gate.heeded == ([] if isinstance(error, Refused) else told)


@pytest.mark.parametrize("answer", ERRORS, ids=lambda one: f"{one.status}-{one.sign}")
def test_no_error_repeats_a_token_a_value_of_the_query_a_body_or_an_address(kommo, call, answer):
    kommo.answer = answer
    error = failed(call, answer.path, method="POST", new=NEW)
    shown = f"{error}{error!r}{vars(error)}"
    secrets = (OLD, NEW, QUERY, "<html", "nginx", "busy", "evil.example", "other-place", "192.0.2.9")
    assert not any(secret in shown for secret in secrets)


# A new token

RENEWED = [answer for answer in ERRORS if treatment_of(answer.status, {answer.sign}).action is Action.RENEW]


@pytest.mark.parametrize("answer", RENEWED, ids=lambda one: f"{one.status}-{one.sign}")
def test_what_a_new_token_mends_is_repeated_once(kommo, gate, call, answer):
    kommo.answer, kommo.to_new_token = answer, Answer(200, b'{"id":1}')
    assert call(method="PATCH", new=NEW) == {"id": 1}
    assert [token for *_, token in kommo.requests] == [OLD, NEW]
    assert (call.renewals, gate.slots, gate.held, gate.heeded) == (1, 2, 0, [])


@pytest.mark.parametrize("answer", RENEWED, ids=lambda one: f"{one.status}-{one.sign}")
def test_what_a_new_token_does_not_mend_is_told_after_two_requests(kommo, gate, call, answer):
    kommo.answer = answer
    error = failed(call, new=NEW)
    assert isinstance(error, NeedsAttention)
    assert (len(kommo.requests), call.renewals, gate.slots, gate.held) == (2, 1, 2, 0)
    assert [told[0] for told in gate.heeded] == [error]


@pytest.mark.parametrize(
    "answer", [one for one in ERRORS if one not in RENEWED], ids=lambda one: f"{one.status}-{one.sign}"
)
def test_nothing_else_asks_for_a_new_token(kommo, call, answer):
    kommo.answer = answer
    failed(call, answer.path, new=NEW)
    assert (len(kommo.requests), call.renewals) == (1, 0)


# No answer, or half of one


def test_an_answer_that_ends_too_early_is_none_and_the_work_may_have_been_done(kommo, gate, call):
    kommo.answer = Answer(200, b'{"id":1}', missing=9)
    error = failed(call, method="POST")
    assert (type(error), error.action, error.code, error.status) == (Unreachable, Action.REPEAT, NO_ANSWER, None)
    assert gate.heeded == [(error, "POST", True)]
    assert (len(kommo.requests), gate.held) == (1, 0)


def test_a_server_that_is_not_there_was_sent_nothing(gate, transport):
    with contextlib.closing(Kommo()) as gone:
        base_url = gone.base_url
    error = failed(Caller(Tokens(base_url), transport, gate), "POST", "/api/v4/leads", None, [])
    assert (type(error), error.action, error.code) == (Unreachable, Action.REPEAT, NOT_SENT)
    assert gate.heeded == [(error, "POST", True)]


def test_the_answers_above_meet_every_class():
    kinds = {treatment_of(answer.status, {answer.sign}).error for answer in ERRORS}
    assert kinds == {
        *(AccessEnded, BadRequest, Blocked, Conflict, Forbidden, NeedsAttention, NotAllowed, NotFound, Overloaded),
        *(PaymentRequired, RateLimited, Refused, ServerError, Unauthorized),
    }
