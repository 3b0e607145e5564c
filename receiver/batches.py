"""Run requests side by side in one thread, so that what they write goes in one piece.

Each runs in a greenlet of its own up to the place where it has to wait: for a write, or for another server. There it
leaves the thread to the others. What several wait for is done together, and then each goes on with its own outcome. A
thread woken for each request would be dearer than the write.

While what is waited for takes a millisecond, the thread waits for it itself: meanwhile the next requests come, and make
up the next piece. What has taken long is done in a thread beside from then on, and nobody else waits for it.

A request must hold no lock while it waits here: the next one, in the same thread, would wait for it for ever. What does
the writing may hold locks, and needs them: `write_all` of one place may be called by that thread and by two beside at
the same time, and while other threads write to the same place without a batch.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from greenlet import getcurrent, greenlet

R = TypeVar("R")
#: Pieces that are done beside at a time for one place; requests that come meanwhile make up the next.
_BESIDE: Final = 2
#: Seconds that a piece may take for the next to be waited for, and for how long none is after one that took more.
_QUICK_SECONDS: Final = 0.02
_SLOW_FOR_SECONDS: Final = 5.0
#: Requests that one piece serves at most.
_A_PIECE: Final = 64
#: Calls to other servers that are made at a time.
_CALLS_AT_ONCE: Final = 16


class Writes(Protocol):
    """What does the same for many as one.

    It gives for each item what became of it, or an exception. What it raises concerns those that wait as well. It is
    called from several threads at once.
    """

    def write_all(self, items: Sequence[Any], /) -> Sequence[Any]: ...


class _Request(greenlet):  # type: ignore[misc]  # greenlet has no types
    """A request of a batch, and whom to tell of its end."""

    def __init__(self, call: Callable[[], Any], ended: Callable[[Any], None]) -> None:
        super().__init__(partial(_attempted, call, BaseException))
        self.ended = ended


#: Who waits, and for what.
_Wish = tuple[_Request, Any]


def in_batch() -> bool:
    """Say whether the caller is one of a batch."""
    return isinstance(getcurrent(), _Request)


def written(writes: Writes, item: Any) -> Any:
    """Have an item written with those of the batch; gives what `writes` gives for it. Only for one of a batch."""
    return getcurrent().parent.switch((writes, item))


def aside(call: Callable[[], R]) -> R:
    """Make a call that may wait for another server; in a batch, side by side with those of its other requests."""
    if not in_batch():
        return call()
    outcome: R | Exception = written(_ASIDE, call)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


class Batches:
    """Runs requests, all in the thread that calls `run` and `flush`.

    `do` has a piece of work done beside, and `back` has something called in this thread.
    """

    def __init__(self, do: Callable[[Callable[[], None]], Any], back: Callable[..., Any]) -> None:
        self._do = do
        self._back = back
        self._waiting: dict[Writes, list[_Wish]] = defaultdict(list)
        self._beside: Counter[Writes] = Counter()
        self._slow_until: dict[Writes, float] = {}

    def run(self, call: Callable[[], R], ended: Callable[[R | BaseException], None]) -> None:
        """Run a request as far as it comes; `ended` is told what it returns or raises, now or later."""
        self._go_on(_Request(call, ended))

    def flush(self) -> None:
        """Do what the requests wait for, or send it on its way."""
        while (writes := self._next()) is not None:
            wishes = self._waiting[writes]
            piece, self._waiting[writes] = wishes[:_A_PIECE], wishes[_A_PIECE:]
            if self._beside[writes] or time.monotonic() < self._slow_until.get(writes, 0.0):
                self._beside[writes] += 1
                self._do(partial(self._write_beside, writes, piece))
            else:
                self._written(writes, piece, self._write(writes, piece))

    def _next(self) -> Writes | None:
        for writes, wishes in self._waiting.items():
            if wishes and self._beside[writes] < _BESIDE:
                return writes
        return None

    def _write(self, writes: Writes, piece: Sequence[_Wish]) -> Any:
        began = time.monotonic()
        outcomes = _attempted(lambda: writes.write_all([item for _, item in piece]), Exception)
        if (now := time.monotonic()) - began > _QUICK_SECONDS:
            self._slow_until[writes] = now + _SLOW_FOR_SECONDS
        return outcomes

    def _write_beside(self, writes: Writes, piece: Sequence[_Wish]) -> None:
        self._back(self._written_beside, writes, piece, self._write(writes, piece))

    def _written_beside(self, writes: Writes, piece: Sequence[_Wish], outcomes: Any) -> None:
        self._beside[writes] -= 1
        self._written(writes, piece, outcomes)
        self.flush()

    def _written(self, writes: Writes, piece: Sequence[_Wish], outcomes: Any) -> None:
        if isinstance(outcomes, Exception):
            piece = [*piece, *self._waiting.pop(writes, ())]
            outcomes = [outcomes] * len(piece)
        for (request, _), outcome in zip(piece, outcomes, strict=True):
            self._go_on(request, outcome)

    def _go_on(self, request: _Request, *outcome: Any) -> None:
        said = request.switch(*outcome)
        if request.dead:
            request.ended(said)
        else:
            writes, item = said
            self._waiting[writes].append((request, item))


class _Aside:
    """Makes calls at once, so that they take as long as the longest of them and not all in turn."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def write_all(self, calls: Sequence[Callable[[], Any]]) -> Sequence[Any]:
        if len(calls) == 1:
            return [_attempted(calls[0], Exception)]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="aside")
        return list(self._pool.map(lambda call: _attempted(call, Exception), calls))


_ASIDE: Final = _Aside()


def _attempted(call: Callable[[], Any], kind: type[BaseException]) -> Any:
    """Give what a call returns or raises: whoever asked has to hear of it, and nobody else."""
    try:
        return call()
    except kind as error:
        return error
