"""What Celery knows of its pool: tasks that begin or wait, and children that have to be told."""

import contextlib
import os
import signal
from typing import Any

from celery.worker import state


class CeleryPool:
    """The pool of this worker, seen from its main process."""

    def __init__(self, pool: Any, size: int) -> None:
        self._pool = pool
        self._size = size

    def begun(self) -> int:
        """Count the tasks that have ever begun."""
        return int(state.all_total_count[0])

    def waiting(self) -> int:
        """Count those that were taken from the broker and have not begun."""
        return len(state.reserved_requests) - len(state.active_requests)

    def has_room(self) -> bool:
        """Say whether one more could begin at once."""
        return len(state.active_requests) < self._size

    def tell(self, how: signal.Signals) -> None:
        """Ask the children to end; a supervisor may have told only their parent."""
        for pid in self._pool.info.get("processes", ()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)
