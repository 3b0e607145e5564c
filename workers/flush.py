"""Flush: send what handlers asked for, one call a write, in order per entity, up to seven at a time."""

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
from kommo.store.limiter import Slot
from kommo.store.outbox import QUEUE, WriteOutcome
from workers.loop import TURN_SECONDS, Loop, serve_accounts
from workers.patience import patiently
from workers.runtime import Runtime
from workers.sending import Sending

_log = structlog.get_logger(__name__)
#: Calls of one flush that may be under way at once: as many as one account may make in a second.
IN_FLIGHT: Final = 7
#: Seconds a write may take in all before its lease is given up: longer than a call's deadline.
_WRITE_SECONDS: Final = 60.0
#: Seconds between two looks for work while calls are under way.
_LINGER_SECONDS: Final = 0.05


def flush(runtime: Runtime) -> None:
    """Send the writes that are due."""
    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="flush") as pool:
        sender = _Flush(runtime, pool)
        serve_accounts(runtime, Loop(QUEUE, sender.serve, linger=sender.linger))
        sender.leave()


class _Flush:
    """One flush loop and the calls it has under way."""

    def __init__(self, runtime: Runtime, pool: ThreadPoolExecutor) -> None:
        self._runtime = runtime
        self._pool = pool
        self._loop = runtime.token()
        self._waiting: set[str] = set()
        self._under_way: set[Future[None]] = set()

    def serve(self, account_id: int) -> None:
        """Send the account's due writes for one turn, slot by slot."""
        runtime = self._runtime
        turn_ends = time.monotonic() + TURN_SECONDS
        try:
            turnstile = runtime.clients.turnstile(account_id)
        except Unauthorized as error:
            self._postpone_all(account_id, error)
            return
        while not runtime.stopping.is_set():
            self._wait_for_room()
            slot = self._slot(turnstile, f"{self._loop}:{account_id}", until=turn_ends)
            if slot is None or not self._send_one(account_id, turnstile, slot):
                return

    def _send_one(self, account_id: int, turnstile: AccountTurnstile, slot: Slot) -> bool:
        """Spend a slot on the longest waiting write; give it back when there is none.

        The slot comes first, so that writes asked for while it was waited for are there to choose from.
        """
        runtime = self._runtime
        try:
            taken = runtime.outbox.take(account_id, runtime.token())
        except StoreUnavailable:
            turnstile.limiter.release(slot, used=False)
            raise
        if not taken.leases:
            turnstile.limiter.release(slot, used=False)
            return False
        self._under_way.add(self._pool.submit(self._send_or_say, taken.leases[0], HeldSlot(turnstile, slot)))
        return taken.more > 0

    def _send_or_say(self, lease: Lease, held: HeldSlot) -> None:
        try:
            self._send(lease, held)
        except Exception as error:  # its lease ends by itself, and the write is taken again
            _log.exception("write not sent", account=lease.account_id, chain=lease.chain, error=type(error).__name__)

    def _send(self, lease: Lease, held: HeldSlot) -> None:
        runtime = self._runtime
        write = Write.from_record(json.loads(lease.item))
        sending = Sending(write, lease, runtime.runner())
        with (
            log.about(
                delivery=write.delivery_id, account=lease.account_id, event=write.event_id, handler=write.handler
            ),
            runtime.keeper.holding(runtime.outbox, lease, seconds=_WRITE_SECONDS),
        ):
            results = runtime.outbox.results(lease.account_id, write.needs)
            if (early := sending.unless_ready(results)) is not None:
                held.behind.limiter.release(held.slot, used=False)
                self._record(early)
                return
            self._record(sending.send(runtime.clients.caller(lease.account_id, held), results))

    def _record(self, outcome: WriteOutcome) -> None:
        if not patiently(lambda: self._runtime.outbox.finish(outcome)):
            _log.warning("write came too late: another worker has sent it too", write=outcome.write_id)

    def _slot(self, turnstile: AccountTurnstile, ticket: str, *, until: float) -> Slot | None:
        """Wait for a slot within the account's turn; keep the place in the queue for the next turn."""
        while True:
            slot = turnstile.limiter.try_acquire(turnstile.scopes, ticket=ticket)
            if isinstance(slot, Slot):
                self._waiting.discard(ticket)
                return slot
            self._waiting.add(ticket)
            if time.monotonic() + slot > until or self._runtime.stopping.wait(slot):
                return None

    def leave(self) -> None:
        """Give up the places kept in queues for slots."""
        for ticket in self._waiting:
            self._runtime.limiter.withdraw(ticket)

    def linger(self) -> bool:
        """Wait a moment while calls are under way: each may make the next write of its chain due."""
        done, self._under_way = wait(self._under_way, timeout=_LINGER_SECONDS, return_when=FIRST_COMPLETED)
        return bool(done or self._under_way)

    def _wait_for_room(self) -> None:
        while len(self._under_way) >= IN_FLIGHT:
            _, self._under_way = wait(self._under_way, return_when=FIRST_COMPLETED)

    def _postpone_all(self, account_id: int, error: Unauthorized) -> None:
        """Let the account's writes wait for a token: they are kept, and looked at again every minute."""
        runtime = self._runtime
        taken = runtime.outbox.take(account_id, runtime.token(), limit=100)
        _log.error("writes wait for a token", account=account_id, writes=len(taken.leases), error=str(error))
        for lease in taken.leases:
            write_id = json.loads(lease.item)["id"]
            runtime.outbox.finish(WriteOutcome(lease, "postpone", runtime.runner(), write_id, delay_ms=60_000))
