"""How a step ends: what a handler's error means, and what goes into a dead letter."""

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from kommo.api.calls import NO_TURN
from kommo.errors import ApiError, NeedsAttention, Refused, RequestError, TryLater, named
from kommo.hooks.events import Event
from kommo.router import Handler
from kommo.store.chains import Lease
from kommo.store.dead import DeadLetter
from kommo.store.lanes import Verb
from kommo.verdicts import Reject, Retry
from workers.backoff import backoff_ms

_log = structlog.get_logger(__name__)
#: Leases that end unfinished before a step is given up, all but the first while it had its process for itself. Apart
#: from the attempts: neighbours of a crash and lost answers of Redis look the same, and are nobody's failure.
CRASHES: Final = 3
#: ms after which a lane whose handler nobody here knows is looked at again.
_NOT_HERE_MS: Final = 3_000


@dataclass(frozen=True)
class Ending:
    """The verb that is recorded, the wait before the next run, and why it was given up or has to run again."""

    verb: Verb
    delay_ms: int = 0
    reason: str = ""
    error: str = ""
    traceback: str = ""

    def letter(self, lease: Lease, event: Event, item: Mapping[str, Any]) -> DeadLetter | None:
        """Make the dead letter of a step that is given up; it holds the step as it lay in its lane."""
        if self.verb != "dead":
            return None
        return DeadLetter(
            id=f"{event.id}.{item['handler']}",
            kind="step",
            account_id=lease.account_id,
            reason=self.reason,
            error=self.error,
            at_ms=time.time_ns() // 1_000_000,
            delivery_id=event.delivery_id,
            traceback=self.traceback,
            handler=item["handler"],
            attempt=event.attempt,
            item={"lane": lease.chain, **item},
        )


def ending_of(error: BaseException, lease: Lease, handler: Handler) -> Ending:
    """Say what becomes of a step whose handler raised."""
    if isinstance(error, Retry):
        delay = backoff_ms(lease.runs + 1) if error.after is None else round(error.after * 1000)
        _log.info("again later", reason=error.reason, in_ms=delay)
        return Ending("again", delay_ms=delay, error=error.reason)
    if isinstance(error, Reject):
        _log.info("rejected by the handler", reason=error.reason)
        return Ending("dead", reason="rejected", error=error.reason)
    if isinstance(error, ApiError) and (error.code == NO_TURN or isinstance(error, NeedsAttention)):
        return _nobodys_failure(error, lease)
    if isinstance(error, Refused | RequestError):
        return _given_up("refused", error)
    failures = lease.failures + 1
    if failures >= handler.attempts:
        return _given_up("attempts_exhausted", error)
    delay = backoff_ms(failures, at_least=error.after if isinstance(error, TryLater) else None)
    _log.warning("handler failed, again later", error=named(error), in_ms=delay, exc_info=not _is_ours(error))
    return Ending("failed", delay_ms=delay, error=named(error))


def _nobodys_failure(error: ApiError, lease: Lease) -> Ending:
    """Keep the event: the fleet has more to say than Kommo listens to, or a person has to pay or to install anew."""
    if isinstance(error, TryLater):
        return Ending("again", delay_ms=backoff_ms(lease.runs + 1, at_least=error.after), error=named(error))
    delay = backoff_ms(lease.runs + 1)
    _log.warning("handler waits for a person", error=named(error), in_ms=delay)
    return Ending("again", delay_ms=delay, error=named(error))


def is_poison(lease: Lease) -> bool:
    """Say whether a step has ended so many processes that it is not run any more."""
    return lease.crashes >= CRASHES and lease.alone >= CRASHES - 1


def crashed(lease: Lease) -> Ending:
    """Give up a step that ended its process time and again."""
    _log.error("given up", reason="crashed", crashes=lease.crashes)
    error = (
        f"the process ended {lease.crashes} times while the handler ran, {lease.alone} times with nothing else in it"
    )
    return Ending("dead", reason="crashed", error=error)


def over_time(lease: Lease, handler: Handler, where: str) -> Ending:
    """Say what becomes of a step whose handler has not come back in time; `where` is what it was doing."""
    error = f"the handler ran for longer than its timeout= of {handler.timeout_seconds:g} s"
    failures = lease.failures + 1
    if failures >= handler.attempts:
        _log.error("given up", reason="attempts_exhausted", error=error, stack=where)
        return Ending("dead", reason="attempts_exhausted", error=error, traceback=where)
    delay = backoff_ms(failures)
    _log.warning("handler failed, again later", error=error, in_ms=delay, stack=where)
    return Ending("failed", delay_ms=delay, error=error)


def gone(name: str) -> Ending:
    """Give up a step whose handler no worker has known for an hour."""
    _log.error("given up", reason="handler_gone")
    return Ending("dead", reason="handler_gone", error=f"no worker has had a handler {name} for an hour")


def not_here() -> Ending:
    """Leave a step to a worker that knows its handler."""
    return Ending("postpone", delay_ms=_NOT_HERE_MS)


def _given_up(reason: str, error: BaseException) -> Ending:
    _log.error("given up", reason=reason, error=named(error), exc_info=not _is_ours(error))
    return Ending("dead", reason=reason, error=named(error), traceback="".join(traceback.format_exception(error)))


def _is_ours(error: BaseException) -> bool:
    """A call that Kommo refused is told by its sentence; only a handler's own fault needs the traceback."""
    return isinstance(error, ApiError | RequestError)
