"""The rate limit: so many requests in any sliding second, then 429, then a block.

Sources: https://developers.kommo.com/docs/limitations and its page of response codes. How the service
counts is not published; here every request that was let through counts for one second from its arrival,
refused ones do not, and an exact log of arrivals decides, so that no client can pass by luck.
"""

from collections import deque
from enum import Enum
from threading import Lock
from typing import NamedTuple


class Verdict(Enum):
    """What happens to a request on arrival."""

    ADMITTED = "admitted"
    LIMITED = "limited"
    BLOCKED = "blocked"


class Arrival(NamedTuple):
    """A judged request: the verdict and how many arrived in the second that it closes, itself included."""

    verdict: Verdict
    in_second: int


class Gate:
    """Judge arrivals; times are seconds of one monotonic clock."""

    def __init__(self, *, rate: int, block_after: int, block_window: float, block_seconds: float) -> None:
        self._rate = rate
        self._block_after = block_after
        self._block_window = block_window
        self._block_seconds = block_seconds
        self._lock = Lock()
        self._arrivals: deque[float] = deque()
        self._admitted: deque[float] = deque()
        self._violations: deque[float] = deque()
        self._blocked_until = float("-inf")
        self._peak = 0

    @property
    def peak(self) -> int:
        """The most requests that arrived within any sliding second, refused ones included."""
        return self._peak

    def arrive(self, now: float) -> Arrival:
        """Record a request and decide about it."""
        with self._lock:
            self._arrivals.append(now)
            _forget(self._arrivals, now - 1.0)
            self._peak = max(self._peak, len(self._arrivals))
            return Arrival(self._judge(now), len(self._arrivals))

    def configure(
        self, *, rate: int | None = None, block_after: int | None = None, block_seconds: float | None = None
    ) -> None:
        """Change what is given, from now on."""
        with self._lock:
            self._rate = self._rate if rate is None else rate
            self._block_after = self._block_after if block_after is None else block_after
            self._block_seconds = self._block_seconds if block_seconds is None else block_seconds

    def figures(self) -> dict[str, float]:
        """Return the rate and when and how long it blocks."""
        return {"rate": self._rate, "block_after": self._block_after, "block_seconds": self._block_seconds}

    def block(self, until: float) -> None:
        """Block everything until that time; a time that is over ends a block."""
        with self._lock:
            self._blocked_until = until
            self._violations.clear()

    def _judge(self, now: float) -> Verdict:
        if now < self._blocked_until:
            return Verdict.BLOCKED
        _forget(self._admitted, now - 1.0)
        if len(self._admitted) < self._rate:
            self._admitted.append(now)
            return Verdict.ADMITTED
        self._violate(now)
        return Verdict.LIMITED

    def _violate(self, now: float) -> None:
        self._violations.append(now)
        _forget(self._violations, now - self._block_window)
        if len(self._violations) >= self._block_after:
            self._blocked_until = now + self._block_seconds
            self._violations.clear()


def _forget(times: deque[float], until: float) -> None:
    while times and times[0] <= until:
        times.popleft()
