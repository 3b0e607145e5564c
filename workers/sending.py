"""Sending one write: what an answer of Kommo's means for it."""

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from kommo.api.calls import Caller
from kommo.api.writes import Write, request_of, result_of
from kommo.errors import ApiError, NeedsAttention, Refused, RequestError, StoreUnavailable, TryLater, named
from kommo.store.chains import Lease
from kommo.store.dead import DeadLetter
from kommo.store.limiter import Slot
from kommo.store.outbox import FAILED, RESULT_SECONDS, Verb, WriteOutcome
from workers.backoff import backoff_ms

_log = structlog.get_logger(__name__)
#: Tries of a write before it becomes a dead letter; with the longest waits that is about two hours.
ATTEMPTS: Final = 16
#: ms after which a write that waits for another one is looked at again.
_NEEDS_MS: Final = 200


@dataclass(frozen=True)
class Sending:
    """A leased write on its way."""

    write: Write
    lease: Lease
    sender: str

    def unless_ready(self, results: Mapping[str, str]) -> WriteOutcome | None:
        """Say how it ends without a call: it waits for a write it refers to, or that one has failed."""
        if any(results.get(needed) == FAILED for needed in self.write.needs):
            return self._dead("depends_on_failed", "a write whose result it needs has failed")
        if any(needed not in results for needed in self.write.needs):
            if (datetime.now(UTC) - self.write.asked_at).total_seconds() > RESULT_SECONDS:
                return self._dead("depends_on_lost", "the result that it needs is no longer known")
            return self._outcome("postpone", delay_ms=_NEEDS_MS)
        if self.lease.crashes >= ATTEMPTS:
            return self._dead("crashed", f"its sender did not come back {self.lease.crashes} times")
        return None

    def send(self, call: Caller[Slot], results: Mapping[str, str]) -> WriteOutcome:
        """Make the call and say how the write ended."""
        try:
            ready = self.write.resolve({needed: int(results[needed]) for needed in self.write.needs})
            method, path, body = request_of(ready)
            answer: Any = call(method, path, None, body)
        except (Refused, RequestError, ValueError) as error:
            return self._dead("refused", named(error), error)
        except ApiError as error:
            return self._again(error)
        except StoreUnavailable:
            return self._outcome("failed", delay_ms=backoff_ms(self.lease.failures + 1))
        except Exception as error:  # a fault of ours: kept with its traceback rather than tried for ever
            return self._dead("sending_failed", named(error), error)
        if self.write.action != "create":
            return self._outcome("done")
        # Without an id those that refer to it could wait for ever.
        return self._outcome("done", result=str(result_of(self.write, answer).get("id") or FAILED))

    def _again(self, error: ApiError) -> WriteOutcome:
        failures = self.lease.failures + 1
        if failures >= ATTEMPTS and not isinstance(error, NeedsAttention):
            return self._dead("attempts_exhausted", named(error), error)
        delay = backoff_ms(failures, at_least=error.after if isinstance(error, TryLater) else None)
        _log.warning("write failed, again later", write=self.write.id, error=named(error), in_ms=delay)
        return self._outcome("failed", delay_ms=delay)

    def _dead(self, reason: str, sentence: str, error: Exception | None = None) -> WriteOutcome:
        _log.error("write given up", write=self.write.id, reason=reason, error=sentence)
        letter = DeadLetter(
            id=self.write.id,
            kind="write",
            account_id=self.lease.account_id,
            reason=reason,
            error=sentence,
            at_ms=time.time_ns() // 1_000_000,
            delivery_id=self.write.delivery_id,
            traceback="".join(traceback.format_exception(error)) if error else "",
            handler=self.write.handler,
            attempt=self.lease.runs + 1,
            item=self.write.to_record(),
        )
        return self._outcome("dead", result=FAILED, dead=letter)

    def _outcome(
        self, verb: Verb, *, delay_ms: int = 0, result: str = "", dead: DeadLetter | None = None
    ) -> WriteOutcome:
        return WriteOutcome(self.lease, verb, self.sender, self.write.id, delay_ms=delay_ms, result=result, dead=dead)
