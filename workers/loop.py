"""What drain, run and flush have in common: serve the accounts in turn until nothing is due, then rest."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from kommo.errors import StoreUnavailable
from kommo.queue import LOOPS
from kommo.store.loops import Picked
from workers.runtime import Runtime

_log = structlog.get_logger(__name__)
#: Seconds after which a loop gives its thread back, and asks for another loop if there is more to do.
BUDGET_SECONDS: Final = 5.0
#: Seconds one account is served before the next one's turn.
TURN_SECONDS: Final = 0.1


@dataclass(frozen=True)
class Loop:
    """One kind of loop: the queue that it serves, and how."""

    queue: str
    #: Serves one account for a turn, knowing how many others wait.
    serve: Callable[[int, int], None]
    #: How long an account is kept from other loops, in ms.
    hold_ms: int = 0
    #: Called when nothing is due, with the ms until something is if that is known; True to look again.
    linger: Callable[[int | None], bool] = lambda _: False


def serve_accounts(runtime: Runtime, loop: Loop, *, budget: float = BUDGET_SECONDS) -> None:
    """Serve the accounts that have something due, the longest waiting first, within the budget.

    Returns at once when this process runs enough such loops already. Redis being away ends the loop; a sweeper
    starts another when it is back.
    """
    with runtime.gates.entering(loop.queue) as admitted:
        if not admitted:
            return
        try:
            _serve_until(runtime, loop, time.monotonic() + budget)
        except StoreUnavailable as error:
            _log.warning("loop ended", queue=loop.queue, error=str(error))


def _serve_until(runtime: Runtime, loop: Loop, ends: float) -> None:
    name, first = runtime.token(), True
    while not runtime.stopping.is_set():
        if time.monotonic() >= ends:
            runtime.waker.wake(LOOPS[loop.queue])
            return
        picked = _pick(runtime, loop, name, first=first)
        first = False
        if picked.account_id is not None:
            if picked.more:
                wake_sibling(runtime, loop.queue, picked.account_id)
            loop.serve(picked.account_id, picked.more)
        elif not loop.linger(picked.due_in_ms):
            return


def _pick(runtime: Runtime, loop: Loop, name: str, *, first: bool) -> Picked:
    shards = runtime.keys.shards
    start = random.randrange(shards)  # noqa: S311 - so that no shard always comes last
    waits: list[int] = []
    for shard in range(start, start + shards):
        picked = runtime.loops[loop.queue].pick(shard % shards, name, first=first, hold_ms=loop.hold_ms)
        if picked.account_id is not None:
            return picked
        if picked.due_in_ms is not None:
            waits.append(picked.due_in_ms)
    return Picked(None, 0, min(waits, default=None))


def wake_sibling(runtime: Runtime, queue: str, account_id: int) -> None:
    """Ask for one more loop where the fleet may run one more, and none is on its way."""
    shard = runtime.keys.shard(account_id)
    if runtime.loops[queue].want_sibling(shard, at_most=runtime.fleet_capacity(queue)):
        runtime.waker.wake(LOOPS[queue])
