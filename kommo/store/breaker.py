"""Remember that Redis was away, so that one request waits for it in vain and no other does."""

import threading
import time
from collections.abc import Callable

import structlog

_log = structlog.get_logger(__name__)


class Breaker:
    """Open from the moment when Redis was found away until somebody has found it back; safe for threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None

    @property
    def is_open(self) -> bool:
        return self._since is not None

    def trip(self, reason: str) -> None:
        """Note that Redis is away, and log it if that is new."""
        with self._lock:
            if self._since is not None:
                return
            self._since = self._clock()
        _log.warning("Redis is away: nobody waits for it until it is back", reason=reason)

    def close(self) -> None:
        """Note that Redis is back, and log for how long it was away."""
        with self._lock:
            since, self._since = self._since, None
        if since is not None:
            _log.info("Redis is back", seconds=round(self._clock() - since, 1))
