"""Let a step that may have ended a process run while no other handler runs in this one."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

#: Seconds between two looks at whether a wait is still wanted.
_LOOK_SECONDS: Final = 0.1


class Claim:
    """The right of one step to have the process for itself, as soon as the others have come to their end."""

    def __init__(self, solitude: "Solitude") -> None:
        self._solitude = solitude

    def alone_within(self, seconds: float, *, unless: Callable[[], bool]) -> bool:
        """Wait until nothing else runs here; False when that takes longer, or when `unless` says not to wait."""
        return self._solitude.empty_within(seconds, unless)

    def end(self) -> None:
        """Let the others in again; more than once does no harm."""
        self._solitude.end(self)


class Solitude:
    """Who runs a handler in this process: many together, or one that is not to be in company."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: set[int] = set()
        self._claim: Claim | None = None

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
            self.forget(thread)

    @contextmanager
    def claiming(self) -> Iterator[Claim | None]:
        """Keep others out from now on; None when another step has claimed the process already."""
        claim = Claim(self)
        with self._changed:
            free = self._claim is None
            if free:
                self._claim = claim
        try:
            yield claim if free else None
        finally:
            claim.end()

    def forget(self, thread: int) -> None:
        """Take a thread for gone: its step has ended, or hangs."""
        with self._changed:
            self._inside.discard(thread)
            if self._claim is not None:
                self._changed.notify_all()

    def empty_within(self, seconds: float, unless: Callable[[], bool]) -> bool:
        """See Claim.alone_within."""
        ends = time.monotonic() + seconds
        with self._changed:
            while self._inside:
                left = ends - time.monotonic()
                if left <= 0 or unless():
                    return False
                self._changed.wait(min(left, _LOOK_SECONDS))
        return not unless()

    def end(self, claim: Claim) -> None:
        """See Claim.end."""
        with self._changed:
            if self._claim is claim:
                self._claim = None
                self._changed.notify_all()
