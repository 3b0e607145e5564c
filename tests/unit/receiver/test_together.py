"""Threads that write together: who writes, what each is told, and that nobody waits for ever."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from kommo.errors import StoreUnavailable
from receiver.together import Together
from tests.waiting import wait_for


class Disk:
    """Writes numbers, one batch after the other, as long as the door is open."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.writers: list[int] = []
        #: How many seconds each write was given.
        self.seconds: list[float] = []
        self.door = threading.Event()
        self.door.set()
        self.error: Exception | None = None

    def write(self, items: Sequence[int], ends: float) -> Sequence[int | Exception]:
        self.batches.append(list(items))
        self.seconds.append(ends - time.monotonic())
        self.writers.append(threading.get_ident())
        self.door.wait(10)
        if self.error:
            raise self.error
        return [ValueError(str(item)) if item < 0 else item * 10 for item in items]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def together(disk: Disk) -> Together[int, int]:
    return Together(disk.write, weight=abs, most=100)


Put = Callable[..., "Future[int]"]


@pytest.fixture
def put(together: Together[int, int], disk: Disk) -> Iterator[Put]:
    """Put an item from a thread of its own."""
    with ThreadPoolExecutor(64) as threads:
        yield lambda item, seconds=10.0: threads.submit(together.put, item, seconds=seconds)
        disk.door.set()


def waiting(together: Together[int, int], number: int) -> None:
    wait_for(lambda: len(together._row) == number, what=f"{number} wait")


def stuck(
    disk: Disk, together: Together[int, int], put: Put, *items: int, seconds: float = 10.0
) -> list["Future[int]"]:
    """Let the first item be written for as long as the door is closed, and the others wait behind it."""
    disk.door.clear()
    first = put(items[0])
    wait_for(lambda: disk.batches, what="the first is being written")
    others = []
    for number, item in enumerate(items[1:], 1):
        others.append(put(item, seconds))
        waiting(together, number)
    return [first, *others]


def test_who_comes_alone_writes_in_its_own_thread(disk: Disk, together: Together[int, int]) -> None:
    assert [together.put(item, seconds=1) for item in (1, 2)] == [10, 20]
    assert disk.batches == [[1], [2]]
    assert set(disk.writers) == {threading.get_ident()}


def test_all_that_wait_are_written_at_once_in_the_order_in_which_they_came(
    disk: Disk, together: Together[int, int], put: Put
) -> None:
    answers = stuck(disk, together, put, 1, 2, 3, 4)
    disk.door.set()
    assert [answer.result(5) for answer in answers] == [10, 20, 30, 40]
    assert disk.batches == [[1], [2, 3, 4]]


def test_what_is_too_much_at_once_is_written_in_turn_and_one_that_is_too_big_alone(
    disk: Disk, together: Together[int, int], put: Put
) -> None:
    answers = stuck(disk, together, put, 1, 60, 40, 1, 500, 2)
    disk.door.set()
    assert [answer.result(5) for answer in answers] == [10, 600, 400, 10, 5000, 20]
    assert disk.batches == [[1], [60, 40], [1], [500], [2]]


def test_each_is_told_what_became_of_its_own_item(disk: Disk, together: Together[int, int], put: Put) -> None:
    _, good, bad = stuck(disk, together, put, 1, 2, -3)
    disk.door.set()
    assert good.result(5) == 20
    with pytest.raises(ValueError, match="-3"):
        bad.result(5)


def test_a_write_that_fails_fails_for_those_that_wait_too_and_not_for_later_ones(
    disk: Disk, together: Together[int, int], put: Put
) -> None:
    answers = stuck(disk, together, put, 1, 2, 3)
    disk.error = StoreUnavailable("away")
    disk.door.set()
    for answer in answers:
        with pytest.raises(StoreUnavailable, match="away"):
            answer.result(5)
    assert disk.batches == [[1]]
    disk.error = None
    assert together.put(4, seconds=1) == 40


def test_who_waits_behind_a_write_that_hangs_leaves_when_its_time_is_over(
    disk: Disk, together: Together[int, int], put: Put
) -> None:
    first, late = stuck(disk, together, put, 1, 2, seconds=0.05)
    with pytest.raises(StoreUnavailable):
        late.result(5)
    disk.door.set()
    assert first.result(5) == 10
    assert together.put(3, seconds=1) == 30
    assert disk.batches == [[1], [3]]


