"""What stands around a sandbox in its tests: a receiver that writes down what it is sent, a client of the API."""

import json
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl

from sandbox import Sandbox
from sandbox.subscriptions import SETTINGS, UNCONFIRMED

EVERYTHING = (*sorted(SETTINGS), *sorted(set(UNCONFIRMED.values())))


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return parse_qsl(self.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)

    @property
    def values(self) -> dict[str, str]:
        return dict(self.pairs)


class Receiver(ThreadingHTTPServer):
    """Answer deliveries with what `answers` holds next, the last of it for ever; None never answers."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int | None] = [200]
        self.received: list[Received] = []
        self.changed = Condition()
        self.closing = Event()
        self.thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    def url(self, path: str = "/hooks/") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def take(self, received: Received) -> int | None:
        with self.changed:
            self.received.append(received)
            self.changed.notify_all()
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def wait_for(self, number: int, timeout: float = 5.0) -> list[Received]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.received) >= number, timeout), self.received
            return list(self.received)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.take(Received(self.path, dict(self.headers), body))
        if answer is None:
            self.server.closing.wait(10)
            return
        self.send_response_only(answer)
        if 300 <= answer < 400:
            self.send_header("Location", self.server.url("/elsewhere/"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Stay silent."""


class Caller(ThreadingHTTPServer):
    """Write down the calls to an integration's own addresses, and answer each with 200."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _CallHandler)
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


class _CallHandler(BaseHTTPRequestHandler):
    server: Caller

    def do_GET(self) -> None:
        self.server.calls.append((self.path, dict(self.headers)))
        self.send_response_only(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Stay silent."""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """Speak to one sandbox over one connection that is kept open."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.connection = HTTPConnection("127.0.0.1", box.port, timeout=10)

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = "") -> Answer:
        headers = {"Authorization": f"Bearer {token or self.box.token}"} if token is not None else {}
        text = None if body is None else body if isinstance(body, str) else json.dumps(body)
        self.connection.request(method, path, text, headers)
        response = self.connection.getresponse()
        return Answer(response.status, dict(response.headers), response.read().decode())

    def get(self, path: str) -> Answer:
        return self.ask("GET", f"/api/v4{path}")

    def post(self, path: str, body: Any) -> Answer:
        return self.ask("POST", f"/api/v4{path}", body)

    def patch(self, path: str, body: Any) -> Answer:
        return self.ask("PATCH", f"/api/v4{path}", body)

    def run(self, command: str, **arguments: Any) -> Any:
        answer = self.ask("POST", f"/_sandbox/{command}", arguments)
        assert answer.status == 200, answer.text
        return answer.json

    def add(self, kind: str, **fields: Any) -> int:
        answer = self.post(f"/{kind}", [fields])
        assert answer.status == 200, answer.text
        return int(answer.json["_embedded"][kind][0]["id"])


def rows(answer: Answer, plural: str) -> list[dict[str, Any]]:
    assert answer.status in (200, 201), answer
    return list(answer.json["_embedded"][plural])


def faults(answer: Answer) -> list[tuple[str, str]]:
    """Return request id and path of each fault."""
    assert answer.status == 400, answer
    return [(one["request_id"], fault["path"]) for one in answer.json["validation-errors"] for fault in one["errors"]]


def delete(client: Client, path: str, body: Any = None) -> int:
    return client.ask("DELETE", f"/api/v4{path}", body).status


def made(client: Client, path: str, plural: str, *items: Any) -> list[int]:
    return [row["id"] for row in rows(client.post(path, list(items)), plural)]
