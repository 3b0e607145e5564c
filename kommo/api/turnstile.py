"""The way to Kommo for one account's calls: its limits, its parking, and what an answer means for all of them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import structlog

from kommo.api.calls import NO_TURN
from kommo.errors import AccessEnded, Action, ApiError, PaymentRequired, RateLimited, StoreUnavailable
from kommo.store.brakes import Brakes
from kommo.store.limiter import HEAD_START_MS, SPACING, Alone, Limiter, Scope, Slot, Wait
from kommo.store.parking import Parked, Parking

_log = structlog.get_logger(__name__)
_PARKED = {
    "payment": (PaymentRequired, "the account's subscription has ended; its writes wait, and nothing was sent"),
    "token": (AccessEnded, "Kommo accepts no token of this account any more; nothing was sent"),
    "disconnected": (AccessEnded, "the integration was disconnected in Kommo; nothing was sent"),
}


@dataclass(frozen=True)
class AccountTurnstile:
    """Limiter, brakes and parking as one account's calls meet them."""

    account_id: int
    #: Integration, account, outgoing address.
    scopes: tuple[Scope, ...]
    limiter: Limiter
    brakes: Brakes
    parking: Parking
    #: Whether Kommo blocks the outgoing address; amoCRM blocks the account.
    #: https://developers.kommo.com/docs/limitations, https://www.amocrm.ru/developers/content/api/recommendations
    blocked_by_address: bool = True
    #: Calls that somebody waits for come before writes for later, which are spread over the second besides.
    urgent: bool = True
    #: ms that writes for later have waited before; after ten seconds they come before what is urgent.
    waited_ms: int = 0

    def admit(self, method: str, path: str) -> bool:
        """Let a call pass unless its account is parked; raises PaymentRequired, AccessEnded."""
        parked = self.parking.admit(self.account_id, read=method == "GET")
        if isinstance(parked, Parked):
            kind, sentence = _PARKED[parked.reason]
            raise kind(sentence, method=method, path=path, after=parked.seconds)
        return not parked

    def worked(self, method: str) -> None:
        """Let the account go on. Its answer counts even if Redis is away: then the next call tries again."""
        with suppress(StoreUnavailable):
            if method == "GET" and self._is_unpaid():
                # Kommo goes on answering reads for a while: it says nothing about writes.
                self.parking.allow_reads(self.account_id)
            elif self.parking.resume(self.account_id):
                _log.info("account goes on", account=self.account_id)

    def _is_unpaid(self) -> bool:
        parked = self.parking.state(self.account_id)
        return parked is not None and parked.reason == "payment"

    def untried(self) -> None:
        """Let the next call try."""
        with suppress(StoreUnavailable):
            self.parking.try_next(self.account_id)

    def acquire(self, seconds: float) -> Slot | None:
        """Wait for a slot."""
        slot = self._acquire(seconds, ())
        return slot if isinstance(slot, Slot) else None

    def acquire_or_leave(self, seconds: float) -> Slot | Wait | None:
        """Wait for a slot of the address, which all accounts share; where the account's own are all in use, leave."""
        return self._acquire(seconds, self.scopes[:-1])

    def _acquire(self, seconds: float, not_for: Sequence[Scope]) -> Slot | Wait | None:
        slot = self.limiter.acquire(
            self.scopes,
            seconds=seconds,
            head_start_ms=HEAD_START_MS if self.urgent else self.waited_ms,
            spacing=0 if self.urgent else SPACING,
            not_for=not_for,
        )
        if isinstance(slot, Alone):
            detail = f"Kommo wants no calls for another {slot.seconds:.0f} s, nothing was sent"
            raise RateLimited(
                detail, method="any call of", path=f"account {self.account_id}", code=NO_TURN, after=slot.seconds
            )
        return slot

    def release(self, slot: Slot) -> None:
        """Give a slot back after the answer."""
        self.limiter.release(slot)

    def heed(self, error: ApiError, method: str) -> None:
        """Draw the consequences of an answer for all calls: slow down, stop, or park the account."""
        match error.action:
            case Action.SLOW_DOWN:
                self.brakes.slow(self._offended, after=error.after)
            case Action.STOP:
                self.brakes.block(self._offended[-1], self.account_id, after=error.after)
                _log.error("blocked by Kommo: nothing goes out", scope=self._offended[-1].name)
            case Action.PARK_PAYMENT:
                self._park("payment", error, reads_refused=method == "GET")
            case Action.PARK | Action.RENEW:
                self._park("token", error, reads_refused=True)

    @property
    def _offended(self) -> tuple[Scope, ...]:
        """Where Kommo counts: by address, or amoCRM by integration and account."""
        integration, account, address = self.scopes
        return (address,) if self.blocked_by_address else (integration, account)

    def _park(self, reason: Literal["payment", "token"], error: ApiError, *, reads_refused: bool) -> None:
        # With Redis away no call is made, and the next one is refused again: what Kommo said matters more.
        with suppress(StoreUnavailable):
            if self.parking.park(self.account_id, reason, reads_refused=reads_refused):
                _log.error("account parked: its writes wait", account=self.account_id, reason=reason, error=str(error))


class HeldSlot:
    """A slot that was taken before it was known what it is for; spent by one call, or given back."""

    def __init__(self, behind: AccountTurnstile, slot: Slot, *, tries: bool = False) -> None:
        self._behind = behind
        self._slot = slot
        self._spent = False
        self._tries = tries

    def admit(self, method: str, path: str) -> bool:  # noqa: ARG002 - it was asked before the slot was taken
        return self._tries

    def worked(self, method: str) -> None:
        self._behind.worked(method)

    def untried(self) -> None:
        self._behind.untried()

    def acquire(self, seconds: float) -> Slot | None:
        """Give the slot; a call that is repeated needs another one."""
        if self._spent:
            return self._behind.acquire(seconds)
        self._spent = True
        return self._slot

    def release(self, slot: Slot) -> None:
        self._behind.release(slot)

    def heed(self, error: ApiError, method: str) -> None:
        self._behind.heed(error, method)

    def give_back(self) -> None:
        """Free the slot at once if no call has spent it."""
        if not self._spent:
            self._spent = True
            self._behind.limiter.release(self._slot, used=False)
            if self._tries:
                self.untried()
