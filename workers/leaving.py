"""End this process within ten seconds of being told to, whatever its threads do."""

import os
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

_log = structlog.get_logger(__name__)
#: Seconds after which what is still under way is handed back, and the process ends. Supervisors kill after ten.
PATIENCE_SECONDS: Final = 8.0
#: The same of a process that waits for children, which have their own 8 s.
PARENT_SECONDS: Final = 9.0
#: Seconds left to a process that is told not to wait (SIGQUIT), and to the parent of such.
AT_ONCE_SECONDS: Final = 0.5
PARENT_AT_ONCE_SECONDS: Final = 1.4
#: Seconds in which what is under way has to be handed back; a Redis that hangs would not let the process go.
FAREWELL_SECONDS: Final = 0.5


class Leaving:
    """Begins when asked, and ends the process when its time is over.

    `begin` may be called by a signal handler: it takes no lock. All else happens in the thread that calls `look`.
    """

    def __init__(
        self,
        *,
        seconds: float = PATIENCE_SECONDS,
        at_once_seconds: float = AT_ONCE_SECONDS,
        first: Callable[[], None],
        last: Callable[[], None],
        is_idle: Callable[[], bool] = lambda: False,
        end: Callable[[int], object] = os._exit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._at_once_seconds = at_once_seconds
        self._first = first
        self._last = last
        self._is_idle = is_idle
        self._end = end
        self._clock = clock
        self._ends: float | None = None
        self._began = False
        self.at_once = False
        self._idle_looks = 0
        #: The code with which the process ends; not 0 when it ends of itself, so that any supervisor starts another.
        self.code = 0

    def begin(self, *, code: int = 0, at_once: bool = False) -> None:
        """Ask the process to end; asked again, it ends no later than it would have."""
        ends = self._clock() + (self._at_once_seconds if at_once else self._seconds)
        if self._ends is None or ends < self._ends:
            self._ends = ends
        self.code = self.code or code
        if at_once and not self.at_once:
            # What was told at the beginning has to be told again.
            self.at_once, self._began = True, False

    def look(self) -> None:
        """Do what is due: stop taking work at the beginning; at the end hand back what is held, and go."""
        if self._ends is None:
            return
        if not self._began:
            self._began = True
            self._first()
        elif self._clock() >= self._ends:
            try:
                self._say_farewell()
            finally:
                self._end(self.code)
        elif self._idle_for_long():
            self._end(self.code)

    def _say_farewell(self) -> None:
        farewell = threading.Thread(target=self._hand_back, name="farewell", daemon=True)
        farewell.start()
        farewell.join(FAREWELL_SECONDS)
        if farewell.is_alive():
            _log.warning("left without a word", error="Redis did not answer in time")

    def _hand_back(self) -> None:
        try:
            self._last()
        except Exception:  # whatever it was, the leases end by themselves
            _log.exception("left without a word")

    def _idle_for_long(self) -> bool:
        """Say whether there was nothing to do at two looks in a row: what has just ended is still being told."""
        self._idle_looks = self._idle_looks + 1 if self._is_idle() else 0
        return self._idle_looks > 1
