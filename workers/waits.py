"""How long accounts have waited in this process for a slot, and which of their waits were told already."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Waits:
    """What the flush loops of a process remember of accounts that wait; a loop itself ends after some seconds."""

    clock: Callable[[], float] = time.monotonic
    _since: dict[int, float] = field(default_factory=dict)
    _told_until: dict[int, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def waited_ms(self, account_id: int) -> int:
        """Say for how long the account has waited for a slot; its wait begins with the first question."""
        with self._lock:
            return int((self.clock() - self._since.setdefault(account_id, self.clock())) * 1000)

    def over(self, account_id: int) -> None:
        """Say that it has got one, or needs none."""
        with self._lock:
            self._since.pop(account_id, None)

    def is_news(self, account_id: int, *, seconds: float) -> bool:
        """Say whether it has not been told yet that the account is held up, and tell it for so long."""
        with self._lock:
            now = self.clock()
            if self._told_until.get(account_id, now) > now:
                return False
            self._told_until[account_id] = now + seconds
            return True
