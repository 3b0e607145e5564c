"""The rate limit, shared by the fleet: leased slots in every scope at once (see lua/limiter_acquire.lua)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.store.connection import now_ms, translated
from kommo.store.scripts import Call, Scripts

#: ms a slot stays taken when its holder dies: longer than any call may last.
SLOT_LEASE_MS: Final = 40_000
#: ms after the answer until a slot is free: the second in which Kommo counts, and a little for the clock's rounding.
COOL_DOWN_MS: Final = 1_002
#: ms after which a waiter that does not ask again has lost its place.
TICKET_MS: Final = 2_500
_TAG: Final = "kommo:{limits}"
_TICKETS: Final = f"{_TAG}:tickets"


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a limit counts, e.g. `account:42`, and how many requests a second it allows."""

    name: str
    per_second: int


@dataclass(frozen=True, slots=True)
class Slot:
    """The right to send one request."""

    id: str
    scopes: Sequence[Scope]


class Limiter:
    """The limits of all accounts and addresses. When Redis is away no slot is given."""

    def __init__(
        self, redis: Redis, *, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._sleep = sleep
        self._clock = clock

    def try_acquire(self, scopes: Sequence[Scope], *, ticket: str) -> Slot | float:
        """Take a slot in every scope, or say after how many seconds to ask again with the same ticket."""
        slot = uuid4().hex
        keys = [key for scope in scopes for key in self._keys(scope)]
        limits = [scope.per_second for scope in scopes]
        wait: int = self._scripts.run(
            Call("limiter_acquire", [*keys, _TICKETS], [slot, ticket, SLOT_LEASE_MS, TICKET_MS, *limits])
        )
        return wait / 1000 if wait else Slot(slot, scopes)

    def acquire(self, scopes: Sequence[Scope], *, seconds: float) -> Slot | None:
        """Wait for a slot, at most so long; None when there was none in time."""
        ticket = uuid4().hex
        ends = self._clock() + seconds
        while True:
            slot = self.try_acquire(scopes, ticket=ticket)
            if isinstance(slot, Slot):
                return slot
            left = ends - self._clock()
            if left <= 0:
                self.withdraw(ticket)
                return None
            self._sleep(min(slot, left))

    def withdraw(self, ticket: str) -> None:
        """Leave the queues: whoever waits behind a ticket must not wait for one that will not ask again."""
        with translated():
            self._redis.zrem(_TICKETS, ticket)

    def release(self, slot: Slot, *, used: bool = True) -> None:
        """Give a slot back: after its answer, or unused. Redis being away is no error: its lease ends by itself."""
        keys = [self._keys(scope)[0] for scope in slot.scopes]
        try:
            self._scripts.run(Call("limiter_release", keys, [slot.id, COOL_DOWN_MS if used else 0]))
        except StoreUnavailable:
            return

    def pause(self, scope: Scope, *, seconds: float) -> None:
        """Let no request of this scope go for so long: Kommo asked for it."""
        length = max(1, int(seconds * 1000))
        with translated():
            self._redis.set(self._keys(scope)[2], now_ms(self._redis) + length, px=length)

    def used(self, scope: Scope) -> int:
        """Count the slots that are taken now."""
        with translated():
            number: Any = self._redis.zcount(self._keys(scope)[0], f"({now_ms(self._redis)}", "+inf")
        return int(number)

    @staticmethod
    def _keys(scope: Scope) -> tuple[str, str, str]:
        return (
            f"{_TAG}:slots:{scope.name}",
            f"{_TAG}:queue:{scope.name}",
            f"{_TAG}:pause:{scope.name}",
        )
