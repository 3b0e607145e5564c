"""Let a step that may have ended a process run while no other handler runs in this one."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

#: Seconds between two looks at whether a wait is still wanted.
_LOOK_SECONDS: Final = 0.1
#: Seconds of claims, added up, that the others are not made up for: most steps take milliseconds.
_SHORT_SECONDS: Final = 0.1


class Claim:
    """The right of one step to have the process for itself, as soon as the others have come to their end."""

    def __init__(self, solitude: "Solitude") -> None:
        self._solitude = solitude
        self.thread = threading.get_ident()

    def alone_within(self, seconds: float, *, unless: Callable[[], bool]) -> bool:
        """Wait until nothing else runs here; False when that takes longer, or when `unless` says not to wait."""
        return self._solitude.empty_within(seconds, unless)

    def in_company(self) -> AbstractContextManager[None]:
        """Let the others in, and be one of them while the block lasts: nobody has the process alone in between."""
        return self._solitude.in_company(self)

    def end(self) -> None:
        """Let the others in again; more than once does no harm."""
        self._solitude.end(self)


class Solitude:
    """Who runs a handler in this process: many together, or one that is not to be in company.

    Between two claims the process is open for as long as it was claimed: a dozen steps that have to be alone, one after
    the other, would keep all others waiting for their sum.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._inside: set[int] = set()
        self._claim: Claim | None = None
        self._claimed_at = 0.0
        #: Seconds of claims for which the others have not been made up yet, and when the process may be claimed again.
        self._owed = 0.0
        self._next_at = float("-inf")

    def is_open(self, *, within: float = 0.0) -> bool:
        """Say whether steps are let in; waits so long for it."""
        with self._changed:
            return self._claim is None or self._changed.wait_for(lambda: self._claim is None, within)

    @contextmanager
    def together(self, *, within: float) -> Iterator[bool]:
        """Give True when a step may run in company, for as long as the block lasts; waits so long to be let in."""
        thread = threading.get_ident()
        with self._changed:
            admitted = self._claim is None or self._changed.wait_for(lambda: self._claim is None, within)
            if admitted:
                self._inside.add(thread)
        try:
            yield admitted
        finally:
            self._leave(thread)

    @contextmanager
    def claiming(self) -> Iterator[Claim | None]:
        """Keep others out from now on; None when another step has the process, or had it a moment ago."""
        claim = Claim(self)
        with self._changed:
            now = self._clock()
            free = self._claim is None and now >= self._next_at
            if free:
                self._claim, self._claimed_at = claim, now
        try:
            yield claim if free else None
        finally:
            claim.end()

    def forget(self, thread: int) -> None:
        """Take a thread whose step hangs for gone: it is nobody's company, and has the process no longer."""
        self._leave(thread)
        with self._changed:
            claim = self._claim
            if claim is not None and claim.thread == thread:
                self._open()

    def empty_within(self, seconds: float, unless: Callable[[], bool]) -> bool:
        """See Claim.alone_within."""
        ends = self._clock() + seconds
        with self._changed:
            while self._inside:
                left = ends - self._clock()
                if left <= 0 or unless():
                    return False
                self._changed.wait(min(left, _LOOK_SECONDS))
        return not unless()

    @contextmanager
    def in_company(self, claim: Claim) -> Iterator[None]:
        """See Claim.in_company."""
        with self._changed:
            self._inside.add(claim.thread)
            self.end(claim)
        try:
            yield
        finally:
            self._leave(claim.thread)

    def end(self, claim: Claim) -> None:
        """See Claim.end."""
        with self._changed:
            if self._claim is claim:
                self._open()

    def _open(self) -> None:
        now = self._clock()
        self._claim = None
        self._owed += now - self._claimed_at
        if self._owed >= _SHORT_SECONDS:
            self._next_at, self._owed = now + self._owed, 0.0
        self._changed.notify_all()

    def _leave(self, thread: int) -> None:
        with self._changed:
            self._inside.discard(thread)
            if self._claim is not None:
                self._changed.notify_all()
