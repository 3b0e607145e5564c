"""Sockets under one deadline for the whole call, as a network backend for httpcore.

A read timeout starts anew with every byte, so a server that drips may hold a caller for hours. Here each step of a
call (resolve, connect, handshake, write, read) gets what is left of the call's time, and no more.
"""

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Final

import httpcore

#: Seconds for one address of a host, so that a dead one leaves time for the next.
CONNECT_SECONDS: Final = 10.0

_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


class Call:
    """The call that this thread makes now: its deadline, and whether the server may have seen any of it."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self.sent = False

    def left(self) -> float:
        """Seconds left; raises TimeoutError when there are none."""
        seconds = self._ends - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the time of the call is used up")
        return seconds


_CALL: ContextVar[Call] = ContextVar("kommo_api_call")


@contextlib.contextmanager
def call_within(seconds: float) -> Iterator[Call]:
    """Put everything that this thread does on the network inside under one deadline."""
    call = Call(seconds)
    token = _CALL.set(call)
    try:
        yield call
    finally:
        _CALL.reset(token)


class DeadlineStream(httpcore.NetworkStream):
    """A connected socket, plain or TLS; a step past the deadline is a timeout."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _translated(httpcore.ReadTimeout, httpcore.ReadError):
            self._socket.settimeout(_time_for_step(timeout))
            return self._socket.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        rest = memoryview(buffer)
        with _translated(httpcore.WriteTimeout, httpcore.WriteError):
            while rest:
                self._socket.settimeout(_time_for_step(timeout))
                _CALL.get().sent = True
                rest = rest[self._socket.send(rest) :]

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Shake hands; CPython keeps the socket's timeout as a total for the whole handshake."""
        try:
            with _translated(httpcore.ConnectTimeout, httpcore.ConnectError):
                self._socket.settimeout(_time_for_step(timeout))
                return DeadlineStream(ssl_context.wrap_socket(self._socket, server_hostname=server_hostname))
        except BaseException:
            self.close()
            raise

    def get_extra_info(self, info: str) -> Any:
        """Answer what httpcore asks of an idle connection: one that is readable was closed by the server."""
        return is_readable(self._socket) if info == "is_readable" else None


class DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections for httpcore within the deadline of the call."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - the signature is httpcore's
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002 - the same
    ) -> httpcore.NetworkStream:
        with _translated(httpcore.ConnectTimeout, httpcore.ConnectError):
            addresses = resolve(host, port, _time_for_step(timeout))
            return DeadlineStream(_connect_first(addresses, timeout))

    def sleep(self, seconds: float) -> None:
        """httpcore sleeps between its own retries, which are off."""
        time.sleep(min(seconds, _CALL.get().left()))


def resolve(host: str, port: int, seconds: float) -> list[_Address]:
    """Look a host up, for so long at most: the system's resolver knows no timeout, so it works in a thread.

    Raises TimeoutError or OSError.
    """
    with contextlib.suppress(socket.gaierror):
        return _look_up(host, port, socket.AI_NUMERICHOST)
    outcome: list[list[_Address] | OSError] = []

    def ask() -> None:
        try:
            outcome.append(_look_up(host, port, 0))
        except OSError as error:
            outcome.append(error)

    asking = threading.Thread(target=ask, name="resolve", daemon=True)
    asking.start()
    asking.join(seconds)
    if not outcome:
        raise TimeoutError(f"the address of {host} was not found in time")
    if isinstance(outcome[0], OSError):
        raise outcome[0]
    return outcome[0]


def _look_up(host: str, port: int, flags: int) -> list[_Address]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))


def _connect_first(addresses: list[_Address], timeout: float | None) -> socket.socket:
    failure: OSError = OSError("the host has no address")
    for family, kind, protocol, _, address in addresses:
        candidate = socket.socket(family, kind, protocol)
        try:
            candidate.settimeout(min(_time_for_step(timeout), CONNECT_SECONDS))
            candidate.connect(address)
            candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            candidate.close()
            failure = error
        except BaseException:
            candidate.close()
            raise
        else:
            return candidate
    raise failure


def is_readable(connected: socket.socket) -> bool:
    """Say whether something waits to be read, the end of the stream included; a closed socket counts as that."""
    if connected.fileno() < 0:
        return True
    # poll, because select fails for descriptors above 1023.
    poll = select.poll()
    poll.register(connected, select.POLLIN)
    return bool(poll.poll(0))


def _time_for_step(timeout: float | None) -> float:
    left = _CALL.get().left()
    return left if timeout is None else min(timeout, left)


@contextlib.contextmanager
def _translated(on_timeout: type[Exception], on_failure: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise on_timeout(str(error)) from error
    except OSError as error:
        raise on_failure(str(error)) from error
