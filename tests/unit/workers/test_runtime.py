"""How many loops a process may run, and that they never take all of it."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.errors import StoreUnavailable
from kommo.queue import LOOPS
from workers import patience
from workers.patience import patiently
from workers.runtime import Gates, capacity_of_children, capacity_of_threads


@pytest.mark.parametrize(
    ("threads", "drains", "runs"), [(1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 2, 1), (5, 2, 2), (16, 2, 13)]
)
def test_handlers_leave_three_threads_to_drains_and_flush(threads: int, drains: int, runs: int) -> None:
    assert capacity_of_threads(threads) == {"inbox": drains, "lanes": runs, "outbox": 1}


@given(st.integers(min_value=1, max_value=500))
def test_every_queue_is_served_however_small_the_pool(size: int) -> None:
    for capacity in (capacity_of_threads(size), capacity_of_children(size)):
        assert set(capacity) == set(LOOPS)
        assert min(capacity.values()) >= 1


@given(st.integers(min_value=4, max_value=500))
def test_all_loops_together_fit_into_the_pool(threads: int) -> None:
    assert sum(capacity_of_threads(threads).values()) <= threads


def test_a_gate_admits_as_many_as_there_is_room_for_and_more_once_they_have_left() -> None:
    gates = Gates({"lanes": 2, "inbox": 1})
    with gates.entering("lanes") as first, gates.entering("lanes") as second:
        with gates.entering("lanes") as third, gates.entering("inbox") as other:
            assert (first, second, third, other) == (True, True, False, True)
        with gates.entering("lanes") as still_third:
            assert still_third is False, "who was not admitted has no place to give back"
    with gates.entering("lanes") as again:
        assert again is True


def test_a_loop_that_raises_gives_its_place_back() -> None:
    gates = Gates({"lanes": 1})
    with pytest.raises(ZeroDivisionError), gates.entering("lanes"):
        raise ZeroDivisionError
    with gates.entering("lanes") as admitted:
        assert admitted


def test_threads_that_race_for_a_gate_are_never_more_than_its_capacity() -> None:
    gates, inside, most, lock = Gates({"lanes": 3}), 0, 0, threading.Lock()

    def race() -> None:
        nonlocal inside, most
        for _ in range(200):
            with gates.entering("lanes") as admitted:
                if admitted:
                    with lock:
                        inside += 1
                        most = max(most, inside)
                    with lock:
                        inside -= 1

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 3


class TestPatience:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(patience, "_PAUSE_SECONDS", 0.001)

    def test_an_outcome_is_offered_until_it_is_taken(self) -> None:
        answers: list[Exception | str] = [StoreUnavailable("away"), StoreUnavailable("away"), "recorded"]

        def record() -> str:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        assert patiently(record) == "recorded"

    def test_patience_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.05)

        def away() -> None:
            raise StoreUnavailable("away")

        with pytest.raises(StoreUnavailable):
            patiently(away)

    def test_a_fault_is_not_offered_twice(self) -> None:
        offered: list[int] = []

        def faulty() -> None:
            offered.append(1)
            raise ValueError

        with pytest.raises(ValueError, match=r"^$"):
            patiently(faulty)
        assert offered == [1]
