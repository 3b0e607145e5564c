"""The threads that look after their process: that it ends in time, is no orphan, and its handlers do not hang."""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

_log = structlog.get_logger(__name__)
_EVERY_SECONDS: Final = 0.1
#: Seconds after which a process ends in which no thread of Python could run: something holds the interpreter's lock.
#: Its leases are over long since. What every thread was doing is written to standard error.
STUCK_SECONDS: Final = 30.0
_REARM_SECONDS: Final = 5.0


class Guard:
    """Calls its duties ten times a second, one after the other, until the process ends.

    What has to come in time is not to share one with what may wait for Redis.
    """

    def __init__(self, *duties: Callable[[], None], name: str = "guard") -> None:
        self._duties: Sequence[Callable[[], None]] = duties
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Look no more; only where the process goes on without it."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_EVERY_SECONDS):
            for duty in self._duties:
                try:
                    duty()
                except Exception:  # whatever it was, the next look must come
                    _log.exception("guard failed")


class Deadman:
    """Ends the process when it is not called for half a minute; it needs no interpreter for that.

    Not for a process that forks: the child would wait for a timer that only its parent has.
    """

    def __init__(self) -> None:
        self._armed = float("-inf")
        self._file = sys.__stderr__.fileno() if sys.__stderr__ else 2

    def look(self) -> None:
        """Put the end off."""
        now = time.monotonic()
        if now - self._armed >= _REARM_SECONDS:
            self._armed = now
            faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True, file=self._file)


class Orphan:
    """Ends a child whose parent is gone; the kernel does it on Linux only."""

    def __init__(self, end: Callable[[int], object] = os._exit) -> None:
        self._parent = os.getppid()
        self._end = end

    def look(self) -> None:
        """End when the parent has changed."""
        if os.getppid() != self._parent:
            self._end(1)
