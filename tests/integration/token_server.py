"""A token endpoint that rotates strictly: a refresh token is good once, and its answers can be delayed or lost."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, object]


class TokenServer(ThreadingHTTPServer):
    """Knows one account; `first` is what it has at the beginning."""

    daemon_threads = True
    #: What 8 processes at once need.
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.number = 1
        self.delay = 0.0
        #: What the next calls of the token endpoint get instead of a pair; None closes without an answer.
        self.instead: list[Answer | None] = []
        self.before_answer: Callable[[], None] = lambda: None
        self.asked: list[dict[str, Any]] = []
        self.questions: list[str] = []
        self.name: object = {"id": 7, "subdomain": "acme", "domain": "acme.kommo.com", "top_level_domain": "com"}
        #: What `GET /api/v4/account` says.
        self.account: object = {"id": 7}
        self.lock = threading.Lock()
        self.accepted: set[str] = {"access-1"}
        self.webhooks: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def spent(self) -> list[str]:
        """The refresh tokens that came, in order."""
        return [one["refresh_token"] for one in self.asked]

    def give(self, asked: dict[str, Any]) -> Answer | None:
        with self.lock:
            self.asked.append(asked)
            instead = self.instead.pop(0) if self.instead else ()
        time.sleep(self.delay)
        if instead != ():
            return instead  # type: ignore[return-value]  # an Answer or None
        with self.lock:
            if asked.get("refresh_token") != f"refresh-{self.number}":
                return 401, {"hint": "Token has been revoked", "title": "x", "status": 401}
            self.number += 1
            pair = {"access_token": f"access-{self.number}", "refresh_token": f"refresh-{self.number}"}
            self.accepted = {pair["access_token"]}
        self.before_answer()
        return 200, {"token_type": "Bearer", "expires_in": 86_400, **pair}


class _Handler(BaseHTTPRequestHandler):
    server: TokenServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/v4/webhooks":
            self._webhook("register", asked, (200, {"id": 5, **asked}))
        else:
            self._answer(self.server.give(asked))

    def do_DELETE(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._webhook("remove", asked, (204, None))

    def do_GET(self) -> None:
        if self.path.startswith("/api/v4/account"):
            self._answer(
                (200, self.server.account) if self._is_known() else (401, {"title": "Unauthorized", "status": 401})
            )
            return
        self.server.questions.append(self.headers["X-Refresh-Token"])
        self._answer((200, self.server.name))

    def _webhook(self, verb: str, asked: dict[str, str], answer: Answer) -> None:
        if not self._is_known():
            self._answer((401, {"title": "Unauthorized", "status": 401}))
            return
        self.server.webhooks.append((verb, asked["destination"]))
        self._answer(answer)

    def _is_known(self) -> bool:
        return self.headers["Authorization"].removeprefix("Bearer ") in self.server.accepted

    def _answer(self, answer: Answer | None) -> None:
        if answer is None:
            self.close_connection = True
            return
        status, body = answer
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        self.send_response_only(status)
        if status < 400 and status >= 300:
            self.send_header("Location", "https://elsewhere.kommo.com/")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Stay silent."""


@contextmanager
def serving() -> Iterator[TokenServer]:
    with TokenServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
