"""Waiting before another try: longer each time, never for ever, and never all at the same moment."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.backoff import BASE_SECONDS, MAX_SECONDS, backoff_ms


class Draw(random.Random):
    """Draws the least or the most that may be drawn."""

    def __init__(self, *, most: bool) -> None:
        self._most = most
        super().__init__(0)

    def uniform(self, a: float, b: float) -> float:
        return b if self._most else a


LEAST, MOST = Draw(most=False), Draw(most=True)


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 2), (2, 4), (3, 8), (9, 512), (10, 900), (50, 900), (10**9, 900)]
)
def test_the_longest_wait_doubles_up_to_a_quarter_of_an_hour(failures: int, seconds: int) -> None:
    assert backoff_ms(failures, draw=MOST) == seconds * 1000
    assert backoff_ms(failures, draw=LEAST) == 0


@given(st.integers(min_value=1, max_value=10**6))
def test_a_wait_is_never_negative_and_never_longer_than_the_longest(failures: int) -> None:
    assert 0 <= backoff_ms(failures) <= MAX_SECONDS * 1000


def test_waits_are_spread_over_the_whole_time() -> None:
    draw = random.Random(7)
    waits = [backoff_ms(1, draw=draw) for _ in range(1000)]
    quarters = [sum(1 for wait in waits if wait * 4 // (BASE_SECONDS * 1000) == quarter) for quarter in range(4)]
    assert min(quarters) > 150


@given(st.integers(min_value=1, max_value=100), st.floats(min_value=0, max_value=3600))
def test_what_the_other_side_asked_for_is_waited_in_full_and_a_second_of_jitter_at_most(
    failures: int, asked: float
) -> None:
    wait = backoff_ms(failures, at_least=asked)
    assert int(asked * 1000) <= wait <= (asked + 1) * 1000


def test_many_who_were_told_the_same_do_not_come_back_together() -> None:
    assert len({backoff_ms(3, at_least=60) for _ in range(100)}) > 50
