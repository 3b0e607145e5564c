"""Gaps: two become one, one process fills one, and where it has come to is never lost."""

import threading
from collections.abc import Callable

import pytest
from redis import Redis

from kommo.store.gaps import Gap, Gaps, TakenOver
from kommo.store.keys import Keys

ACCOUNT = 4


@pytest.fixture
def gaps(redis: Redis, keys: Keys) -> Gaps:
    return Gaps(redis, keys)


@pytest.fixture
def lease_over(redis: Redis, keys: Keys) -> Callable[[], None]:
    """Let the lease of whoever fills the gap end."""
    return lambda: redis.hset(keys.of_account(ACCOUNT, "webhook", "gap"), "lease", 1) and None


def test_without_a_gap_there_is_nothing_to_take(gaps: Gaps) -> None:
    assert (gaps.get(ACCOUNT), gaps.take(ACCOUNT, "t")) == (None, None)


def test_a_gap_begins_unfilled(gaps: Gaps) -> None:
    assert gaps.open(ACCOUNT, since=100, until=900, why="it was away")
    assert gaps.get(ACCOUNT) == Gap(100, 900, 100, "it was away")
    assert gaps.get(ACCOUNT + 1) is None


def test_two_become_one_that_covers_both_and_is_filled_from_the_earlier_beginning(gaps: Gaps) -> None:
    gaps.open(ACCOUNT, since=100, until=900, why="first")
    filling = gaps.take(ACCOUNT, "t")
    assert filling is not None
    gaps.advance(filling, 600, lease_ms=0)
    assert not gaps.open(ACCOUNT, since=700, until=1200, why="second")
    assert gaps.get(ACCOUNT) == Gap(100, 1200, 600, "first")
    gaps.open(ACCOUNT, since=50, until=60, why="third")
    assert gaps.get(ACCOUNT) == Gap(50, 1200, 50, "first")


@pytest.mark.parametrize(("first", "second"), [(None, 900), (900, None), (None, None)])
def test_one_that_goes_on_goes_on_until_it_is_shut(gaps: Gaps, first: int | None, second: int | None) -> None:
    gaps.open(ACCOUNT, since=100, until=first, why="")
    gaps.open(ACCOUNT, since=100, until=second, why="")
    assert gaps.get(ACCOUNT) == Gap(100, None, 100, "")
    assert [gaps.shut(ACCOUNT, until=950), gaps.shut(ACCOUNT, until=990)] == [True, False]
    assert gaps.get(ACCOUNT) == Gap(100, 950, 100, "")


def test_shutting_what_is_not_there_makes_no_gap(gaps: Gaps) -> None:
    assert not gaps.shut(ACCOUNT, until=950)
    assert gaps.get(ACCOUNT) is None


