"""Run: lease due lanes, call their handlers, record how each step ended together with the writes it asked for."""

import json
import re
import time
from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import structlog

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
from workers.hanging import Underway
from workers.letters import unreadable
from workers.loop import TURN_SECONDS, Loop, serve_accounts, wake_sibling
from workers.outcome import Ending, crashed, ending_of, gone, is_poison, not_here
from workers.patience import patiently
from workers.runtime import Runtime
from workers.step import Step
from workers.suspects import run_apart

_log = structlog.get_logger(__name__)
#: Seconds for which a loop waits at the door while a suspected step is kept apart, before it leaves the work to others.
_DOOR_SECONDS: Final = 1.0
#: Seconds for which a lease is kept after its handler's time is over.
_SPARE_SECONDS: Final = 10.0


def run(runtime: Runtime) -> None:
    """Run the steps that are due."""
    serve_accounts(runtime, Loop(QUEUE, partial(_run_account, runtime)))


def _run_account(runtime: Runtime, account_id: int, _more: int) -> None:
    turn_ends = time.monotonic() + TURN_SECONDS
    if not runtime.solitude.is_open(within=_DOOR_SECONDS):
        return
    taken = runtime.lanes.take(account_id, runtime.token())
    if taken.more:
        wake_sibling(runtime, QUEUE, account_id)
    while taken.leases:
        lease = taken.leases[0]
        if lease.crashes and not is_poison(lease):
            run_apart(runtime, lease, partial(_run_and_finish, runtime))
            return
        with runtime.solitude.together(within=_DOOR_SECONDS) as admitted:
            if not admitted:
                runtime.lanes.give_back([lease])
                return
            outcome = run_step(runtime, lease)
        last = time.monotonic() >= turn_ends or runtime.stopping.is_set()
        taken = _finish(runtime, outcome, take_next=not last)


def _run_and_finish(runtime: Runtime, lease: Lease) -> None:
    _finish(runtime, run_step(runtime, lease), take_next=False)


def run_step(runtime: Runtime, lease: Lease) -> StepOutcome:
    """Call the handler of a leased step and say how it ended; raises nothing that the handler raises."""
    try:
        item: dict[str, Any] = json.loads(lease.item)
        event = Event.from_record(item["event"], attempt=lease.runs + lease.crashes + 1)
    except Exception as error:  # stored by another version: kept for a person, and the lane goes on
        return _unreadable(runtime, lease, error)
    step = Step(runtime, lease, item, event)
    with step.about():
        return step.outcome(*_call(step, runtime.router.handlers.get(step.handler)))


def _call(step: Step, handler: Handler | None) -> tuple[Ending, list[AskedWrite]]:
    runtime, lease, event = step.runtime, step.lease, step.event
    if handler is None:
        return gone(step.handler) if _is_gone(runtime, step.handler) else not_here(), []
    if is_poison(lease):
        return crashed(lease), []
    later = Later(AskedBy(lease.account_id, event.id, handler.name, event.delivery_id, step.item.get("replay", "")))
    try:
        with _held(step, handler):
            handler.function(event, runtime.clients.client(lease.account_id, later))
        writes = [_asked(write, handler) for write in later.writes]
    # sys.exit() in a handler is a failure of it, not the end of a worker; so is a cancelled future that it lets out.
    except (Exception, SystemExit, CancelledError) as error:
        return ending_of(error, lease, handler), []
    _log.info("handled", ms=round(step.ms, 1), writes=len(writes))
    return Ending("done"), writes


@contextmanager
def _held(step: Step, handler: Handler) -> Iterator[None]:
    """Keep a step's lease while its handler runs, and give the step up in its stead when its time is over."""
    seconds = handler.timeout_seconds
    watched = Underway(step.lease, handler.name, seconds, partial(step.give_up, handler))
    # Kept a little longer: that its time is over may have to wait for Redis, and must not look like a crash.
    with (
        step.runtime.hanging.timing(watched),
        step.runtime.keeper.holding(step.runtime.lanes, step.lease, seconds=seconds + _SPARE_SECONDS),
    ):
        yield


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
        if outcome.lease.crashes:
            # Whoever took it counted a crash, and we live.
            runtime.lanes.renew([outcome.lease])
    if wake:
        runtime.waker.wake(LOOPS[OUTBOX])
    return taken
