"""Requests side by side in one thread: what they write goes together, and each has its own outcome."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from kommo.errors import StoreUnavailable
from receiver import batches as batches_module
from receiver.batches import Batches, aside, in_batch, written
from receiver.together import Together


def run_together(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run calls in one batch, and give in their order what became of them."""
    results: list[Any] = [None] * len(calls)
    batches = Batches(do=lambda piece: piece(), back=lambda call, *given: call(*given))
    for place, call in enumerate(calls):
        batches.run(call, partial(results.__setitem__, place))
    batches.flush()
    return results


class Book:
    """Writes down what it is given, and how much at a time; an item that is an exception is refused with it."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []

    def write_all(self, items: Sequence[Any]) -> Sequence[Any]:
        self.batches.append(list(items))
        return [item if isinstance(item, Exception) else f"wrote {item}" for item in items]


def test_calls_that_write_nothing_just_run_in_turn() -> None:
    assert run_together([lambda: 1, lambda: 2]) == [1, 2]
    assert run_together([]) == []


def test_what_all_write_goes_in_one_piece_and_in_their_order() -> None:
    book = Book()

    assert run_together([lambda name=name: written(book, name) for name in "abc"]) == ["wrote a", "wrote b", "wrote c"]
    assert book.batches == [["a", "b", "c"]]


def test_who_writes_again_does_so_with_those_that_do() -> None:
    book = Book()

    def twice(name: str) -> str:
        return f"{written(book, name)}, {written(book, name * 2)}"

    results = run_together([lambda: twice("a"), lambda: written(book, "b"), lambda: twice("c")])

    assert results == ["wrote a, wrote aa", "wrote b", "wrote c, wrote cc"]
    assert book.batches == [["a", "b", "c"], ["aa", "cc"]]


def test_writes_of_different_kinds_are_done_one_kind_after_the_other() -> None:
    one, other = Book(), Book()

    results = run_together([lambda: written(one, 1), lambda: written(other, 2), lambda: written(one, 3)])

    assert results == ["wrote 1", "wrote 2", "wrote 3"]
    assert (one.batches, other.batches) == ([[1, 3]], [[2]])


def test_what_one_raises_is_its_own_result() -> None:
    book, error = Book(), ValueError("mine")

    def raises() -> None:
        written(book, "first")
        raise error

    assert run_together([raises, lambda: written(book, "second")]) == [error, "wrote second"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_not_even_the_end_of_the_process_comes_out_of_the_others_way(error: BaseException) -> None:
    def ends() -> None:
        raise error

    assert run_together([ends, lambda: 1]) == [error, 1]


def test_only_those_in_a_batch_are_in_one() -> None:
    assert not in_batch()
    assert run_together([in_batch]) == [True]
    assert not in_batch()


class Beside:
    """Pieces that were given to a thread beside, and calls back from there; both wait for the test."""

    def __init__(self) -> None:
        self.pieces: list[Callable[[], None]] = []
        self.back: list[Callable[[], None]] = []
        self.batches = Batches(self.pieces.append, lambda call, *given: self.back.append(partial(call, *given)))
        self.results: dict[str, Any] = {}

    def ask(self, book: Any, *names: str) -> None:
        for name in names:
            self.batches.run(lambda name=name: written(book, name), partial(self.results.__setitem__, name))
        self.batches.flush()

    def do_one(self) -> None:
        self.pieces.pop(0)()
        self.back.pop(0)()


class TestSlowWrites:
    """What takes long is done beside, so that the thread that serves the requests never waits for it."""

    @pytest.fixture
    def slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batches_module, "_QUICK_SECONDS", -1.0)

    @pytest.mark.usefixtures("slow")
    def test_what_comes_after_a_slow_piece_is_written_beside(self) -> None:
        here, book = Beside(), Book()
        here.ask(book, "found slow")
        here.ask(book, "a", "b")

        assert here.results == {"found slow": "wrote found slow"}
        here.do_one()
        assert here.results["a"] == "wrote a"
        assert book.batches == [["found slow"], ["a", "b"]]

    @pytest.mark.usefixtures("slow")
    def test_what_comes_while_two_pieces_are_under_way_makes_up_the_next(self) -> None:
        here, book = Beside(), Book()
        here.ask(book, "found slow")
        for name in "abcd":
            here.ask(book, name)
        assert len(here.pieces) == 2
        here.do_one()

        assert here.results.keys() == {"found slow", "a"}
        here.do_one()
        here.do_one()
        assert book.batches[1:] == [["a"], ["b"], ["c", "d"]]

    @pytest.mark.usefixtures("slow")
    def test_another_place_is_waited_for_as_before(self) -> None:
        here, slow, quick = Beside(), Book(), Book()
        here.ask(slow, "found slow")
        here.ask(quick, "a")

        assert here.results["a"] == "wrote a"
        assert not here.pieces

    def test_it_is_waited_for_again_after_a_while(self, monkeypatch: pytest.MonkeyPatch) -> None:
        here, book = Beside(), Book()
        monkeypatch.setattr(batches_module, "_QUICK_SECONDS", -1.0)
        monkeypatch.setattr(batches_module, "_SLOW_FOR_SECONDS", 0.0)
        here.ask(book, "found slow")
        here.ask(book, "a")

        assert here.results["a"] == "wrote a"

    @pytest.mark.usefixtures("slow")
    def test_a_place_that_fails_as_a_whole_fails_those_that_wait_for_it_too(self) -> None:
        class Broken:
            def write_all(self, _: Sequence[Any]) -> Sequence[Any]:
                raise StoreUnavailable("away")

        here, broken = Beside(), Broken()
        for name in "abcde":
            here.ask(broken, name)
        assert {name: type(said) for name, said in here.results.items()} == {"a": StoreUnavailable}
        here.do_one()

        assert here.results.keys() == {"a", "b", "d", "e"}, "c is under way still"
        assert all(isinstance(said, StoreUnavailable) for said in here.results.values())


class TestAside:
    """Calls that may wait for another server."""

    def test_outside_a_batch_it_is_just_a_call(self) -> None:
        here = threading.get_ident()

        assert aside(threading.get_ident) == here

    def test_one_of_a_batch_needs_no_thread(self) -> None:
        assert run_together([lambda: aside(threading.get_ident)]) == [threading.get_ident()]

    def test_several_wait_side_by_side(self) -> None:
        meeting = threading.Barrier(5, timeout=10)

        assert sorted(run_together([lambda: aside(meeting.wait)] * 5)) == [0, 1, 2, 3, 4]

    def test_what_one_raises_is_its_own(self) -> None:
        def away() -> None:
            raise StoreUnavailable("away")

        failed, done = run_together([lambda: aside(away), lambda: aside(lambda: "done")])

        assert isinstance(failed, StoreUnavailable)
        assert done == "done"


class TestTogether:
    """The same `Together` that threads share serves a batch."""

    def test_takes_a_batch_in_one_piece(self) -> None:
        pieces: list[list[int]] = []

        def write(items: Sequence[int], _ends: float) -> Sequence[int]:
            pieces.append(list(items))
            return [item * 10 for item in items]

        together: Together[int, int] = Together(write, weight=lambda _: 1, most=100)

        assert run_together([lambda n=n: together.put(n, seconds=1) for n in (1, 2, 3)]) == [10, 20, 30]
        assert pieces == [[1, 2, 3]]

    def test_writes_as_many_at_a_time_as_are_not_too_much(self) -> None:
        pieces: list[list[int]] = []

        def write(items: Sequence[int], _ends: float) -> Sequence[int]:
            pieces.append(list(items))
            return items

        together: Together[int, int] = Together(write, weight=lambda item: item, most=10)
        items = [4, 6, 1, 30, 2, 3]

        assert run_together([lambda n=n: together.put(n, seconds=1) for n in items]) == items
        assert pieces == [[4, 6], [1], [30], [2, 3]]

    def test_does_not_try_the_rest_after_a_failure(self) -> None:
        away = StoreUnavailable("away")
        pieces: list[list[int]] = []

        def write(items: Sequence[int], _ends: float) -> Sequence[int]:
            pieces.append(list(items))
            if 2 in items:
                raise away
            return items

        together: Together[int, int] = Together(write, weight=lambda _: 1, most=1)

        assert run_together([lambda n=n: together.put(n, seconds=1) for n in (1, 2, 3)]) == [1, away, away]
        assert pieces == [[1], [2]]