class TestFilling:
    def test_one_process_fills_it_at_a_time(self, gaps: Gaps) -> None:
        gaps.open(ACCOUNT, since=100, until=900, why="")
        taken: list[str] = []

        def take(name: str) -> None:
            if gaps.take(ACCOUNT, name):
                taken.append(name)

        threads = [threading.Thread(target=take, args=(f"t{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(taken) == 1

    def test_after_a_death_another_one_goes_on_where_it_was(self, gaps: Gaps, lease_over: Callable[[], None]) -> None:
        gaps.open(ACCOUNT, since=100, until=900, why="")
        dead = gaps.take(ACCOUNT, "dead")
        assert dead is not None
        gaps.advance(dead, 400)
        assert gaps.take(ACCOUNT, "next") is None
        lease_over()
        heir = gaps.take(ACCOUNT, "next")
        assert heir is not None
        assert heir.gap.position == 400
        with pytest.raises(TakenOver):
            gaps.advance(dead, 800)
        assert gaps.get(ACCOUNT) == Gap(100, 900, 400, "")

    def test_each_step_keeps_it_for_another_lease(
        self, gaps: Gaps, redis: Redis, keys: Keys, now_ms: Callable[[], int], lease_over: Callable[[], None]
    ) -> None:
        gaps.open(ACCOUNT, since=100, until=900, why="")
        filling = gaps.take(ACCOUNT, "t")
        assert filling is not None
        lease_over()
        assert gaps.advance(filling, 200, lease_ms=60_000)
        lease = redis.hget(keys.of_account(ACCOUNT, "webhook", "gap"), "lease")
        assert int(lease or 0) > now_ms() + 50_000

    def test_what_is_released_can_be_taken_at_once(self, gaps: Gaps) -> None:
        gaps.open(ACCOUNT, since=100, until=900, why="")
        first = gaps.take(ACCOUNT, "one")
        assert first is not None
        gaps.advance(first, 300)
        gaps.release(first)
        second = gaps.take(ACCOUNT, "two")
        assert second is not None
        assert second.gap.position == 300

    def test_it_is_forgotten_once_it_is_full(self, gaps: Gaps) -> None:
        gaps.open(ACCOUNT, since=100, until=900, why="")
        filling = gaps.take(ACCOUNT, "t")
        assert filling is not None
        assert gaps.advance(filling, 900) is None
        assert gaps.get(ACCOUNT) is None

    def test_one_that_goes_on_is_never_full(self, gaps: Gaps) -> None:
        gaps.open(ACCOUNT, since=100, until=None, why="")
        filling = gaps.take(ACCOUNT, "t")
        assert filling is not None
        on = gaps.advance(filling, 5_000)
        assert on is not None
        assert on.gap == Gap(100, None, 5_000, "")

    def test_one_that_grows_at_its_beginning_meanwhile_is_filled_from_there(self, gaps: Gaps) -> None:
        gaps.open(ACCOUNT, since=100, until=900, why="")
        filling = gaps.take(ACCOUNT, "t")
        assert filling is not None
        gaps.open(ACCOUNT, since=20, until=900, why="")
        on = gaps.advance(filling, 900)
        assert on is not None
        assert on.gap.position == 20

    def test_a_gap_that_is_forgotten_ends_its_filling(self, gaps: Gaps) -> None:
        gaps.open(ACCOUNT, since=100, until=900, why="")
        filling = gaps.take(ACCOUNT, "t")
        assert filling is not None
        gaps.forget(ACCOUNT)
        with pytest.raises(TakenOver, match=f"account {ACCOUNT}"):
            gaps.advance(filling, 200)
        with pytest.raises(TakenOver):
            gaps.renew(filling)
        assert gaps.get(ACCOUNT) is None

    def test_it_is_kept_for_as_long_as_it_is_renewed(
        self, gaps: Gaps, redis: Redis, keys: Keys, now_ms: Callable[[], int], lease_over: Callable[[], None]
    ) -> None:
        gaps.open(ACCOUNT, since=100, until=900, why="")
        filling = gaps.take(ACCOUNT, "t")
        assert filling is not None
        lease_over()
        gaps.renew(filling, lease_ms=60_000)
        lease = redis.hget(keys.of_account(ACCOUNT, "webhook", "gap"), "lease")
        assert int(lease or 0) > now_ms() + 50_000
        assert gaps.take(ACCOUNT, "another") is None
        assert gaps.get(ACCOUNT) == Gap(100, 900, 100, "")

    def test_whoever_was_too_late_takes_nothing_from_the_next_one(
        self, gaps: Gaps, lease_over: Callable[[], None]
    ) -> None:
        gaps.open(ACCOUNT, since=100, until=900, why="")
        late = gaps.take(ACCOUNT, "late")
        assert late is not None
        lease_over()
        heir = gaps.take(ACCOUNT, "next")
        assert heir is not None
        with pytest.raises(TakenOver):
            gaps.renew(late)
        gaps.release(late)
        assert gaps.take(ACCOUNT, "third") is None
        assert gaps.advance(heir, 900) is None
