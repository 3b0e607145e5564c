"""Flush: send what handlers asked for, one call a write, in order per entity, several at a time."""

import json
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final

import structlog

from kommo import log
from kommo.api.clients import AccountTurnstile, HeldSlot
from kommo.api.writes import Write
from kommo.errors import StoreUnavailable, Unauthorized
from kommo.store.chains import Lease
from kommo.store.outbox import FAILED, QUEUE, WriteOutcome
from workers.letters import unreadable
from workers.loop import TURN_SECONDS, Loop, serve_accounts
from workers.patience import patiently
from workers.runtime import Runtime
from workers.sending import Sending

_log = structlog.get_logger(__name__)
#: Calls of one flush that may be under way at once: for an account as many as it may make in a second, and in all.
IN_FLIGHT: Final = 7
IN_FLIGHT_IN_ALL: Final = 28
#: Seconds a write may take in all before its lease is given up: longer than a call's deadline.
_WRITE_SECONDS: Final = 60.0
#: Seconds between two looks for work while calls are under way.
_LINGER_SECONDS: Final = 0.05
#: ms after which the writes of an account without a token are looked at again.
_NO_TOKEN_MS: Final = 60_000


def flush(runtime: Runtime) -> None:
    """Send the writes that are due."""
    with ThreadPoolExecutor(IN_FLIGHT_IN_ALL, thread_name_prefix="flush") as pool:
        sender = _Flush(runtime, pool)
        serve_accounts(runtime, Loop(QUEUE, sender.serve, linger=sender.linger))


class _Flush:
    """One flush loop and the calls it has under way."""

    def __init__(self, runtime: Runtime, pool: ThreadPoolExecutor) -> None:
        self._runtime = runtime
        self._pool = pool
        self._under_way: dict[Future[None], int] = {}

    def serve(self, account_id: int) -> None:
        """Send the account's due writes for one turn, slot by slot."""
        runtime = self._runtime
        turn_ends = time.monotonic() + TURN_SECONDS
        try:
            turnstile = runtime.clients.turnstile(account_id)
        except Unauthorized as error:
            self._postpone_all(account_id, error)
            return
        while not runtime.stopping.is_set() and self._has_room(account_id, until=turn_ends):
            if not self._send_next(account_id, turnstile, until=turn_ends):
                return

    def _send_next(self, account_id: int, turnstile: AccountTurnstile, *, until: float) -> bool:
        """Spend a slot on the longest waiting write; say whether there is more and time for it.

        The slot comes first, so that writes asked for while it was waited for are there to choose from.
        """
        slot = turnstile.acquire(until - time.monotonic())
        if slot is None:
            return False
        held = HeldSlot(turnstile, slot)
        try:
            taken = self._runtime.outbox.take(account_id, self._runtime.token())
        except StoreUnavailable:
            held.give_back()
            raise
        if not taken.leases:
            held.give_back()
            return False
        self._under_way[self._pool.submit(self._send_or_say, taken.leases[0], held)] = account_id
        return taken.more > 0

    def _send_or_say(self, lease: Lease, held: HeldSlot) -> None:
        try:
            self._send(lease, held)
        except Exception as error:  # its lease ends by itself, and the write is taken again
            _log.exception("write not sent", account=lease.account_id, chain=lease.chain, error=type(error).__name__)
        finally:
            held.give_back()

    def _send(self, lease: Lease, held: HeldSlot) -> None:
        runtime = self._runtime
        try:
            write = Write.from_record(json.loads(lease.item))
        except Exception as error:  # stored by another version: kept for a person, and the chain goes on
            letter = unreadable("write", lease, error)
            self._record(WriteOutcome(lease, "dead", runtime.runner(), write_id=letter.id, result=FAILED, dead=letter))
            return
        sending = Sending(write, lease, runtime.runner())
        with (
            log.about(
                delivery=write.delivery_id, account=lease.account_id, event=write.event_id, handler=write.handler
            ),
            runtime.keeper.holding(runtime.outbox, lease, seconds=_WRITE_SECONDS),
        ):
            results = runtime.outbox.results(lease.account_id, write.needs)
            outcome = sending.unless_ready(results)
            if outcome is None:
                outcome = sending.send(runtime.clients.caller(lease.account_id, held), results)
        self._record(outcome)

    def _record(self, outcome: WriteOutcome) -> None:
        if not patiently(lambda: self._runtime.outbox.finish(outcome)):
            _log.warning("write came too late: another worker has sent it too", write=outcome.write_id)

    def _has_room(self, account_id: int, *, until: float) -> bool:
        """Wait, within the account's turn, until it has fewer calls under way than it may."""
        while True:
            self._under_way = {call: account for call, account in self._under_way.items() if not call.done()}
            own = [call for call, account in self._under_way.items() if account == account_id]
            left = until - time.monotonic()
            if left <= 0:
                return False
            if len(own) < IN_FLIGHT and len(self._under_way) < IN_FLIGHT_IN_ALL:
                return True
            wait(self._under_way if len(own) < IN_FLIGHT else own, timeout=left, return_when=FIRST_COMPLETED)

    def linger(self) -> bool:
        """Wait a moment while calls are under way: each may make the next write of its chain due."""
        if not self._under_way:
            return False
        wait(self._under_way, timeout=_LINGER_SECONDS, return_when=FIRST_COMPLETED)
        self._under_way = {call: account for call, account in self._under_way.items() if not call.done()}
        return True

    def _postpone_all(self, account_id: int, error: Unauthorized) -> None:
        """Let the account's writes wait for a token: they are kept, and looked at again every minute."""
        runtime = self._runtime
        taken = runtime.outbox.take(account_id, runtime.token(), limit=100)
        _log.error("writes wait for a token", account=account_id, writes=len(taken.leases), error=str(error))
        for lease in taken.leases:
            self._record(WriteOutcome(lease, "postpone", runtime.runner(), write_id="", delay_ms=_NO_TOKEN_MS))
