"""Token buckets in this process's memory, as many as there may be names. Safe for threads."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable


class Buckets:
    """A bucket for each name: `burst` tokens when full, refilled at `per_second`.

    Of a name that is not remembered the bucket is full. Above `names` the one that was used the longest ago is
    forgotten, which is the one that has been refilled the most.
    """

    def __init__(
        self, *, burst: int, per_second: float, names: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._token = 1.0 / per_second
        # A thousandth more, for what adding fractions of a second leaves.
        self._empty = (burst + 0.001) * self._token
        self._names = names
        self._clock = clock
        self._lock = threading.Lock()
        #: When the bucket of a name will be full again: all there is to know of it.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: str) -> bool:
        """Take a token; False when there is none."""
        with self._lock:
            missing = self._missing(name) + self._token
            if missing > self._empty:
                return False
            self._remember(name, missing)
            return True

    def give_back(self, name: str) -> None:
        """Put a token back that was taken and not used."""
        with self._lock:
            self._remember(name, self._missing(name) - self._token)

    def _missing(self, name: str) -> float:
        return max(0.0, self._full_at.get(name, 0.0) - self._clock())

    def _remember(self, name: str, missing: float) -> None:
        if missing <= 0.0:
            self._full_at.pop(name, None)
            return
        self._full_at[name] = self._clock() + missing
        self._full_at.move_to_end(name)
        if len(self._full_at) > self._names:
            self._full_at.popitem(last=False)
