"""A Redis whose answers come one by one, each after a while: between a client and a real one stands a slow wire."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

#: Where the answer of a script that returns two numbers begins.
_ANSWERS: Final = re.compile(rb"(?=\*2\r\n)")
_RECEIVED: Final = 1024 * 1024
_Pump = Callable[[socket.socket, socket.socket], None]


class Wire:
    """Passes on all that is said; while `seconds` is set, each answer waits for that long."""

    def __init__(self, redis_url: str) -> None:
        self.seconds = 0.0
        self._path = urlsplit(redis_url).path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._path)
            for pump, here, there in ((self._ask, client, server), (self._answer, server, client)):
                threading.Thread(target=_until_closed, args=(pump, here, there), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        while data := client.recv(_RECEIVED):
            server.sendall(data)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        while data := server.recv(_RECEIVED):
            for answer in filter(None, _ANSWERS.split(data)):
                self._ended.wait(self.seconds)
                client.sendall(answer)


def _until_closed(pump: _Pump, here: socket.socket, there: socket.socket) -> None:
    try:
        pump(here, there)
    except OSError:
        pass
    finally:
        here.close()
        there.close()


@contextmanager
def trickling(redis_url: str) -> Iterator[Wire]:
    """Stand between a private Redis and who connects to the wire's URL."""
    wire = Wire(redis_url)
    try:
        yield wire
    finally:
        wire.close()
