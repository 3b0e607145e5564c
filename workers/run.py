"""Run: lease due lanes, call their handlers, record how each step ended together with the writes it asked for."""

import json
import re
import time
from functools import partial
from typing import Any

import structlog

from kommo import log
from kommo.api.bulk import kind_of
from kommo.api.later import Later
from kommo.api.later import Step as AskedBy
from kommo.api.writes import Write
from kommo.hooks.events import Event
from kommo.queue import LOOPS
from kommo.router import Handler
from kommo.store.chains import Lease, Taken
from kommo.store.lanes import QUEUE, AskedWrite, Finished, StepOutcome
from kommo.store.outbox import QUEUE as OUTBOX
from kommo.store.outbox import item_of
from workers.letters import unreadable
from workers.loop import TURN_SECONDS, Loop, serve_accounts, wake_sibling
from workers.outcome import CRASHES, Ending, crashed, ending_of, gone, not_here
from workers.patience import patiently
from workers.runtime import Runtime

_log = structlog.get_logger(__name__)


def run(runtime: Runtime) -> None:
    """Run the steps that are due."""
    serve_accounts(runtime, Loop(QUEUE, partial(_run_account, runtime)))


def _run_account(runtime: Runtime, account_id: int, _more: int) -> None:
    turn_ends = time.monotonic() + TURN_SECONDS
    taken = runtime.lanes.take(account_id, runtime.token())
    if taken.more:
        wake_sibling(runtime, QUEUE, account_id)
    while taken.leases:
        outcome = run_step(runtime, taken.leases[0])
        last = time.monotonic() >= turn_ends or runtime.stopping.is_set()
        taken = _finish(runtime, outcome, take_next=not last)


def run_step(runtime: Runtime, lease: Lease) -> StepOutcome:
    """Call the handler of a leased step and say how it ended; raises nothing that the handler raises."""
    try:
        item: dict[str, Any] = json.loads(lease.item)
        event = Event.from_record(item["event"], attempt=lease.runs + lease.crashes + 1)
    except Exception as error:  # stored by another version: kept for a person, and the lane goes on
        return _unreadable(runtime, lease, error)
    handler = runtime.router.handlers.get(item["handler"])
    with log.about(
        delivery=event.delivery_id,
        account=lease.account_id,
        event=event.id,
        type=event.type,
        handler=item["handler"],
        attempt=event.attempt,
    ):
        ending, writes = _call(runtime, lease, event, handler, item["handler"])
        return StepOutcome(
            lease=lease,
            verb=ending.verb,
            runner=runtime.runner(),
            stream_id=item["stream"],
            delay_ms=ending.delay_ms,
            writes=writes,
            dead=ending.letter(lease, event, item),
        )


def _call(
    runtime: Runtime, lease: Lease, event: Event, handler: Handler | None, name: str
) -> tuple[Ending, list[AskedWrite]]:
    if handler is None:
        return gone(name) if _is_gone(runtime, name) else not_here(), []
    if lease.crashes >= max(handler.attempts, CRASHES):
        return crashed(lease.crashes), []
    later = Later(AskedBy(lease.account_id, event.id, handler.name, event.delivery_id))
    began = time.perf_counter()
    try:
        with runtime.keeper.holding(runtime.lanes, lease, seconds=handler.timeout_seconds):
            handler.function(event, runtime.clients.client(lease.account_id, later))
        writes = [_asked(write, handler) for write in later.writes]
    except (Exception, SystemExit) as error:  # sys.exit() in a handler is a failure of it, not the end of a worker
        return ending_of(error, lease, handler), []
    _log.info("handled", ms=round((time.perf_counter() - began) * 1000, 1), writes=len(writes))
    return Ending("done"), writes


def _asked(write: Write, handler: Handler) -> AskedWrite:
    record = {**write.to_record(), "on_doubt": handler.on_doubt}
    return AskedWrite(write.chain, item_of(kind_of(write), json.dumps(record).encode()))


def _unreadable(runtime: Runtime, lease: Lease, error: Exception) -> StepOutcome:
    stream_id = (re.search(rb'"stream":"([0-9-]+)"', lease.item) or [b"", b""])[1].decode()
    return StepOutcome(lease, "dead", runtime.runner(), stream_id, dead=unreadable("step", lease, error))


def _is_gone(runtime: Runtime, handler: str) -> bool:
    """Say whether no living worker has known this handler for an hour. Until then another may be about to start."""
    unseen = runtime.fleet.handler_unseen_ms(handler)
    return unseen is not None and unseen > 3600 * 1000


def _finish(runtime: Runtime, outcome: StepOutcome, *, take_next: bool) -> Taken:
    """Record an outcome, and take the account's next step in the same breath if it comes through at once."""
    at_once = take_next

    def record() -> tuple[Finished, bool, Taken]:
        nonlocal at_once
        if at_once:
            at_once = False
            return runtime.lanes.finish_and_take(outcome, runtime.token())
        return *runtime.lanes.finish(outcome), Taken((), 0)

    finished, wake, taken = patiently(record)
    if finished is Finished.STALE:
        _log.warning("step came too late, its writes are discarded", lane=outcome.lease.chain)
    if wake:
        runtime.waker.wake(LOOPS[OUTBOX])
    return taken
