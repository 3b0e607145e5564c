"""Notice a worker that lives but takes no work: hints lie in the broker, its pool has room, and nothing begins.

Work is done meanwhile: sweepers serve what is late themselves. But such a worker never takes its share again, so it
ends and its supervisor starts another one.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog
from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.store.connection import translated

_log = structlog.get_logger(__name__)
#: Seconds for which hints may lie before a worker that has room for them.
STARVED_SECONDS: Final = 60.0
EVERY_SECONDS: Final = 5.0


class Pool(Protocol):
    """What has to be known of a pool."""

    def begun(self) -> int:
        """Count the tasks that have ever begun."""

    def waiting(self) -> int:
        """Count those that were taken from the broker and have not begun."""

    def has_room(self) -> bool:
        """Say whether one more could begin at once."""


class Watchdog:
    """Looks every few seconds; a single sign of life, of business, or of an absent broker starts the time anew."""

    def __init__(
        self,
        broker: Redis,
        queues: Sequence[str],
        pool: Pool,
        end: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._queues = queues
        self._pool = pool
        self._end = end
        self._clock = clock
        self._looked = float("-inf")
        self._since: float | None = None
        self._begun = 0

    def look(self) -> None:
        """End the process when it has been starving beside work for a minute."""
        now = self._clock()
        if now - self._looked < EVERY_SECONDS:
            return
        self._looked = now
        if not self._starves():
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since >= STARVED_SECONDS:
            _log.critical("work lies there and none is taken: this worker ends", seconds=round(now - self._since))
            self._since = None
            self._end()

    def _starves(self) -> bool:
        begun, before = self._pool.begun(), self._begun
        self._begun = begun
        if begun != before or not self._pool.has_room():
            return False
        return self._pool.waiting() > 0 or self._hints() > 0

    def _hints(self) -> int:
        """Count the hints in the broker; none while it is away."""
        try:
            with translated():
                pipe = self._broker.pipeline(transaction=False)
                for queue in self._queues:
                    pipe.llen(queue)
                return sum(pipe.execute())
        except StoreUnavailable:
            return 0
