"""gunicorn's threads worker, made fit to stand in the open, and for many small requests at once.

The original gives each connection a thread that waits for its bytes, and closes connections on the thread that accepts
them, waiting up to 2 s for the other side. A few clients that never finish, or never hang up, then keep everybody else
waiting. Here the bytes are gathered and the connections closed by the loop that accepts them, which never waits.

Deliveries whose address brings a proof are served by that loop itself, side by side, and stored together, some in one
round trip, by a thread beside (see batches.py). All other requests take a thread, when all of them is there.
"""

import errno
import resource
import selectors
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final

from gunicorn.util import close as close_socket
from gunicorn.workers.gthread import TConn, ThreadWorker

from receiver.batches import Batches
from receiver.framing import Arriving, Progress
from receiver.lingering import Lingering

#: Seconds in which a whole request has to arrive. Kommo itself waits 2 s for the answer.
REQUEST_SECONDS: Final = 10.0
#: The same while the worker stops.
_STOP_SECONDS: Final = 2.0
#: Bytes that unfinished requests may have in memory; then the oldest of them has to go.
HELD_BYTES: Final = 64 * 1024 * 1024
#: Connections that are accepted before others are looked after.
_ACCEPT_AT_ONCE: Final = 4
_RECEIVED: Final = 64 * 1024
#: Bytes that a client may send ahead on a kept connection.
_AHEAD_BYTES: Final = 256 * 1024
#: Threads that store what deliveries bring: two pieces at a time for Redis, two for the spool, some for proofs.
_BESIDE: Final = 6
#: Seconds that a client has for taking an answer of some hundred bytes, which fits into what the kernel keeps for it.
_WRITE_WAIT: Final = 0.02
_READ_WAIT: Final = 0.02
#: File descriptors that are left for other things than connections.
_OTHER_FILES: Final = 64
_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_BROKEN: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_HEAD_TOO_LONG: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)


