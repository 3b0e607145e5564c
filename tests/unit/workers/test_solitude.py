"""Solitude: many steps together, or one alone; nobody waits for longer than told."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.waiting import wait_for
from workers.solitude import Solitude


def never() -> bool:
    return False


@contextmanager
def company(solitude: Solitude) -> Iterator[threading.Event]:
    """Let a step run in another thread until told to end."""
    end, inside = threading.Event(), threading.Event()

    def run() -> None:
        with solitude.together(within=0) as admitted:
            assert admitted
            inside.set()
            end.wait(10)

    thread = threading.Thread(target=run)
    thread.start()
    inside.wait(5)
    try:
        yield end
    finally:
        end.set()
        thread.join()


def test_many_run_together() -> None:
    solitude = Solitude()
    with company(solitude), company(solitude), solitude.together(within=0) as admitted:
        assert admitted
        assert solitude.is_open()


def test_who_claims_the_process_has_it_once_the_others_have_ended() -> None:
    solitude = Solitude()
    with company(solitude) as end, solitude.claiming() as claim:
        assert claim is not None
        assert not claim.alone_within(0.01, unless=never)
        threading.Timer(0.05, end.set).start()
        assert claim.alone_within(5, unless=never)


def test_nobody_is_let_in_while_it_is_claimed_and_everybody_afterwards() -> None:
    solitude = Solitude()
    with solitude.claiming():
        assert not solitude.is_open()
        with solitude.together(within=0.01) as admitted:
            assert not admitted
    with solitude.together(within=0) as admitted:
        assert admitted


def test_only_one_claims() -> None:
    solitude = Solitude()
    with solitude.claiming():
        with solitude.claiming() as second:
            assert second is None
        assert not solitude.is_open(), "who got nothing has nothing to give back"
    assert solitude.is_open()


def test_a_claim_that_was_ended_early_does_not_end_the_next_one() -> None:
    solitude = Solitude()
    with solitude.claiming() as first:
        assert first is not None
        first.end()
        with solitude.claiming() as second:
            assert second is not None
            first.end()
            assert not solitude.is_open()


def test_who_waits_at_the_door_is_let_in_as_soon_as_it_opens() -> None:
    solitude, let_in = Solitude(), threading.Event()

    def wait() -> None:
        if solitude.is_open(within=10):
            let_in.set()

    with solitude.claiming():
        thread = threading.Thread(target=wait)
        thread.start()
        assert not let_in.is_set()
    assert let_in.wait(5)
    thread.join()


def test_who_hangs_while_it_has_the_process_has_it_no_longer() -> None:
    solitude = Solitude()
    with solitude.claiming():
        solitude.forget(threading.get_ident())
        assert solitude.is_open()
        with solitude.claiming() as second:
            assert second is not None


def test_who_stays_in_company_is_counted_before_anyone_else_can_claim() -> None:
    solitude = Solitude()
    with solitude.claiming() as claim:
        assert claim is not None
        with claim.in_company():
            assert solitude.is_open()
            with solitude.claiming() as second:
                assert second is not None
                assert not second.alone_within(0, unless=never)
        with solitude.claiming() as third:
            assert third is not None
            assert third.alone_within(0, unless=never)


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def is_given(solitude: Solitude) -> bool:
    with solitude.claiming() as claim:
        return claim is not None


@pytest.mark.parametrize("seconds", [0.2, 5.0, 640.0])
def test_between_two_claims_the_process_is_open_for_as_long_as_it_was_claimed(seconds: float) -> None:
    solitude = Solitude(clock := Clock())
    with solitude.claiming():
        clock.now += seconds
    assert solitude.is_open()
    clock.now += seconds * 0.99
    assert not is_given(solitude)
    assert solitude.is_open(), "who gets nothing keeps nobody out"
    clock.now += seconds * 0.02
    assert is_given(solitude)


def test_what_ended_early_is_made_up_for_from_its_end() -> None:
    solitude = Solitude(clock := Clock())
    with solitude.claiming() as claim:
        assert claim is not None
        clock.now += 5
        claim.end()
        clock.now += 4
        assert not is_given(solitude)
        clock.now += 2
        assert is_given(solitude)


def test_short_claims_follow_each_other_until_they_add_up() -> None:
    solitude = Solitude(clock := Clock())
    for _ in range(5):
        with solitude.claiming() as claim:
            assert claim is not None
            clock.now += 0.021
    assert not is_given(solitude)
    clock.now += 0.11
    assert is_given(solitude)


def test_a_step_that_hangs_is_no_company() -> None:
    solitude = Solitude()
    with company(solitude), solitude.claiming() as claim:
        assert claim is not None
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                solitude.forget(thread.ident or 0)
        assert not solitude.is_open()
        assert claim.alone_within(0, unless=never)


def test_who_is_told_not_to_wait_waits_no_longer() -> None:
    solitude, stopping = Solitude(), threading.Event()
    with company(solitude), solitude.claiming() as claim:
        assert claim is not None
        threading.Timer(0.05, stopping.set).start()
        began = time.monotonic()
        assert not claim.alone_within(30, unless=stopping.is_set)
        assert time.monotonic() - began < 5


def test_a_step_that_raises_leaves() -> None:
    solitude = Solitude()
    with pytest.raises(ZeroDivisionError), solitude.together(within=0):
        raise ZeroDivisionError
    with solitude.claiming() as claim:
        assert claim is not None
        assert claim.alone_within(0, unless=never)


def test_whoever_races_a_step_that_is_alone_is_never_in_company() -> None:
    solitude, inside, seen = Solitude(), set[int](), list[int]()

    def normal(number: int) -> None:
        for _ in range(200):
            with solitude.together(within=0.5) as admitted:
                if admitted:
                    inside.add(number)
                    inside.discard(number)

    def suspect() -> None:
        for _ in range(50):
            with solitude.claiming() as claim:
                if claim and claim.alone_within(0.5, unless=never):
                    seen.append(len(inside))

    threads = [threading.Thread(target=normal, args=(number,)) for number in range(4)]
    threads += [threading.Thread(target=suspect) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_for(lambda: not any(thread.is_alive() for thread in threads), seconds=30)
    assert seen
    assert set(seen) == {0}
