"""One leased step: what its log lines are about, and what is recorded of its end, whoever records it."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import structlog

from kommo import log
from kommo.hooks.events import Event
from kommo.router import Handler
from kommo.store.chains import Lease
from kommo.store.lanes import AskedWrite, Finished, StepOutcome
from kommo.store.stories import life_seconds
from workers import noting
from workers.outcome import Ending, over_time
from workers.runtime import Runtime

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Step:
    """An event in a lane, under a lease. `item` is how it lies there."""

    runtime: Runtime
    lease: Lease
    item: Mapping[str, Any]
    event: Event
    began: float = field(default_factory=time.perf_counter)

    @property
    def handler(self) -> str:
        return str(self.item["handler"])

    @property
    def ms(self) -> float:
        """How long it has run."""
        return (time.perf_counter() - self.began) * 1000

    def about(self) -> AbstractContextManager[object]:
        """Bind what its log lines are about."""
        return log.about(
            delivery=self.event.delivery_id,
            account=self.lease.account_id,
            event=self.event.id,
            type=self.event.type,
            handler=self.handler,
            attempt=self.event.attempt,
        )

    def outcome(self, ending: Ending, writes: Sequence[AskedWrite] = ()) -> StepOutcome:
        """Say what is recorded of an ending."""
        return StepOutcome(
            lease=self.lease,
            verb=ending.verb,
            runner=self.runtime.runner(),
            stream_id=self.item["stream"],
            delay_ms=ending.delay_ms,
            writes=writes,
            dead=ending.letter(self.lease, self.event, self.item),
            told=noting.of_step(self.event, self.handler, ending, writes, round(self.ms)),
            story_seconds=life_seconds(self.runtime.settings.retention),
        )

    def give_up(self, handler: Handler, where: str) -> None:
        """Record, in its handler's stead, that its time is over; what the handler brings later is discarded.

        Raises:
            StoreUnavailable: it is not recorded yet.
        """
        with self.about():
            finished, _ = self.runtime.lanes.finish(self.outcome(over_time(self.lease, handler, where)))
            if finished is Finished.STALE:
                _log.info("time is over, and the step has gone on already", lane=self.lease.chain)
