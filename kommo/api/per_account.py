"""What a process makes once for each account and shares among all its clients."""

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class PerAccount(Generic[Thing]):
    """One thing for each account, made when it is first asked for; safe for threads."""

    def __init__(self, make: Callable[[int], Thing]) -> None:
        self._make = make
        self._made: dict[int, Thing] = {}
        self._lock = Lock()

    def __getitem__(self, account_id: int) -> Thing:
        with self._lock:
            if account_id not in self._made:
                self._made[account_id] = self._make(account_id)
            return self._made[account_id]
