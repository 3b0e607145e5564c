"""Sweep: twice a second, outside the pool, notice due work that nobody took, and say that this process lives."""

import os
import random
import signal
import threading
from collections.abc import Callable
from typing import Final

import structlog

from kommo.errors import StoreError, StoreUnavailable
from kommo.queue import LOOPS
from workers.probing import Prober, address_of
from workers.runtime import Runtime

_log = structlog.get_logger(__name__)
EVERY_SECONDS: Final = 0.5
#: ms that work may be late before a loop is woken for it. A wake-up that arrives needs a few.
_LATE_MS: Final = 200
#: ms after which the hints evidently do not arrive: who sweeps then serves the work itself.
_UNHEARD_MS: Final = 3_000


class Sweeper:
    """The thread that makes good every hint that was lost, and every loop that died."""

    def __init__(self, runtime: Runtime, serve: Callable[[str], None] = lambda _: None) -> None:
        self._runtime = runtime
        #: Runs a loop in this process, outside the pool, if one more may run here.
        self._serve = serve
        self._checked = False
        self._prober = Prober(runtime)
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self.sweep()
            except StoreUnavailable as error:
                _log.warning("sweep skipped", error=str(error))
            except Exception:  # whatever it was, the next sweep must come
                _log.exception("sweep failed")
            # Not in step with the others, or the same one would sweep for ever; it may not serve all queues.
            if self._runtime.stopping.wait(EVERY_SECONDS * random.uniform(0.7, 1.3)):  # noqa: S311 - no secret
                return

    def sweep(self) -> None:
        """Announce this process; and, if no other one has just done so, wake loops for what is late.

        Who sweeps also sees to it that what Kommo has blocked is tried now and then.
        """
        runtime = self._runtime
        self._check_shards()
        sweeps = runtime.fleet.announce(
            runtime.process, runtime.gates.capacity, runtime.router.handlers, sweep_ms=int(EVERY_SECONDS * 900)
        )
        if not sweeps:
            return
        for queue, task in LOOPS.items():
            if self._late(queue, by_ms=_LATE_MS):
                runtime.waker.wake(task)
                if self._late(queue, by_ms=_UNHEARD_MS):
                    self._serve(task)
        if runtime.shared.brakes.probes_due(address=address_of(runtime)):
            self._prober.look()

    def _late(self, queue: str, *, by_ms: int) -> bool:
        loops = self._runtime.loops[queue]
        return any(loops.overdue(shard, by_ms=by_ms) for shard in range(self._runtime.keys.shards))

    def _check_shards(self) -> None:
        """End a worker that would look for the work in the wrong place; Redis may have been away at its start."""
        if self._checked:
            return
        try:
            self._runtime.fleet.check_shards(self._runtime.settings.shards)
        except StoreUnavailable:
            raise
        except StoreError as error:
            _log.critical("this worker ends", error=str(error))
            os.kill(os.getpid(), signal.SIGTERM)
        self._checked = True
