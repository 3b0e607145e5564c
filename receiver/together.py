"""Let threads that come at once do their writes together: whoever finds nobody writing writes for all that wait.

A write for many costs little more than one (one round trip, one fsync), and who comes alone is not handed to another
thread. Requests that run side by side in one thread (see receiver.batches) bring what they have to write in one piece.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, TypeVar

from kommo.errors import StoreUnavailable
from receiver.batches import in_batch, written

T = TypeVar("T")
R = TypeVar("R")

_WAITS, _TAKEN, _LEADS, _DONE = range(4)
#: The share of its time after which a thread that was not served yet does not begin to write.
_TOO_LATE: Final = 0.5
#: Seconds that a write has at least. What has waited in vain for this process itself is no sign that Redis, or the
#: disk, is slow: a thread that serves a hundred requests has not looked after the first before it has the last.
_LEAST_SECONDS: Final = 0.1
_TOO_SLOW: Final = "the writes before this one have taken too long"


class _Place(Generic[T, R]):
    """One thread's place in the row."""

    __slots__ = ("bell", "ends", "item", "outcome", "state")

    #: Set before its thread is called.
    outcome: R | Exception

    def __init__(self, item: T, ends: float) -> None:
        self.item = item
        #: When its thread waits no longer.
        self.ends = ends
        self.state = _WAITS
        self.bell = threading.Lock()
        self.bell.acquire()

    def call(self, state: int) -> None:
        self.state = state
        self.bell.release()


class Together(Generic[T, R]):
    """Writes items of many, at most `most` by weight at a time; of threads, so many are `writers` at once.

    `write` takes the items in the order in which they came, and the time (time.monotonic) at which it has to be done.
    It gives for each item what became of it, or an exception. When it raises, all that it was given have failed, and
    those that wait as well: they would wait for the same.

    A batch brings its items by `write_all`, past the row of threads and beside their `writers`: `write` has to bear
    being called at the same time from several threads, whatever `writers` is.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T], float], Sequence[R | Exception]],
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

        The seconds are for waiting and writing together. A write that is begun for several has as long as the one of
        them that has the least time left, or a tenth of a second.

        Raises:
            StoreUnavailable: not done after so many seconds; it may be done yet.
            Exception: whatever came of the item.
        """
        ends = time.monotonic() + seconds
        if in_batch():
            return self._given(written(self, (item, ends)))
        place: _Place[T, R] = _Place(item, ends)
        with self._mutex:
            leads = self._writing < self._writers
            if leads:
                self._writing += 1
            else:
                self._row.append(place)
        if leads or self._called_to_lead(place, seconds):
            self._lead(place)
        return self._given(place.outcome)

    def write_all(self, items: Sequence[tuple[T, float]]) -> Sequence[R | Exception]:
        """Write the items of a batch, each with the time at which it has to be done, in one piece or several.

        One deadline is for all of it: what is not written by then fails, as does all that comes after a failure.
        Raises whatever `write` raises at the first.
        """
        ends = _deadline([ends for _, ends in items])
        outcomes: list[R | Exception] = []
        for piece in self._pieces([item for item, _ in items]):
            if outcomes and time.monotonic() >= ends:
                return _filled(outcomes, StoreUnavailable(_TOO_SLOW), len(items))
            try:
                outcomes += self._write(piece, ends)
            except Exception as error:  # whatever it is, every item that is left has to hear of it
                if not outcomes:
                    raise
                return _filled(outcomes, error, len(items))
        return outcomes

    def _pieces(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        """Cut items so that none of the parts is too much."""
        begin, weight = 0, 0
        for place, item in enumerate(items):
            weight += self._weight(item)
            if place > begin and weight > self._most:
                yield items[begin:place]
                begin, weight = place, self._weight(item)
        yield items[begin:]

    @staticmethod
    def _given(outcome: R | Exception) -> R:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _called_to_lead(self, place: _Place[T, R], seconds: float) -> bool:
        """Wait until the item is done (False) or the thread has to write for those that wait now (True)."""
        began = time.monotonic()
        place.bell.acquire(timeout=max(0.0, seconds))
        with self._mutex:
            if place.state == _DONE:
                return False
            if place.state == _LEADS and time.monotonic() - began < seconds * _TOO_LATE:
                return True
            if place.state == _WAITS:
                self._row.remove(place)
            if place.state == _LEADS:
                self._hand_on()
        raise StoreUnavailable(_TOO_SLOW)

    def _lead(self, first: _Place[T, R]) -> None:
        with self._mutex:
            batch = self._cut(first)
        failure: Exception | None = None
        outcomes: Sequence[R | Exception]
        try:
            outcomes = self._write([one.item for one in batch], _deadline([one.ends for one in batch]))
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


def _deadline(all_ends: Sequence[float]) -> float:
    return max(min(all_ends), time.monotonic() + _LEAST_SECONDS)


def _filled(outcomes: Sequence[R | Exception], error: Exception, number: int) -> list[R | Exception]:
    """Give the same error to all that have no outcome yet."""
    return [*outcomes, *[error] * (number - len(outcomes))]
