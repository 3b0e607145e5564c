"""Do errands in threads of the receiver, outside of any request.

Kommo waits three seconds for an answer to its redirect after a widget's installation and never calls again, while an
exchange may take longer and may have to be repeated. So the door writes the errand down, answers, and this does it, one
errand at a time: strangers can make some, and deliveries need the process too. The thread lives only while there are
errands; those of a process that died are found by the next request of any other.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from kommo.errors import StoreUnavailable
from receiver.installs.errands import Errand, Errands

_log = structlog.get_logger(__name__)
#: Seconds between two looks for errands that another process left behind.
_LOOK_SECONDS: Final = 30.0
#: Seconds between two looks while there are errands, at most.
_ROUND_SECONDS: Final = 2.0
#: Errands that wait in memory for a Redis that is away.
_UNWRITTEN: Final = 100
#: Seconds between two attempts to write down what came of an errand, and for how long after its time there are any.
_AWAY_SECONDS: Final = 0.5
_OVERTIME_SECONDS: Final = 3600.0
#: Seconds after which an errand that failed for a reason nobody foresaw is tried again.
_AFTER_A_FAULT: Final = 60.0


@dataclass(frozen=True, slots=True)
class Done:
    """The errand is done; `outcome` is JSON for whoever asks, None when nobody will."""

    outcome: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """The errand is to be tried again, as it is now; with 0 seconds it goes on before all others."""

    errand: Errand
    seconds: float


Work = Callable[[Errand], Done | Again]


class Background:
    """The errands of a process. `work` does one, by its kind; it may raise StoreUnavailable.

    `at_rest` is called when there is nothing left to do.
    """

    def __init__(self, errands: Errands, work: Mapping[str, Work], at_rest: Callable[[], None] = lambda: None) -> None:
        self._errands = errands
        self._work = work
        self._at_rest = at_rest
        self._unwritten: dict[str, Errand] = {}
        self._changed = threading.Condition()
        self._poked = False
        self._thread: threading.Thread | None = None
        self._looked = 0.0

    def accept(self, errand: Errand, *, after: float = 0.0) -> bool:
        """Take an errand on, to be done after so many seconds; returns at once.

        False when Redis is away and too many wait in memory already.
        """
        try:
            self._errands.add(errand, after=after)
        except StoreUnavailable:
            with self._changed:
                if len(self._unwritten) >= _UNWRITTEN:
                    return False
                self._unwritten[errand.id] = errand
        self.poke()
        return True

    def look(self, id_: str) -> Errand | None:
        """Look an errand up; None when it is not known."""
        with self._changed:
            unwritten = self._unwritten.get(id_)
        return unwritten or self._errands.look(id_)

    def wait(self, id_: str, *, seconds: float) -> Errand | None:
        """Wait until an errand is done, wherever; give it as it is then."""
        ends = time.monotonic() + seconds
        while True:
            errand = self.look(id_)
            left = ends - time.monotonic()
            if errand is None or errand.outcome is not None or left <= 0:
                return errand
            with self._changed:
                # Another process may do it, and that is not notified.
                self._changed.wait(min(left, 0.25))

    def poke(self) -> None:
        """Look for errands now."""
        with self._changed:
            self._poked = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="errands", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def look_around(self) -> None:
        """Look for errands that others left behind, now and then; costs nothing in between."""
        if time.monotonic() >= self._looked + _LOOK_SECONDS:
            self._looked = time.monotonic()
            self.poke()

    def _run(self) -> None:
        try:
            self._go_on()
        except BaseException:
            # The next poke starts another one.
            with self._changed:
                self._thread = None
            raise

    def _go_on(self) -> None:
        while True:
            with self._changed:
                self._poked = False
            rest = self._round()
            if rest is None:
                # Nobody else calls, so that no call is under way now.
                self._at_rest()
            with self._changed:
                if rest is not None:
                    self._changed.wait_for(lambda: self._poked, timeout=rest)
                elif not self._poked:
                    self._thread = None
                    return

    def _round(self) -> float | None:
        """Do what is due; say in how many seconds to look again, None when nothing is left to do."""
        try:
            while errand := self._next():
                self._do(errand)
            due = self._errands.next_in()
        except StoreUnavailable:
            return _ROUND_SECONDS if self._unwritten else None
        if due is None:
            return None
        # One that is due and was not taken is held by another process.
        return min(due, _ROUND_SECONDS) if due > 0 else _ROUND_SECONDS

    def _next(self) -> Errand | None:
        # What waits in memory alone comes first: it would be lost with the process.
        self._write_down()
        return self._errands.take()

    def _write_down(self) -> None:
        with self._changed:
            unwritten = list(self._unwritten.values())
        for errand in unwritten:
            if errand.ends > time.time():
                self._errands.add(errand)
            else:
                _log.error("errand given up: its time is over, and Redis was away", errand=errand.kind)
            with self._changed:
                self._unwritten.pop(errand.id, None)

    def _do(self, errand: Errand) -> None:
        """Do an errand as far as it goes now."""
        left: Errand | None = errand
        while left is not None:
            left = self._settled(left, self._result(left))
        with self._changed:
            self._changed.notify_all()

    def _result(self, errand: Errand) -> Done | Again:
        try:
            return self._work[errand.kind](errand)
        except StoreUnavailable:
            return Again(errand, _ROUND_SECONDS)
        except Exception:  # a fault of ours must not lose the errand
            _log.exception("errand failed", errand=errand.kind)
            return Again(errand, _AFTER_A_FAULT)

    def _settled(self, errand: Errand, result: Done | Again) -> Errand | None:
        """Write down what came of it, however long Redis is away: nobody else may know the tokens that it holds.

        Gives the errand if it goes on at once.
        """
        while True:
            try:
                return self._write(errand, result)
            except StoreUnavailable:
                if time.time() >= errand.ends + _OVERTIME_SECONDS:
                    _log.error("errand given up: Redis was away", errand=errand.kind)
                    return None
                time.sleep(_AWAY_SECONDS)

    def _write(self, errand: Errand, result: Done | Again) -> Errand | None:
        match result:
            case Done(outcome):
                self._errands.finish(errand, outcome)
            case Again(changed, seconds) if seconds > 0:
                self._errands.postpone(changed, seconds=seconds)
            case Again(changed):
                # Not behind those that wait: what it has come to may be worth more than what they bring.
                further = replace(changed, tries=changed.tries + 1)
                self._errands.keep(further)
                return further
        return None
