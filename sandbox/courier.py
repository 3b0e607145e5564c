"""The way to one destination: a thread with a queue of its own.

First attempts go out in the order of the changes; a repeated one goes when it is due, in between. That is the
order in which a receiver has to be ready to see things: mostly right, never promised.
"""

import heapq
import time
from collections.abc import Callable
from itertools import count
from threading import Condition, Thread

from sandbox.delivery import Delivery
from sandbox.wire import Wire


class Courier:
    """The thread of one destination, with its queue ordered by due time, then by arrival."""

    def __init__(self, attempt: Callable[[Wire, Delivery], float | None]) -> None:
        self._attempt = attempt
        self._wire = Wire()
        self._wake = Condition()
        self._queue: list[tuple[float, int, Delivery]] = []
        self._turns = count()
        self._stopped = False
        self._thread = Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    def take(self, delivery: Delivery, wait: float = 0.0) -> None:
        """Queue a delivery, due after so many seconds."""
        with self._wake:
            heapq.heappush(self._queue, (time.monotonic() + wait, next(self._turns), delivery))
            self._wake.notify()

    def stop(self) -> None:
        """End the thread, cutting its connection."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._wire.abort()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while (delivery := self._next()) is not None:
            wait = self._attempt(self._wire, delivery)
            if wait is not None:
                self.take(delivery, wait)

    def _next(self) -> Delivery | None:
        with self._wake:
            while not self._stopped:
                left = self._queue[0][0] - time.monotonic() if self._queue else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._queue)[2]
                self._wake.wait(left)
            return None
