"""HTTP for a WSGI application in threads of this process, with connections that stay open.

Werkzeug's own server closes each connection after its answer; API clients keep theirs.
"""

import io
import select
import socket
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

#: Longest body that is read; the largest batch that makes sense is far below.
BODY_LIMIT = 8 * 1024 * 1024

#: Where an application finds the `Ending` of its request in the environ.
ENDING = "sandbox.ending"
#: Bytes by which a cut answer is shorter than it says.
MISSING = 64


class Fate(Enum):
    """What becomes of an answer on its way out."""

    SENT = "sent"
    CUT = "cut"
    TRUNCATED = "truncated"
    HANGING = "hanging"


class Ending:
    """Let the application say what is to become of its answer."""

    def __init__(self) -> None:
        self.fate = Fate.SENT


class Handler(BaseHTTPRequestHandler):
    """Turn each request of a connection into a call of the application."""

    protocol_version = "HTTP/1.1"
    # Head and body of an answer leave in one packet without waiting for the client's acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1
    server: "Server"

    def _answer(self) -> None:
        body = self._body()
        if body is None:
            return
        started: list[tuple[str, list[tuple[str, str]]]] = []
        ending = Ending()
        content = self.server.app(
            self._environ(body, ending), lambda status, headers, _=None: started.append((status, headers))
        )
        try:
            payload = b"".join(content)
        finally:
            close = getattr(content, "close", None)
            if close is not None:
                close()
        self._end(*started[-1], payload, ending.fate)

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = do_OPTIONS = _answer  # noqa: N815 - http.server's names

    def _end(self, status: str, headers: list[tuple[str, str]], payload: bytes, fate: Fate) -> None:
        self.close_connection = self.close_connection or fate is not Fate.SENT
        if fate is Fate.HANGING:
            _wait_for_end(self.connection)
        elif fate is not Fate.CUT and (payload or fate is Fate.SENT):
            # Of an empty answer nothing can be missing: it does not come at all.
            self._send(status, headers, payload, missing=MISSING if fate is Fate.TRUNCATED else 0)

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit():
            self._refuse(411)
            return None
        if int(length) > BODY_LIMIT:
            self._refuse(413)
            return None
        body = self.rfile.read(int(length))
        self.close_connection = self.close_connection or len(body) < int(length)
        return body if len(body) == int(length) else None

    def _refuse(self, status: int) -> None:
        self.close_connection = True
        self.send_error(status)

    def _environ(self, body: bytes, ending: Ending) -> Environ:
        parts = urlsplit(self.path)
        host, port = self.server.server_address[:2]
        headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in self.headers.items()}
        return {
            **headers,
            ENDING: ending,
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(parts.path).decode("latin-1"),
            "QUERY_STRING": parts.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": self.client_address[0],
            "SERVER_NAME": str(host),
            "SERVER_PORT": str(port),
            "SERVER_PROTOCOL": self.request_version,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }

    def _send(self, status: str, headers: list[tuple[str, str]], payload: bytes, *, missing: int) -> None:
        code, _, reason = status.partition(" ")
        self.send_response_only(int(code), reason)
        self.send_header("Date", self.date_time_string())
        for name, value in headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        if int(code) not in (204, 304):
            self.send_header("Content-Length", str(len(payload) + missing))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Stay silent: the journal keeps what came in."""


class Server(ThreadingHTTPServer):
    """Serve one application; `start` and `stop` may be called from any thread."""

    #: Connections that may wait to be accepted.
    request_queue_size = 512
    daemon_threads = False

    def __init__(self, host: str, port: int, app: App) -> None:
        self.app = app
        self._open: set[socket.socket] = set()
        self._open_lock = Lock()
        super().__init__((host, port), Handler)
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, name="sandbox-server")

    @property
    def port(self) -> int:
        """The port that was taken."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Serve in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, cut the connections that are kept open, and wait for their threads."""
        self.shutdown()
        self._thread.join()
        with self._open_lock:
            for connection in self._open:
                _cut(connection)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand a connection to its thread, keeping it in reach for `stop`."""
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over clients that went away; report anything else as usual."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _wait_for_end(connection: socket.socket) -> None:
    """Wait until the client goes away, or the server stops, which cuts the connection."""
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    waiting.poll()


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
