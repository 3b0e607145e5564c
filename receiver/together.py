"""Let threads that come at once do their writes together: whoever finds nobody writing writes for all that wait.

A write for many costs little more than one (one round trip, one fsync), and who comes alone is not handed to another
thread.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from kommo.errors import StoreUnavailable
from receiver.batches import in_batch, written

T = TypeVar("T")
R = TypeVar("R")

_WAITS, _TAKEN, _LEADS, _DONE = range(4)
#: The share of its time after which a thread that was not served yet does not begin to write.
_TOO_LATE: Final = 0.5


class _Place(Generic[T, R]):
    """One thread's place in the row."""

    __slots__ = ("bell", "item", "outcome", "state")

    #: Set before its thread is called.
    outcome: R | Exception

    def __init__(self, item: T) -> None:
        self.item = item
        self.state = _WAITS
        self.bell = threading.Lock()
        self.bell.acquire()

    def call(self, state: int) -> None:
        self.state = state
        self.bell.release()


class Together(Generic[T, R]):
    """Writes items of many threads, at most `most` by weight at a time, with so many `writers` at once.

    `write` takes the items in the order in which they came, and gives for each what became of it, or an exception.
    When it raises, all that it was given have failed, and those that wait as well: they would wait for the same.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        weight: Callable[[T], int],
        most: int,
        writers: int = 1,
    ) -> None:
        self._write = write
        self._weight = weight
        self._most = most
        self._mutex = threading.Lock()
        self._row: deque[_Place[T, R]] = deque()
        self._writers = writers
        self._writing = 0

    def put(self, item: T, *, seconds: float) -> R:
        """Have an item written, and give what became of it.

        Raises:
            StoreUnavailable: not done after so many seconds; it may be done yet.
            Exception: whatever came of the item.
        """
        if in_batch():
            return self._given(written(self, item))
        place: _Place[T, R] = _Place(item)
        with self._mutex:
            leads = self._writing < self._writers
            if leads:
                self._writing += 1
            else:
                self._row.append(place)
        if leads or self._called_to_lead(place, seconds):
            self._lead(place)
        return self._given(place.outcome)

    def write_all(self, items: Sequence[T]) -> Sequence[R | Exception]:
        """Write items that are there already, as many at a time as are not too much; those after a failure fail too.

        Raises whatever `write` raises at the first.
        """
        outcomes: list[R | Exception] = []
        rest = deque(items)
        while rest:
            batch, weight = [rest.popleft()], self._weight(items[len(outcomes)])
            while rest and (weight := weight + self._weight(rest[0])) <= self._most:
                batch.append(rest.popleft())
            try:
                outcomes += self._write(batch)
            except Exception as error:  # whatever it is, every item that is left has to hear of it
                if not outcomes:
                    raise
                return [*outcomes, *[error] * (len(batch) + len(rest))]
        return outcomes

    @staticmethod
    def _given(outcome: R | Exception) -> R:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _called_to_lead(self, place: _Place[T, R], seconds: float) -> bool:
        """Wait until the item is done (False) or the thread has to write for those that wait now (True)."""
        began = time.monotonic()
        place.bell.acquire(timeout=seconds)
        with self._mutex:
            if place.state == _DONE:
                return False
            if place.state == _LEADS and time.monotonic() - began < seconds * _TOO_LATE:
                return True
            if place.state == _WAITS:
                self._row.remove(place)
            if place.state == _LEADS:
                self._hand_on()
        raise StoreUnavailable("the writes before this one have taken too long")

    def _lead(self, first: _Place[T, R]) -> None:
        with self._mutex:
            batch = self._cut(first)
        failure: Exception | None = None
        outcomes: Sequence[R | Exception]
        try:
            outcomes = self._write([one.item for one in batch])
        except Exception as error:  # whatever it is, every thread of the batch has to hear of it
            outcomes, failure = [error] * len(batch), error
        with self._mutex:
            if failure is not None:
                outcomes = [*outcomes, *[failure] * len(self._row)]
                batch += self._row
                self._row.clear()
            for one, outcome in zip(batch, outcomes, strict=True):
                one.outcome = outcome
                one.call(_DONE)
            self._hand_on()

    def _cut(self, first: _Place[T, R]) -> list[_Place[T, R]]:
        """Take as many of the row behind the first as are not too much."""
        batch, weight = [first], self._weight(first.item)
        while self._row and (weight := weight + self._weight(self._row[0].item)) <= self._most:
            batch.append(self._row.popleft())
            batch[-1].state = _TAKEN
        return batch

    def _hand_on(self) -> None:
        if self._row:
            self._row.popleft().call(_LEADS)
        else:
            self._writing -= 1
