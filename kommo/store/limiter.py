"""The rate limit, shared by the fleet: leased slots in every scope at once (see lua/limiter_acquire.lua)."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
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
#: Seconds for which a slot is offered back to a Redis that is away.
RELEASE_SECONDS: Final = 10.0
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
        #: Slots that may have been taken by a call whose answer never came.
        self._doubtful: list[Slot] = []

    def try_acquire(self, scopes: Sequence[Scope], *, ticket: str) -> Slot | float:
        """Take a slot in every scope, or say after how many seconds to ask again with the same ticket."""
        self._give_back_doubtful()
        slot = Slot(uuid4().hex, scopes)
        keys = [key for scope in scopes for key in self._keys(scope)]
        limits = [scope.per_second for scope in scopes]
        call = Call("limiter_acquire", [*keys, _TICKETS], [slot.id, ticket, SLOT_LEASE_MS, TICKET_MS, *limits])
        try:
            wait: int = self._scripts.run(call)
        except StoreUnavailable:
            self._doubtful.append(slot)
            raise
        return wait / 1000 if wait else slot

    def _give_back_doubtful(self) -> None:
        while self._doubtful:
            slot = self._doubtful.pop()
            try:
                self._release(slot, 0)
            except StoreUnavailable:
                self._doubtful.append(slot)
                raise

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
        """Give a slot back: after its answer, or unused.

        It is offered for a while to a Redis that is away: seven slots that wait for the end of their leases would
        stop an account for as long. Offered late, it only cools down for longer.
        """
        ends = self._clock() + RELEASE_SECONDS
        while True:
            try:
                return self._release(slot, COOL_DOWN_MS if used else 0)
            except StoreUnavailable:
                if self._clock() >= ends:
                    return None
                self._sleep(0.2)

    def _release(self, slot: Slot, after_ms: int) -> None:
        keys = [self._keys(scope)[0] for scope in slot.scopes]
        self._scripts.run(Call("limiter_release", keys, [slot.id, after_ms]))

    def pause(self, scope: Scope, *, seconds: float) -> None:
        """Let no request of this scope go for so long: Kommo asked for it. Forgotten if Redis is away just now."""
        length = max(1, int(seconds * 1000))
        with suppress(StoreUnavailable), translated():
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
