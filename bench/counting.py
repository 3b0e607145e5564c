"""A stand-in for Kommo that only counts: how many requests arrived in any second, and how many entities they carried.

It is strict: an arrival that is the eighth within a second is answered 429, whatever comes of it. Run as a process of
its own, so that it takes no time from what is measured: `python -m bench.counting --port 7400 --latency-ms 50`.
"""

import argparse
import asyncio
import json
import random
import re
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final

#: Requests that may arrive in any second.
LIMIT: Final = 7
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class Counted:
    """What has arrived so far."""

    arrivals: deque[float] = field(default_factory=deque)
    peak: int = 0
    requests: int = 0
    refused: int = 0
    entities: int = 0
    first: float = 0.0
    last: float = 0.0
    #: Moment of the first arrival that names an account's marker entity, by its id.
    seen: dict[str, float] = field(default_factory=dict)
    by_path: Counter[str] = field(default_factory=Counter)

    def arrive(self, path: str, entities: list[Any]) -> bool:
        """Count an arrival; say whether it is within the limit."""
        now = time.monotonic()
        self.arrivals.append(now)
        while self.arrivals[0] <= now - 1.0:
            self.arrivals.popleft()
        self.peak = max(self.peak, len(self.arrivals))
        self.requests += 1
        self.first = self.first or now
        self.last = now
        self.by_path[path] += 1
        if len(self.arrivals) > LIMIT:
            self.refused += 1
            return False
        self.entities += len(entities)
        for entity in entities:
            self.seen.setdefault(str(entity.get("id") or entity.get("name")), time.time())
        return True

    def report(self) -> dict[str, Any]:
        names = ("peak", "requests", "refused", "entities")
        seconds = self.last - self.first
        return {**{name: getattr(self, name) for name in names}, "seconds": round(seconds, 3), "by_path": self.by_path}


class Server:
    """HTTP/1.1 with kept connections, as little as it takes."""

    def __init__(self, *, latency_ms: float, jitter_ms: float) -> None:
        self.counted = Counted()
        self._latency, self._jitter = latency_ms / 1000, jitter_ms / 1000

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it ends."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1])) if length else b""
                method, target, _ = head.split(b" ", 2)
                status, answer = await self._answer(method.decode(), target.decode(), body)
                data = json.dumps(answer).encode()
                writer.write(b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\n" % status)
                writer.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
        path = target.partition("?")[0]
        if path == "/count":
            return 200, self.counted.report()
        if path == "/seen":
            return 200, self.counted.seen
        # The way there: what is counted is the arrival.
        await asyncio.sleep(random.uniform(0, self._jitter))
        given = json.loads(body) if body else []
        entities = given if isinstance(given, list) else [{"id": int(path.rpartition("/")[2]), **given}]
        within = self.counted.arrive(path, entities if method != "GET" else [])
        await asyncio.sleep(self._latency)
        if not within:
            return 429, {"title": "Too Many Requests", "status": 429, "retry_after": 1}
        answers = [
            {"id": one.get("id", number), "request_id": one.get("request_id", "0"), "updated_at": 1}
            for number, one in enumerate(entities, 1)
        ]
        resource = path.removeprefix("/api/v4/").partition("/")[0]
        return 200, {"_embedded": {resource: answers}} if isinstance(given, list) else answers[0]


async def _run(port: int, server: Server) -> None:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", port)
    async with listening:
        await listening.serve_forever()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency-ms", type=float, default=50)
    parser.add_argument("--jitter-ms", type=float, default=0)
    given = parser.parse_args()
    asyncio.run(_run(given.port, Server(latency_ms=given.latency_ms, jitter_ms=given.jitter_ms)))


if __name__ == "__main__":
    main()