class _Ended:
    """How a request has ended, as gunicorn asks a thread's future for it."""

    def __init__(self, outcome: bool | BaseException) -> None:
        self._outcome = outcome

    def cancelled(self) -> bool:
        return False

    def result(self) -> bool:
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection, and the request that arrives on it."""

    parser: Any

    def __init__(self, worker: "BufferingWorker", sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(worker.cfg, sock, client, server)
        # Not asked for by the thread any more: it gets the connection with all that it is to read.
        self.data_ready = True
        self.arriving = Arriving()
        self.deadline = 0.0
        self.is_whole = False
        self.rest = b""
        self._worker = worker

    def begin(self) -> None:
        """Expect a request; the one before may have been followed by some of it."""
        # With a parser of its own: the former would read on in a body that nobody has asked for.
        self.parser, self.initialized = None, False
        self.arriving = Arriving()
        self.deadline = 0.0
        self.is_whole = False

    def pull(self) -> Progress | None:
        """Read what is there; None when the other side has hung up."""
        try:
            data = self.rest or self.sock.recv(_RECEIVED)
        except BlockingIOError:
            return Progress.MORE
        except OSError:
            return None
        self.rest = b""
        if not data:
            return None
        progress = self.arriving.feed(data)
        self.is_whole = progress is Progress.WHOLE
        self.rest = self.arriving.rest
        return progress

    def init(self) -> None:
        """Give the parser what has arrived, the request and nothing else; called by who handles it."""
        super().init()
        self.parser.unreader.unread(bytes(self.arriving.data))
        self.arriving.data.clear()

    def close(self, graceful: bool = False) -> None:
        """Close at once, unless bytes may still come: the answer would be lost with them."""
        if graceful and not self.is_whole:
            self._worker.lingering.add(self.sock)
        else:
            close_socket(self.sock)


class BufferingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """The worker class of deploy/gunicorn.conf.py."""

    worker_connections: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Connections whose request has not come wholly, the oldest first.
        self.unfinished: dict[Connection, None] = {}
        self._held = 0
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most_lingering = max(1, min(500, files // 8))
        room = max(1, files - self._most_lingering - _OTHER_FILES)
        self.worker_connections = min(self.worker_connections, room)

    def init_process(self) -> None:
        """Make what the batches need; threads have to begin in this process."""
        beside = ThreadPoolExecutor(_BESIDE, thread_name_prefix="beside")
        self.batches = Batches(beside.submit, self.method_queue.defer)
        super().init_process()

    def run(self) -> None:
        """Serve until told to stop."""
        self.lingering = Lingering(self.poller, self._most_lingering)
        super().run()

    def accept(self, listener: socket.socket) -> None:
        """Accept some connections, and look at once whether their requests are there."""
        if self.cfg.is_ssl:
            super().accept(listener)
            return
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                sock, client = listener.accept()
            except OSError as error:
                if error.errno in _NO_FILES:
                    self._make_room()
                return
            self.nr_conns += 1
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(_WRITE_WAIT))
            self.enqueue_req(Connection(self, sock, client, listener.getsockname()))
            if self.nr_conns >= self.worker_connections:
                self._make_room()

    def _make_room(self) -> None:
        """Let go of who has waited longest, before nobody else is let in."""
        if self.unfinished:
            self._end(next(iter(self.unfinished)), _TOO_SLOW)
        elif self.keepalived_conns:
            conn = self.keepalived_conns.popleft()
            self.poller.unregister(conn.sock)
            self.nr_conns -= 1
            conn.close()
        else:
            self.lingering.close_oldest()

    def enqueue_req(self, conn: Any) -> None:
        """Hand a connection to a thread once its next request is there."""
        if not isinstance(conn, Connection):
            super().enqueue_req(conn)
            return
        conn.begin()
        conn.sock.setblocking(False)
        progress = conn.pull()
        if progress is Progress.MORE:
            conn.deadline = time.monotonic() + REQUEST_SECONDS
            self.unfinished[conn] = None
            self._held += len(conn.arriving.data)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_more, conn))
            self._encourage(conn)
        else:
            self._go_on(conn, progress)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Go on with what the client has sent ahead, if its connection is kept."""
        if isinstance(conn, Connection):
            if conn.parser is not None:
                # A body that nobody has read is not looked at again.
                conn.parser.unreader.take_buffered()
            with suppress(Exception):  # said to the log by gunicorn below
                if conn.rest and fs.result():
                    # In another round: one by one they would lie on the stack.
                    self.method_queue.defer(self.enqueue_req, conn)
                    return
        super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """End what has waited too long; gunicorn calls it in each round of its loop."""
        super().murder_pending()
        now = time.monotonic()
        patience = 0.0 if self.alive else REQUEST_SECONDS - _STOP_SECONDS
        while self.unfinished and (oldest := next(iter(self.unfinished))).deadline - patience <= now:
            self._end(oldest, _TOO_SLOW if oldest.arriving.data else b"")
        self.lingering.expire()

    def _on_more(self, conn: Connection, _: Any) -> None:
        if conn not in self.unfinished:  # ended by what was done before in the same round
            return
        before = len(conn.arriving.data)
        progress = conn.pull()
        if progress is not Progress.MORE:
            self._forget(conn, before)
            self._go_on(conn, progress)
            return
        self._held += len(conn.arriving.data) - before
        self._encourage(conn)
        while self._held > HELD_BYTES and self.unfinished:
            self._end(next(iter(self.unfinished)), _TOO_SLOW)

    def _go_on(self, conn: Connection, progress: Progress | None) -> None:
        """Do with a connection what is to be done once nothing more is waited for."""
        if progress is None:
            # Who has said only a part may still listen.
            self._refuse(conn, _BROKEN if conn.arriving.data else b"")
        elif progress is Progress.UNKNOWN_FRAMING or len(conn.rest) > _AHEAD_BYTES:
            self._refuse(conn, _BROKEN)
        elif progress is Progress.HEAD_TOO_LONG:
            self._refuse(conn, _HEAD_TOO_LONG)
        elif conn.is_whole and conn.arriving.brings_proof:
            self.batches.run(partial(self.handle, conn), partial(self._served, conn))
        else:
            if not conn.is_whole:
                # Its head is enough to refuse it: nobody is to wait for more.
                conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(_READ_WAIT))
            super().enqueue_req(conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Look what has come, and send on its way what the deliveries among it have to wait for."""
        super().wait_for_and_dispatch_events(timeout)
        self.batches.flush()

    def _served(self, conn: Connection, outcome: bool | BaseException) -> None:
        self.finish_request(conn, _Ended(outcome))

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """A request that was refused unread ends its connection; of others, all is here and nothing has to be read."""
        if isinstance(conn, Connection):
            return keepalive and conn.is_whole
        return bool(super()._keepalive_after(conn, keepalive))

    def _encourage(self, conn: Connection) -> None:
        if conn.arriving.expects_continue:
            conn.arriving.expects_continue = False
            _send(conn.sock, _CONTINUE)

    def _end(self, conn: Connection, answer: bytes) -> None:
        self._forget(conn, len(conn.arriving.data))
        self._refuse(conn, answer)

    def _refuse(self, conn: Connection, answer: bytes) -> None:
        _send(conn.sock, answer)
        self.nr_conns -= 1
        conn.is_whole = False
        conn.close(graceful=bool(answer))

    def _forget(self, conn: Connection, held: int) -> None:
        self.poller.unregister(conn.sock)
        del self.unfinished[conn]
        self._held -= held


def _send(sock: socket.socket, data: bytes) -> None:
    """Send a few bytes without waiting; who cannot take them does not get them."""
    try:
        if data:
            sock.send(data)
    except OSError:
        pass


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