def test_whose_item_is_being_written_leaves_too_when_its_time_is_over(
    disk: Disk, together: Together[int, int], put: Put
) -> None:
    _, leader = stuck(disk, together, put, 1, 2)
    late = put(3, 0.3)
    waiting(together, 2)
    hold, disk.door = disk.door, threading.Event()
    hold.set()
    wait_for(lambda: len(disk.batches) == 2, what="the second batch is being written")
    with pytest.raises(StoreUnavailable):
        late.result(5)
    disk.door.set()
    assert leader.result(5) == 20
    assert together.put(4, seconds=1) == 40


def test_many_threads_get_every_item_written_once(disk: Disk, together: Together[int, int]) -> None:
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda item: together.put(item, seconds=10), range(1, 2001)))
    assert answers == [item * 10 for item in range(1, 2001)]
    assert sorted(item for batch in disk.batches for item in batch) == list(range(1, 2001))
    assert together._writing == 0


class TestTheTimeOfAWrite:
    def test_is_that_of_who_comes_alone(self, disk: Disk, together: Together[int, int]) -> None:
        together.put(1, seconds=3)
        assert disk.seconds == [pytest.approx(3, abs=0.5)]

    def test_is_what_is_left_to_the_one_of_several_that_has_the_least(
        self, disk: Disk, together: Together[int, int], put: Put
    ) -> None:
        answers = stuck(disk, together, put, 1, 2, seconds=8)
        answers.append(put(3, 4))
        waiting(together, 2)
        disk.door.set()
        assert [answer.result(5) for answer in answers] == [10, 20, 30]
        assert disk.seconds[1] == pytest.approx(4, abs=1)

    @pytest.mark.parametrize("seconds", [0.0, -1.0])
    def test_is_never_nothing(self, disk: Disk, together: Together[int, int], seconds: float) -> None:
        assert together.put(1, seconds=seconds) == 10
        assert disk.seconds == [pytest.approx(0.1, abs=0.09)]

    def test_that_is_over_lets_nobody_wait_in_the_row(self, disk: Disk, together: Together[int, int], put: Put) -> None:
        (first,) = stuck(disk, together, put, 1)
        with pytest.raises(StoreUnavailable):
            together.put(2, seconds=-0.5)
        disk.door.set()
        assert first.result(5) == 10


class TestABatch:
    """Items that requests of one thread bring together, each with the time at which it has to be done."""

    def batch(self, *items: int, seconds: float = 5.0) -> list[tuple[int, float]]:
        return [(item, time.monotonic() + seconds) for item in items]

    def test_is_cut_where_it_is_too_much_at_once(self, disk: Disk, together: Together[int, int]) -> None:
        assert together.write_all(self.batch(60, 40, 1, 500, 2, 98)) == [600, 400, 10, 5000, 20, 980]
        assert disk.batches == [[60, 40], [1], [500], [2, 98]]

    def test_has_one_deadline_for_all_its_parts(self, disk: Disk, together: Together[int, int]) -> None:
        late = time.monotonic() + 9
        together.write_all([(100, late), (100, time.monotonic() + 3), (100, late)])
        assert disk.seconds == [pytest.approx(3, abs=0.5)] * 3

    def test_has_a_moment_even_if_it_has_waited_for_longer_than_it_may(
        self, disk: Disk, together: Together[int, int]
    ) -> None:
        assert together.write_all(self.batch(1, 2, seconds=-1)) == [10, 20]
        assert disk.seconds == [pytest.approx(0.1, abs=0.09)]

    def test_whose_time_is_over_half_way_fails_for_the_rest_without_another_try(self) -> None:
        tried: list[int] = []

        def write(items: Sequence[int], ends: float) -> Sequence[int]:
            tried.extend(items)
            if len(tried) == 2:
                wait_for(lambda: time.monotonic() > ends, what="the time is over")
            return items

        slow: Together[int, int] = Together(write, weight=abs, most=1)
        *done, third, fourth = slow.write_all(self.batch(1, 2, 3, 4, seconds=0.2))
        assert (done, tried) == ([1, 2], [1, 2])
        assert isinstance(third, StoreUnavailable)
        assert fourth is third
