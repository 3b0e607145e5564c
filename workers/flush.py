"""Flush: send what handlers asked for, merged and in bulk, in order per entity, several requests at a time."""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from kommo.api.bulk import BATCH, DEPTH
from kommo.api.turnstile import AccountTurnstile, HeldSlot
from kommo.api.writes import API
from kommo.errors import NeedsAttention, SettingsError, StoreUnavailable, TryLater
from kommo.store.limiter import HEAD_START_MS, Slot, Wait
from kommo.store.outbox import COMPANY_MS, QUEUE, Piles
from workers.loop import TURN_SECONDS, Loop, serve_accounts
from workers.request import Request
from workers.runtime import Runtime

_log = structlog.get_logger(__name__)
#: Requests of one flush that may be under way at once: for an account as many as it may make in a second, and in all.
IN_FLIGHT: Final = 7
IN_FLIGHT_IN_ALL: Final = 28
#: Seconds that an account waits for a slot before others have their turn; how long it waited in all is remembered.
_PATIENCE_SECONDS: Final = 1.0
#: Seconds after which an account whose token is being renewed is looked at again.
_RENEWAL_SECONDS: Final = 0.1
#: Seconds between two looks for work while requests are under way, and the longest wait for what is due in a moment.
_LINGER_SECONDS: Final = 0.05
_SOON_MS: Final = 1_000
#: Seconds after which an account that may not call is looked at again at the latest; what it waits for may come early.
_HOLD_SECONDS: Final = 60.0
Acquire = Callable[[], Slot | Wait | None]


def flush(runtime: Runtime) -> None:
    """Send the writes that are due."""
    with ThreadPoolExecutor(IN_FLIGHT_IN_ALL, thread_name_prefix="flush") as pool:
        sender = _Flush(runtime, pool)
        serve_accounts(runtime, Loop(QUEUE, sender.serve, linger=sender.linger))


class _Flush:
    """One flush loop and the requests it has under way."""

    def __init__(self, runtime: Runtime, pool: ThreadPoolExecutor) -> None:
        self._runtime = runtime
        self._pool = pool
        self._under_way: dict[Future[None], int] = {}

    def serve(self, account_id: int, more: int) -> None:
        """Send the account's due writes for one turn, slot by slot; an account that may not call waits."""
        runtime = self._runtime
        turn_ends = time.monotonic() + TURN_SECONDS
        try:
            if not runtime.outbox.has_work(account_id, company_ms=0):
                runtime.waits.over(account_id)
                return
            if not runtime.clients.is_ready(account_id):
                # No slot is held while a token is renewed: the renewal needs one itself.
                runtime.outbox.hold(account_id, seconds=_RENEWAL_SECONDS)
                return
            waited_ms = runtime.waits.waited_ms(account_id)
            turnstile = replace(runtime.clients.turnstile(account_id, urgent=False), waited_ms=waited_ms)
            acquire: Acquire = partial(turnstile.acquire, _PATIENCE_SECONDS)
            if more and waited_ms < HEAD_START_MS:
                acquire = partial(turnstile.acquire_or_leave, _PATIENCE_SECONDS)
            while not runtime.stopping.is_set() and self._has_room(account_id, until=turn_ends):
                if not self._send_next(account_id, turnstile, acquire):
                    return
                if more:
                    # With a request sent, others go first as soon as a slot has to be waited for.
                    acquire = partial(turnstile.acquire_or_leave, 0.0)
        except (NeedsAttention, TryLater) as error:
            self._hold(account_id, min(_HOLD_SECONDS, error.after or _HOLD_SECONDS), error)
        except SettingsError as error:
            self._hold(account_id, _HOLD_SECONDS, error)

    def _hold(self, account_id: int, seconds: float, error: Exception) -> None:
        if self._runtime.waits.is_news(account_id, seconds=seconds):
            _log.warning("writes wait", account=account_id, seconds=round(seconds, 1), error=str(error))
        self._runtime.waits.over(account_id)
        self._runtime.outbox.hold(account_id, seconds=seconds)

    def _send_next(self, account_id: int, turnstile: AccountTurnstile, acquire: Acquire) -> bool:
        """Spend a slot on the longest waiting writes; say whether there is more and time for it.

        The slot comes first, so that writes asked for while it was waited for still join.
        """
        tries, began = turnstile.admit("PATCH", API), time.monotonic()
        held = self._held(account_id, turnstile, acquire, tries=tries)
        if held is None:
            return False
        try:
            taken = self._take(account_id, tries=tries, waited_ms=int((time.monotonic() - began) * 1000))
        except StoreUnavailable:
            held.give_back()
            raise
        if taken is None:
            held.give_back()
            return False
        self._under_way[self._pool.submit(self._send, taken, held)] = account_id
        return taken.more > 0 and not tries

    def _held(self, account_id: int, turnstile: AccountTurnstile, acquire: Acquire, *, tries: bool) -> HeldSlot | None:
        """Wait for a slot; None when there is none now, and the account is looked at again when there may be."""
        slot: Slot | Wait | None = None
        try:
            slot = acquire()
        finally:
            if tries and not isinstance(slot, Slot):
                turnstile.untried()
        if isinstance(slot, Slot):
            self._runtime.waits.over(account_id)
            return HeldSlot(turnstile, slot, tries=tries)
        if slot is not None:
            self._runtime.outbox.hold(account_id, seconds=slot.seconds)
        return None

    def _take(self, account_id: int, *, tries: bool, waited_ms: int) -> Piles | None:
        """Lease what one request can carry; None when there is nothing, or a write that still waits for company.

        While a slot was waited for, company could come: only where one was free at once does a write wait for it now.
        """
        outbox = self._runtime.outbox
        if waited_ms < COMPANY_MS and not outbox.has_work(account_id):
            return None
        most, depth = (1, 1) if tries else (BATCH, DEPTH)
        taken = outbox.take_piles(account_id, self._runtime.token(), most=most, depth=depth)
        return taken if taken.piles else None

    def _send(self, taken: Piles, held: HeldSlot) -> None:
        try:
            Request(self._runtime, taken, held).send()
        except Exception as error:  # its leases end by themselves, and the writes are taken again
            _log.exception("writes not sent", account=taken.account_id, error=type(error).__name__)
        finally:
            held.give_back()

    def _has_room(self, account_id: int, *, until: float) -> bool:
        """Wait, within the account's turn, until it has fewer requests under way than it may."""
        while True:
            self._forget_done()
            own = [call for call, account in self._under_way.items() if account == account_id]
            left = until - time.monotonic()
            if left <= 0:
                return False
            if len(own) < IN_FLIGHT and len(self._under_way) < IN_FLIGHT_IN_ALL:
                return True
            wait(self._under_way if len(own) < IN_FLIGHT else own, timeout=left, return_when=FIRST_COMPLETED)

    def linger(self, due_in_ms: int | None) -> bool:
        """Wait a moment for what is due soon, or while requests are under way: each may make more writes due."""
        soon = due_in_ms is not None and due_in_ms <= _SOON_MS
        if not self._under_way and not soon:
            return False
        seconds = min(_LINGER_SECONDS, due_in_ms / 1000 if soon and due_in_ms is not None else _LINGER_SECONDS)
        if self._under_way:
            wait(self._under_way, timeout=seconds, return_when=FIRST_COMPLETED)
            self._forget_done()
        else:
            self._runtime.stopping.wait(seconds)
        return True

    def _forget_done(self) -> None:
        self._under_way = {call: account for call, account in self._under_way.items() if not call.done()}
