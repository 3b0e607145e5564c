"""One delivery on the wire: a connection, a POST, an answer, within one deadline for all of it.

Written on sockets because the time limits of HTTP libraries hold for each read anew: a receiver that sends
a byte a second would never run into them.
"""

import re
import socket
import ssl
import time
from threading import Lock
from urllib.parse import SplitResult, urlsplit

from sandbox.ladder import NO_CONNECTION, TIMED_OUT

USER_AGENT = "amoCRM-WebHook-client/2.0"

#: Bytes of an answer that are read before the connection is closed.
ANSWER_LIMIT = 65_536

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9]\d\d)\b")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+) *\r\n", re.IGNORECASE)


class Wire:
    """Send deliveries one at a time; `abort` ends the one under way, from another thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._socket: socket.socket | None = None
        self._aborted = False

    def exchange(self, destination: str, body: bytes, *, content_type: str, timeout: float) -> int:
        """Return the status of the answer, or the number that stands for none; redirects are not followed.

        The name of the host is resolved outside the deadline, which the system does not offer.
        """
        deadline = time.monotonic() + timeout
        parts = urlsplit(destination)
        try:
            connected = self._connect(parts, deadline)
            with connected:
                connected.settimeout(_left(deadline))
                connected.sendall(_request(parts, body, content_type))
                return _status(_read_answer(connected, deadline))
        except TimeoutError:
            return TIMED_OUT
        except (OSError, ValueError):
            return NO_CONNECTION
        finally:
            with self._lock:
                self._socket = None

    def abort(self) -> None:
        """Cut the connection of the exchange under way and refuse further ones."""
        with self._lock:
            self._aborted = True
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return

    def _connect(self, parts: SplitResult, deadline: float) -> socket.socket:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        failure: OSError = OSError("no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM):
            opened = socket.socket(family, kind, protocol)
            try:
                self._adopt(opened)
                opened.settimeout(_left(deadline))
                opened.connect(address)
                return self._secured(opened, parts, deadline)
            except OSError as error:
                opened.close()
                failure = error
        raise failure

    def _adopt(self, opened: socket.socket) -> None:
        with self._lock:
            if self._aborted:
                raise OSError("aborted")
            self._socket = opened

    def _secured(self, opened: socket.socket, parts: SplitResult, deadline: float) -> socket.socket:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.scheme != "https":
            return opened
        opened.settimeout(_left(deadline))
        secured = ssl.create_default_context().wrap_socket(opened, server_hostname=parts.hostname)
        self._adopt(secured)
        return secured


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _request(parts: SplitResult, body: bytes, content_type: str) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + body


def _read_answer(connected: socket.socket, deadline: float) -> bytes:
    """Read until the answer is complete, the receiver closes, or it is longer than anybody cares."""
    answer = bytearray()
    while not _complete(answer) and len(answer) < ANSWER_LIMIT:
        connected.settimeout(_left(deadline))
        chunk = connected.recv(16_384)
        if not chunk:
            break
        answer += chunk
    return bytes(answer)


def _complete(answer: bytearray) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    status, length = _status(bytes(head)), _LENGTH.search(bytes(head) + b"\r\n")
    return 100 <= status < 200 or status in (204, 304) or (length is not None and len(body) >= int(length[1]))


def _status(answer: bytes) -> int:
    found = _STATUS_LINE.match(answer)
    return int(found[1]) if found else NO_CONNECTION
