"""Run requests side by side in one thread, so that what they write goes in one piece.

Each runs in a greenlet of its own up to the place where it has to wait for a write. When all have come so far, their
writes are done together, and each goes on with its own outcome. Nobody waits for a lock, and no thread is woken: with
a thread for each request that costs more than the write.

A request must hold no lock while it waits here: the next one, in the same thread, would wait for it for ever.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Generic, Protocol, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")
R = TypeVar("R")
#: Calls of a batch that are made at once.
_CALLS_AT_ONCE: Final = 32


class Writes(Protocol):
    """What writes many items as one; gives for each what became of it, or an exception, and raises nothing."""

    def write_all(self, items: Sequence[Any], /) -> Sequence[Any]: ...


class _Wish(Generic[R]):
    """A request that waits for a write."""

    __slots__ = ("item", "place", "request", "writes")

    def __init__(self, place: int, request: greenlet, asked: tuple[Writes, Any]) -> None:
        self.place = place
        self.request = request
        self.writes, self.item = asked


class _Request(greenlet):  # type: ignore[misc]  # greenlet has no types
    """A greenlet that is one of a batch."""


def in_batch() -> bool:
    """Say whether the caller is one of a batch."""
    return isinstance(getcurrent(), _Request)


def written(writes: Writes, item: Any) -> Any:
    """Have an item written with those of the batch; gives what `writes` gives for it. Only for one of a batch."""
    parent: Any = getcurrent().parent
    return parent.switch((writes, item))


def aside(call: Callable[[], R]) -> R:
    """Make a call that may wait for another server; in a batch, those of all its requests side by side in threads."""
    if not in_batch():
        return call()
    outcome: R | Exception = written(_ASIDE, call)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


class _Aside:
    """Makes calls at once, so that a batch waits for the longest of them and not for all in turn."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def write_all(self, calls: Sequence[Callable[[], Any]]) -> Sequence[Any]:
        if len(calls) == 1:
            return [_attempted(calls[0])]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="aside")
        return list(self._pool.map(_attempted, calls))


_ASIDE: Final = _Aside()


def _attempted(call: Callable[[], R]) -> R | Exception:
    try:
        return call()
    except Exception as error:  # whoever asked has to hear of it, and nobody else
        return error


def run_together(calls: Sequence[Callable[[], R]]) -> list[R | BaseException]:
    """Run calls side by side; gives in their order what they return or raise."""
    results: list[Any] = [None] * len(calls)
    waiting: list[_Wish[R]] = []
    for place, call in enumerate(calls):
        _go_on(results, waiting, place, _Request(_caught(call)))
    while waiting:
        wishes, waiting = waiting, []
        writes = wishes[0].writes
        together = [wish for wish in wishes if wish.writes is writes]
        waiting = [wish for wish in wishes if wish.writes is not writes]
        for wish, outcome in zip(together, writes.write_all([wish.item for wish in together]), strict=True):
            _go_on(results, waiting, wish.place, wish.request, outcome)
    return results


def _caught(call: Callable[[], R]) -> Callable[[], R | BaseException]:
    def run() -> R | BaseException:
        try:
            return call()
        except BaseException as error:  # it would come out of the others' way as well
            return error

    return run


def _go_on(results: list[Any], waiting: list[_Wish[Any]], place: int, request: greenlet, *outcome: Any) -> None:
    asked = request.switch(*outcome)
    if request.dead:
        results[place] = asked
    else:
        waiting.append(_Wish(place, request, asked))
