"""Waits: how long each account has waited for a slot, over several loops, and when being held up is news."""

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.waits import Waits

OVENS, BOOKS = 27_182_818, 16_180_339


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 5_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waits(clock: Clock) -> Waits:
    return Waits(clock)


class TestHowLongAnAccountHasWaited:
    def test_counts_from_the_first_question(self, waits: Waits, clock: Clock) -> None:
        clock.now += 60
        assert waits.waited_ms(OVENS) == 0
        clock.now += 0.25
        assert waits.waited_ms(OVENS) == 250

    def test_goes_on_over_all_further_questions(self, waits: Waits, clock: Clock) -> None:
        told = []
        for _ in range(4):
            told.append(waits.waited_ms(OVENS))
            clock.now += 3.5
        assert told == [0, 3_500, 7_000, 10_500]

    def test_begins_anew_once_the_wait_is_over(self, waits: Waits, clock: Clock) -> None:
        waits.waited_ms(OVENS)
        clock.now += 9
        waits.over(OVENS)
        clock.now += 9
        assert waits.waited_ms(OVENS) == 0
        clock.now += 1
        assert waits.waited_ms(OVENS) == 1_000

    def test_is_of_each_account_by_itself(self, waits: Waits, clock: Clock) -> None:
        waits.waited_ms(OVENS)
        clock.now += 2
        waits.waited_ms(BOOKS)
        clock.now += 3
        assert (waits.waited_ms(OVENS), waits.waited_ms(BOOKS)) == (5_000, 3_000)
        waits.over(OVENS)
        assert (waits.waited_ms(OVENS), waits.waited_ms(BOOKS)) == (0, 3_000)

    def test_may_be_over_though_it_never_began(self, waits: Waits) -> None:
        waits.over(OVENS)
        waits.over(OVENS)
        assert waits.waited_ms(OVENS) == 0

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["ask", "over"]),
                st.sampled_from([OVENS, BOOKS]),
                # Quarters of a second have no rounding.
                st.integers(0, 400).map(lambda quarters: quarters / 4),
            ),
            max_size=30,
        )
    )
    def test_is_the_time_since_the_first_question_after_the_last_end(self, acts: list[tuple[str, int, float]]) -> None:
        clock = Clock()
        waits = Waits(clock)
        since: dict[int, float] = {}
        for act, account, passing in acts:
            clock.now += passing
            if act == "over":
                waits.over(account)
                since.pop(account, None)
            else:
                began = since.setdefault(account, clock.now)
                assert waits.waited_ms(account) == (clock.now - began) * 1000


class TestWhetherItIsNews:
    def test_is_told_once_in_its_period(self, waits: Waits, clock: Clock) -> None:
        told = []
        for _ in range(7):
            told.append(waits.is_news(OVENS, seconds=60))
            clock.now += 20
        assert told == [True, False, False, True, False, False, True]

    def test_is_told_for_as_long_as_was_said_when_it_was_news(self, waits: Waits, clock: Clock) -> None:
        assert waits.is_news(OVENS, seconds=60)
        clock.now += 50
        assert not waits.is_news(OVENS, seconds=600), "what is no news lengthens nothing"
        clock.now += 10
        assert waits.is_news(OVENS, seconds=5)
        clock.now += 4.75
        assert not waits.is_news(OVENS, seconds=1), "and shortens nothing"
        clock.now += 0.25
        assert waits.is_news(OVENS, seconds=1)

    def test_of_one_account_is_none_of_another(self, waits: Waits) -> None:
        assert [waits.is_news(one, seconds=60) for one in (OVENS, BOOKS, OVENS, BOOKS)] == [True, True, False, False]

    def test_is_not_told_again_because_a_wait_was_over_in_between(self, waits: Waits, clock: Clock) -> None:
        assert waits.is_news(OVENS, seconds=60)
        clock.now += 1
        waits.over(OVENS)
        assert not waits.is_news(OVENS, seconds=60)

    def test_and_how_long_it_has_waited_are_two_things(self, waits: Waits, clock: Clock) -> None:
        waits.is_news(OVENS, seconds=60)
        clock.now += 30
        assert waits.waited_ms(OVENS) == 0


class Crossroads(int):
    """An account whose two questioners meet whenever both of them look it up, if nothing holds one of them back."""

    def __init__(self, _number: int) -> None:
        self._meeting = threading.Barrier(2)

    def __hash__(self) -> int:
        with suppress(threading.BrokenBarrierError):
            self._meeting.wait(0.3)
        return int.__hash__(self)


class TestTwoLoops:
    def at_once(self, ask: Callable[[], int]) -> list[tuple[int, int]]:
        """What two threads are told that ask together, each with its number."""
        told: list[tuple[int, int]] = []

        def asking() -> None:
            answer = ask()
            told.append((int(threading.current_thread().name), answer))

        threads = [threading.Thread(target=asking, name=str(number)) for number in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        return sorted(told)

    def test_one_of_them_is_told_that_it_is_news(self) -> None:
        told = self.at_once(partial(Waits().is_news, Crossroads(OVENS), seconds=60))
        assert sorted(bool(answer) for _, answer in told) == [False, True]

    def test_both_count_from_one_moment(self) -> None:
        """By clocks that differ, so that what they are told tells from when each of them counts."""
        waits = Waits(clock=lambda: float(threading.current_thread().name))
        (one, waited), (other, waited_too) = self.at_once(partial(waits.waited_ms, Crossroads(OVENS)))
        assert one * 1000 - waited == other * 1000 - waited_too
