"""What looks after a process of the fleet: which duties its guard has, and how it ends."""

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import structlog

from kommo.errors import StoreUnavailable
from kommo.queue import LOOPS
from kommo.store.connection import connect
from workers.guard import Deadman, Guard, Orphan
from workers.leaving import (
    AT_ONCE_SECONDS,
    PARENT_AT_ONCE_SECONDS,
    PARENT_SECONDS,
    PATIENCE_SECONDS,
    Leaving,
)
from workers.runtime import Runtime
from workers.watchdog import Pool, Watchdog

_log = structlog.get_logger(__name__)


class Children(Pool, Protocol):
    """A pool whose children can be told to end; threads are no children."""

    def tell(self, how: signal.Signals) -> None:
        """Ask them to end."""


def look_after_worker(runtime: Runtime, pool: Children, queues: Sequence[str], *, threads: bool) -> Leaving:
    """Guard a worker's main process; the answer is what makes it end."""

    def stop_taking() -> None:
        runtime.stopping.set()
        pool.tell(signal.SIGQUIT if leaving.at_once else signal.SIGTERM)

    leaving = Leaving(
        seconds=PATIENCE_SECONDS if threads else PARENT_SECONDS,
        at_once_seconds=AT_ONCE_SECONDS if threads else PARENT_AT_ONCE_SECONDS,
        first=stop_taking,
        last=partial(let_go, runtime),
    )
    runtime.hanging.end = partial(_end_of_itself, leaving)
    dog = Watchdog(connect(runtime.settings.broker), queues, pool, runtime.hanging.end)
    duties: list[Callable[[], None]] = [leaving.look]
    if threads:
        duties.append(Deadman().look)
    Guard(*duties).start()
    Guard(runtime.hanging.look, dog.look, name="watch").start()
    return leaving


def look_after_child(runtime: Runtime) -> Leaving:
    """Guard a prefork child, which runs one handler at a time."""
    leaving = Leaving(first=runtime.stopping.set, last=partial(let_go, runtime), is_idle=runtime.gates.is_idle)
    # Nothing else is lost with it, and its parent starts another.
    runtime.hanging.end = partial(os._exit, 1)
    Guard(leaving.look, Orphan().look, Deadman().look).start()
    Guard(runtime.hanging.look, name="watch").start()
    return leaving


def let_go(runtime: Runtime) -> None:
    """Hand back what is under way, and say that this process is gone."""
    try:
        returned = runtime.keeper.give_back()
        if returned:
            _log.warning("steps handed back: another worker runs them", steps=returned)
        runtime.fleet.leave(runtime.process, LOOPS)
    except StoreUnavailable as error:
        _log.warning("left without a word", error=str(error))


def _end_of_itself(leaving: Leaving) -> None:
    """End as if told to, but with a code after which every supervisor starts another one."""
    if not leaving.code:
        leaving.begin(code=1)
        os.kill(os.getpid(), signal.SIGTERM)
