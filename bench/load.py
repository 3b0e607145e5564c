"""A load generator: POSTs with a connection each, as Kommo sends them, from one thread and without a library.

`python -m bench.load --port 8000 --path /hook --number 5000` keeps 16 requests open at a time; with `--rate 1000` it
begins so many a second, whatever becomes of them, and times each from the moment at which it was due. Prints JSON.
"""

import argparse
import json
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

#: A delivery of about the size that Kommo's have: 2 kB, with one event. `{n}` makes each another lead's.
BODY: Final = (
    "leads%5Bupdate%5D%5B0%5D%5Bid%5D={n}&leads%5Bupdate%5D%5B0%5D%5Bname%5D=Lead+number+{n}"
    "&leads%5Bupdate%5D%5B0%5D%5Bstatus_id%5D=142&leads%5Bupdate%5D%5B0%5D%5Bprice%5D=4200&leads%5Bupdate%5D%5B0%5D%5Bresponsible_user_id%5D=504141"
    "&leads%5Bupdate%5D%5B0%5D%5Blast_modified%5D=1790000000&leads%5Bupdate%5D%5B0%5D%5Bmodified_user_id%5D=504141"
    "&leads%5Bupdate%5D%5B0%5D%5Bcreated_user_id%5D=504141&leads%5Bupdate%5D%5B0%5D%5Bdate_create%5D=1789000000"
    "&leads%5Bupdate%5D%5B0%5D%5Bpipeline_id%5D=321&leads%5Bupdate%5D%5B0%5D%5Baccount_id%5D=31000001"
    "&leads%5Bupdate%5D%5B0%5D%5Bcreated_at%5D=1789000000&leads%5Bupdate%5D%5B0%5D%5Bupdated_at%5D=1790000000"
    + "".join(
        f"&leads%5Bupdate%5D%5B0%5D%5Bcustom_fields%5D%5B{place}%5D%5Bid%5D={900 + place}"
        f"&leads%5Bupdate%5D%5B0%5D%5Bcustom_fields%5D%5B{place}%5D%5Bname%5D=Field+{place}"
        f"&leads%5Bupdate%5D%5B0%5D%5Bcustom_fields%5D%5B{place}%5D%5Bvalues%5D%5B0%5D%5Bvalue%5D=Value+of+{place}"
        for place in range(5)
    )
    + "&account%5Bsubdomain%5D=bench&account%5Bid%5D=31000001"
    "&account%5B_links%5D%5Bself%5D=https%3A%2F%2Fbench.kommo.com"
)
#: Seconds after which a request that was not answered counts as bad.
_PATIENCE: Final = 20.0


def body(number: int) -> bytes:
    """Make the delivery with this number."""
    return BODY.replace("{n}", str(number)).encode()


@dataclass
class Outcome:
    """What a run came to. Times are in seconds."""

    times: list[float] = field(default_factory=list)
    bad: int = 0
    seconds: float = 0.0

    def to_json(self) -> str:
        times = sorted(self.times)
        return json.dumps(
            {
                "answered": len(times),
                "bad": self.bad,
                "per_second": len(times) / self.seconds,
                "p50_ms": _at(times, 0.5) * 1000,
                "p99_ms": _at(times, 0.99) * 1000,
                "longest_ms": (times[-1] if times else 0) * 1000,
            }
        )


class _Request:
    """One connection: connect, send, read to the end."""

    __slots__ = ("answer", "due", "socket", "to_send")

    def __init__(self, address: tuple[str, int], data: bytes, due: float) -> None:
        self.due = due
        self.to_send = data
        self.answer = b""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(address)


class Load:
    """Sends requests and notes how long each took."""

    def __init__(self, address: tuple[str, int], requests: Iterator[bytes], number: int) -> None:
        self._address, self._requests, self._left = address, requests, number
        self._selector = selectors.DefaultSelector()
        self._open = 0
        self.outcome = Outcome()

    def closed(self, at_once: int) -> Outcome:
        """Keep so many requests open at a time."""
        began = time.perf_counter()
        while self._left or self._open:
            while self._left and self._open < at_once:
                self._begin(time.perf_counter())
            self._look(_PATIENCE)
        self.outcome.seconds = time.perf_counter() - began
        return self.outcome

    def paced(self, rate: float) -> Outcome:
        """Begin so many a second."""
        began = time.perf_counter()
        begun = 0
        while self._left or self._open:
            now = time.perf_counter()
            while self._left and began + begun / rate <= now:
                self._begin(began + begun / rate)
                begun += 1
            wait = began + begun / rate - time.perf_counter() if self._left else _PATIENCE
            self._look(max(0.0, wait))
        self.outcome.seconds = time.perf_counter() - began
        return self.outcome

    def _begin(self, due: float) -> None:
        self._left -= 1
        self._open += 1
        request = _Request(self._address, next(self._requests), due)
        self._selector.register(request.socket, selectors.EVENT_WRITE, request)

    def _look(self, timeout: float) -> None:
        for key, events in self._selector.select(timeout):
            request: _Request = key.data
            try:
                if events & selectors.EVENT_WRITE:
                    self._send(request)
                else:
                    self._read(request)
            except OSError:
                self._end(request)

    def _send(self, request: _Request) -> None:
        sent = request.socket.send(request.to_send)
        request.to_send = request.to_send[sent:]
        if not request.to_send:
            self._selector.modify(request.socket, selectors.EVENT_READ, request)

    def _read(self, request: _Request) -> None:
        data = request.socket.recv(65536)
        request.answer += data
        if not data or b"\r\n\r\n" in request.answer:
            self._end(request)

    def _end(self, request: _Request) -> None:
        self._selector.unregister(request.socket)
        request.socket.close()
        self._open -= 1
        if request.answer.startswith(b"HTTP/1.1 2"):
            self.outcome.times.append(time.perf_counter() - request.due)
        else:
            self.outcome.bad += 1


def requests(path: str, first: int) -> Iterator[bytes]:
    """Make requests without end, each with another delivery."""
    number = first
    while True:
        content = body(number)
        head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nUser-Agent: amoCRM-WebHook-client/2.0\r\nAccept: */*\r\n"
        head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(content)}\r\n"
        yield f"{head}Connection: close\r\n\r\n".encode() + content
        number += 1


def _at(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))] if times else 0.0


def main(arguments: list[str]) -> Any:
    """Run once, print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--rate", type=float)
    given = parser.parse_args(arguments)
    load = Load(("127.0.0.1", given.port), requests(given.path, given.first), given.number)
    print((load.paced(given.rate) if given.rate else load.closed(given.at_once)).to_json())


if __name__ == "__main__":
    main(sys.argv[1:])
