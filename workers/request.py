"""One request of the flush: leased writes, read and sorted, sent together, and what became of each recorded."""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Any, Final

import structlog

from kommo import log
from kommo.api.bulk import Batch, pack
from kommo.api.calls import Caller
from kommo.api.doubt import may_be_done, search_for
from kommo.api.turnstile import HeldSlot
from kommo.api.writes import Write
from kommo.errors import Action, ApiError, KommoError, NeedsAttention, NotFound, Refused, StoreUnavailable, named
from kommo.store.echoes import Expected
from kommo.store.limiter import Slot
from kommo.store.outbox import FAILED, Pile, PileOutcome, Piles
from kommo.store.stories import Line
from workers.letters import unreadable
from workers.noting import of_pile
from workers.patience import patiently
from workers.runtime import Runtime
from workers.sending import Load, dead, done, failed, found, sort_out

_log = structlog.get_logger(__name__)
#: Seconds a request may take in all before its leases are given up: longer than a call's deadline, and twice that for
#: a creation that is looked for first.
_REQUEST_SECONDS: Final = 120.0
#: Seconds for which an account that needs a person's help, or a new token, is left alone.
_REST_SECONDS: Final = 60.0
#: Steps that a log line names.
_STEPS_LOGGED: Final = 50


class Request:
    """The writes that one slot is spent on."""

    def __init__(self, runtime: Runtime, taken: Piles, held: HeldSlot) -> None:
        self._runtime = runtime
        self._account = taken.account_id
        self._taken = taken
        self._held = held
        self._outcomes: list[PileOutcome] = []
        #: By their chain: the writes of each pile, resolved if they are ready to go, and why they came to nothing.
        self._writes: dict[str, Sequence[Write]] = {}
        self._errors: dict[str, str] = {}
        self._rests = False

    def send(self) -> None:
        """Send what is ready, and record how every pile ended."""
        runtime = self._runtime
        with runtime.keeper.holding(
            runtime.outbox, *(pile.lease for pile in self._taken.piles), seconds=_REQUEST_SECONDS
        ):
            read = [(pile, writes) for pile in self._taken.piles if (writes := self._read(pile))]
            loads = self._sorted(read)
            self._writes = {pile.lease.chain: writes for pile, writes in read}
            self._writes |= {load.pile.lease.chain: load.writes for load in loads}
            if loads:
                with _about(self._account, loads):
                    self._outcomes += self._sent(loads)
        self._record()

    def _sorted(self, read: Sequence[tuple[Pile, Sequence[Write]]]) -> Sequence[Load]:
        """Give what is ready to go; the rest waits. Nothing is in doubt when it could not be found out."""
        needed = {write_id for _, writes in read for write in writes for write_id in write.needs}
        try:
            results = self._runtime.outbox.results(self._account, needed)
        except StoreUnavailable:
            self._outcomes += [PileOutcome(pile.lease, "postpone") for pile, _ in read]
            return []
        loads, waiting = sort_out(read, results)
        self._outcomes += waiting
        return loads

    def _read(self, pile: Pile) -> list[Write]:
        """Read a pile's writes as far as they can be; a first one that cannot is kept for a person."""
        writes: list[Write] = []
        for item in pile.items:
            try:
                writes.append(Write.from_record(json.loads(item)))
            except Exception as error:  # stored by another version
                if not writes:
                    letter = unreadable("write", pile.lease, error)
                    outcome = PileOutcome(pile.lease, "dead", done=1, results={letter.id: FAILED}, dead=[letter])
                    self._outcomes.append(outcome)
                break
        return writes

    def _sent(self, loads: Sequence[Load]) -> list[PileOutcome]:
        batch: Batch | None = None
        expected: Expected | None = None
        try:
            call = self._runtime.clients.caller(self._account, self._held)
            if loads[0].pile.doubtful and (settled := self._settled(loads[0], call)):
                return [settled]
            batch = pack([load.writes for load in loads])
            expected = self._runtime.shared.echoes.expect(self._account, batch.method, batch.path, batch.json)
            answer: Any = call(batch.method, batch.path, None, batch.json)
        except Exception as error:  # sorted by what it means for each write
            self._shrink(batch, error)
            self._rests = isinstance(error, NeedsAttention)
            self._errors = {load.pile.lease.chain: named(error) for load in loads}
            if expected and isinstance(error, KommoError) and not may_be_done(error):
                with suppress(StoreUnavailable):
                    self._runtime.shared.echoes.withdraw(expected)
            return failed(loads, batch, error)
        _log.info("written", resource=batch.resource, method=batch.method, entities=len(batch.entries), **_said(loads))
        return done(loads, batch, answer)

    def _settled(self, load: Load, call: Caller[Slot]) -> PileOutcome | None:
        """Say how a creation that may have been done ends without being sent again; None when it has to be."""
        write = load.head
        if write.on_doubt == "park":
            return dead(load.pile, write, "in_doubt", "its answer was lost, and its handler wants it parked then")
        search = search_for(write) if write.on_doubt == "look" else None
        if search is None:
            return None
        try:
            id_ = search.found(call("GET", search.path, search.params))
        except NotFound:
            return None
        except Refused as error:
            _log.warning("write cannot be looked for, sent again", write=write.id, error=str(error))
            return None
        return None if id_ is None else found(load, id_)

    def _shrink(self, batch: Batch | None, error: Exception) -> None:
        if batch and isinstance(error, ApiError) and error.action is Action.HALVE and len(batch.entries) > 1:
            half = max(1, len(batch.entries) // 2)
            _log.warning("Kommo did not cope: fewer entities a request", entities=len(batch.entries), now=half)
            self._runtime.outbox.shrink(self._account, half)

    def _record(self) -> None:
        runtime, taken = self._runtime, self._taken
        told = [replace(outcome, told=self._told(outcome)) for outcome in self._outcomes]
        recorded = patiently(lambda: runtime.outbox.finish_piles(taken.account_id, taken.token, runtime.runner(), told))
        if self._rests:
            # Parked or not: the same refusal would come at once to whatever is due next.
            runtime.outbox.hold(self._account, seconds=_REST_SECONDS)
        for outcome, came in zip(self._outcomes, recorded, strict=True):
            if not came:
                chain = outcome.lease.chain
                _log.warning("write came too late: another worker has sent it too", account=self._account, chain=chain)

    def _told(self, outcome: PileOutcome) -> list[Line]:
        chain = outcome.lease.chain
        return of_pile(outcome, self._writes.get(chain, ()), self._errors.get(chain, ""))


def _about(account_id: int, loads: Sequence[Load]) -> AbstractContextManager[object]:
    """Bind what the log lines of a request are about: all of it when it is one step's, else the account."""
    steps = {(write.delivery_id, write.event_id, write.handler) for load in loads for write in load.writes}
    if len(steps) > 1:
        return log.about(account=account_id)
    delivery, event, handler = steps.pop()
    return log.about(delivery=delivery, account=account_id, event=event, handler=handler)


def _said(loads: Sequence[Load]) -> dict[str, Any]:
    """Say whose writes a request has carried out: delivery, event, handler, and how many."""
    by = Counter((write.delivery_id, write.event_id, write.handler) for load in loads for write in load.writes)
    return {"writes": by.total(), "by": [[*step, number] for step, number in list(by.items())[:_STEPS_LOGGED]]}
