"""Close connections on which bytes may still come: at once, the answer before them would be lost with them.

https://www.rfc-editor.org/rfc/rfc9112#section-9.6. gunicorn waits for the other side in the loop that accepts; here
they are read on beside everything else.
"""

import selectors
import socket
import time
from typing import Any, Final

from gunicorn.util import close as close_socket

#: Seconds for which a connection is read on.
LINGER_SECONDS: Final = 2.0
_RECEIVED: Final = 64 * 1024


class Lingering:
    """Connections that were answered and are read on, at most so many; then the oldest is closed."""

    def __init__(self, poller: Any, most: int) -> None:
        self._poller = poller
        self._most = most
        self._until: dict[socket.socket, float] = {}

    def add(self, sock: socket.socket) -> None:
        """Say that nothing more will be sent, and read what still comes for a while."""
        try:
            sock.shutdown(socket.SHUT_WR)
            sock.setblocking(False)
            self._poller.register(sock, selectors.EVENT_READ, self._on_readable)
        except (OSError, ValueError, KeyError):
            close_socket(sock)
            return
        if len(self._until) >= self._most:
            self._let_go(next(iter(self._until)))
        self._until[sock] = time.monotonic() + LINGER_SECONDS

    def expire(self) -> None:
        """Close those whose time is over."""
        now = time.monotonic()
        while self._until and self._until[oldest := next(iter(self._until))] <= now:
            self._let_go(oldest)

    def close_oldest(self) -> bool:
        """Close the oldest, if there is one: its place is needed."""
        if self._until:
            self._let_go(next(iter(self._until)))
            return True
        return False

    def _on_readable(self, sock: socket.socket) -> None:
        if sock not in self._until:  # closed by what was done before in the same round
            return
        try:
            if sock.recv(_RECEIVED):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._let_go(sock)

    def _let_go(self, sock: socket.socket) -> None:
        del self._until[sock]
        self._poller.unregister(sock)
        close_socket(sock)
