"""Handlers that take longer than their `timeout=`: their steps go on elsewhere, and a process full of them ends.

A thread cannot be ended from outside. An exception raised in it would arrive anywhere, also between a question to Redis
and its answer, and the next to ask would be given that answer; so it is never tried.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from kommo.errors import StoreUnavailable
from kommo.store.chains import Lease
from workers.solitude import Solitude

_log = structlog.get_logger(__name__)
#: Seconds that a handler may take to come back after its time is over, before it counts as hanging.
GRACE_SECONDS: Final = 5.0


@dataclass(eq=False)
class Underway:
    """A handler that runs now: since when, how long it may, and what to do when it takes longer."""

    lease: Lease
    handler: str
    seconds: float
    #: Told where the handler is, as a traceback without values.
    give_up: Callable[[str], None]
    thread: int = field(default_factory=threading.get_ident)
    began: float = field(default_factory=time.monotonic)
    given_up: bool = False
    #: How often that was tried while Redis was away.
    tries: int = 0
    hangs: bool = False


class Hanging:
    """The handlers under way in this process, looked at a few times a second."""

    def __init__(self, loops: int, solitude: Solitude) -> None:
        #: How many may hang before the process is of no use: half of its run loops.
        self.bearable = max(1, loops // 2)
        #: What to do then.
        self.end: Callable[[], None] = lambda: None
        self._solitude = solitude
        self._under_way: set[Underway] = set()
        self._lock = threading.Lock()
        self._ended = False

    @contextmanager
    def timing(self, step: Underway) -> Iterator[None]:
        """Watch a handler while the block runs."""
        with self._lock:
            self._under_way.add(step)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.discard(step)

    def look(self) -> None:
        """Give up the steps whose time is over, and end the process when too many handlers have not come back."""
        now = time.monotonic()
        with self._lock:
            late = [step for step in self._under_way if now >= step.began + step.seconds]
        self._give_up(sorted((step for step in late if not step.given_up), key=lambda step: step.tries))
        for step in late:
            if not step.hangs and now >= step.began + step.seconds + GRACE_SECONDS:
                self._note(step)
        hanging = sorted(step.handler for step in late if step.hangs)
        if len(hanging) >= self.bearable and not self._ended:
            self._ended = True
            _log.critical("too many handlers hang: this process ends", handlers=hanging)
            self.end()

    def _give_up(self, steps: Iterable[Underway]) -> None:
        for step in steps:
            try:
                step.give_up(_stack(step.thread))
            except StoreUnavailable as error:
                # Each further one may wait for the same Redis as long. The next look begins with those not tried yet:
                # of a Cluster, only a node may be away.
                step.tries += 1
                _log.warning("time is over, not noted yet", handler=step.handler, error=str(error))
                return
            except Exception:  # whatever it was, the others are to be given up; this one's lease ends by itself
                _log.exception("time is over, and it cannot be noted", handler=step.handler, chain=step.lease.chain)
            step.given_up = True

    def _note(self, step: Underway) -> None:
        step.hangs = True
        self._solitude.forget(step.thread)
        _log.error("handler hangs", handler=step.handler, chain=step.lease.chain, seconds=step.seconds)


def _stack(thread: int) -> str:
    frame = sys._current_frames().get(thread)  # the documented way to look at another thread
    return "".join(traceback.format_stack(frame)) if frame else ""
