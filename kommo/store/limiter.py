"""The rate limit, shared by the fleet: leased slots in every scope at once (see lua/limiter_acquire.lua).

How Kommo slows it down or stops it is in `brakes`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import uuid4

from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.store.connection import translated
from kommo.store.scripts import Call, Scripts

#: ms a slot stays taken when its holder dies: longer than any call may last.
SLOT_LEASE_MS: Final = 40_000
#: ms after the answer until a slot is free: the second in which Kommo counts, and one for the clock's rounding.
COOL_DOWN_MS: Final = 1_001
#: ms after which a waiter that does not ask again has lost its place.
TICKET_MS: Final = 2_500
#: Seconds for which a slot is offered back to a Redis that is away.
RELEASE_SECONDS: Final = 10.0
#: How far ahead of others a call in a handler comes, in ms: before every later write that has waited for less.
HEAD_START_MS: Final = 10_000
#: The share of a second over which writes for later are spread, so that who comes next has not long to wait.
SPACING: Final = 0.8
TAG: Final = "kommo:{limits}"
_TICKETS: Final = f"{TAG}:tickets"


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


@dataclass(frozen=True, slots=True)
class Alone:
    """Kommo wants to be left alone for so many seconds: longer than anybody should wait for a slot."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again after so many seconds. `short` is the first scope that has no slot free."""

    seconds: float
    short: Scope | None


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

    def try_acquire(
        self, scopes: Sequence[Scope], *, ticket: str, head_start_ms: int = 0, spacing: float = 0
    ) -> Slot | Alone | Wait:
        """Take a slot in every scope, or say when to ask again with the same ticket.

        `spacing` is the share of a second over which such calls are spread (see limiter_acquire.lua).
        """
        self._give_back_doubtful()
        slot = Slot(uuid4().hex, scopes)
        keys = [key for scope in scopes for key in keys_of(scope)[:-1]]
        args: list[str | int | bytes] = [slot.id, ticket, SLOT_LEASE_MS, TICKET_MS, head_start_ms, str(spacing)]
        args += [scope.per_second for scope in scopes]
        try:
            wait, alone, short = self._scripts.run(Call("limiter_acquire", [*keys, _TICKETS], args))
        except StoreUnavailable:
            self._doubtful.append(slot)
            raise
        if alone:
            return Alone(alone / 1000)
        return Wait(wait / 1000, scopes[short - 1] if short else None) if wait else slot

    def _give_back_doubtful(self) -> None:
        while self._doubtful:
            slot = self._doubtful.pop()
            try:
                self._release(slot, 0)
            except StoreUnavailable:
                self._doubtful.append(slot)
                raise

    def acquire(
        self,
        scopes: Sequence[Scope],
        *,
        seconds: float,
        head_start_ms: int = 0,
        spacing: float = 0,
        not_for: Sequence[Scope] = (),
    ) -> Slot | Alone | Wait | None:
        """Wait for a slot, at most so long; None when there was none in time.

        Where one of the scopes of `not_for` is what has none, nobody waits: the Wait says when to come again.
        """
        ticket = uuid4().hex
        ends = self._clock() + seconds
        while True:
            slot = self.try_acquire(scopes, ticket=ticket, head_start_ms=head_start_ms, spacing=spacing)
            if not isinstance(slot, Wait):
                return slot
            left = ends - self._clock()
            if left <= 0 or slot.short in not_for:
                self.withdraw(ticket)
                return slot if slot.short in not_for else None
            self._sleep(min(slot.seconds, left))

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
        keys = [keys_of(scope).slots for scope in slot.scopes]
        self._scripts.run(Call("limiter_release", keys, [slot.id, after_ms]))


class ScopeKeys(NamedTuple):
    """A scope's keys, in the order of limiter_acquire.lua, which explains them."""

    slots: str
    queue: str
    last: str
    pause: str
    less: str
    #: Only limiter_slow.lua counts here.
    warned: str


def keys_of(scope: Scope) -> ScopeKeys:
    """Name a scope's keys."""
    return ScopeKeys(*(f"{TAG}:{name}:{scope.name}" for name in ScopeKeys._fields))
