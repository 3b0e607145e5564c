"""Errands lie in Redis: known once, done by one at a time, found again after a death."""

import threading
import time
from dataclasses import replace

import pytest
from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.store.connection import connect
from receiver.installs import background as background_module
from receiver.installs.background import Again, Background, Done
from receiver.installs.errands import HOLD_SECONDS, Errand, Errands
from tests.integration.receiver.installs.surroundings import threads_of_errands
from tests.integration.workers.logs import logged
from tests.waiting import wait_for


@pytest.fixture
def errands(redis: Redis) -> Errands:
    return Errands(redis)


def errand(name: str = "a", seconds: float = 60.0) -> Errand:
    return Errand(f"test:{name}", time.time() + seconds, {"step": 1})


class TestInRedis:
    def test_one_is_taken_as_it_was_added(self, errands: Errands) -> None:
        given = errand()
        assert errands.add(given)
        assert errands.take() == given
        assert given.kind == "test"

    def test_one_that_is_known_is_not_added_again_done_or_not(self, errands: Errands) -> None:
        given = errand()
        assert [errands.add(given), errands.add(given)] == [True, False]
        errands.finish(given, {"what": "ok"})
        assert (errands.add(given), errands.take()) == (False, None)

    def test_one_that_somebody_holds_is_nobody_elses(self, errands: Errands, redis: Redis) -> None:
        errands.add(errand())
        assert errands.take() is not None
        assert errands.take() is None
        assert 0 < redis.ttl("kommo:{errands}:held:test:a") <= HOLD_SECONDS

    def test_one_whose_holder_died_is_taken_again_when_the_hold_has_run_out(
        self, errands: Errands, redis: Redis
    ) -> None:
        errands.add(errand())
        errands.take()
        redis.delete("kommo:{errands}:held:test:a")
        assert errands.take() is not None

    def test_a_postponed_one_rests_keeps_what_it_has_come_to_and_counts_its_tries(self, errands: Errands) -> None:
        given = errand()
        errands.add(given)
        errands.postpone(replace(given, record={"step": 2}), seconds=30)
        assert errands.take() is None
        assert errands.look(given.id) == replace(given, record={"step": 2}, tries=1)
        due = errands.next_in()
        assert due is not None
        assert 25 < due <= 30

    def test_a_done_one_leaves_its_outcome_and_nothing_of_its_record(self, errands: Errands) -> None:
        given = errand()
        errands.add(given)
        errands.finish(given, {"what": "ok"})
        assert errands.look(given.id) == replace(given, record={}, outcome={"what": "ok"})
        assert errands.next_in() is None

    def test_one_that_is_done_without_an_outcome_may_come_again(self, errands: Errands) -> None:
        errands.add(errand())
        errands.finish(errand(), None)
        assert errands.add(errand())

    def test_everything_but_the_places_in_the_queue_has_an_end(self, errands: Errands, redis: Redis) -> None:
        errands.add(errand())
        errands.take()
        errands.passes("door", a_minute=1)
        lasting = [key for key in redis.keys("*") if redis.ttl(key) < 0]
        assert lasting == [b"kommo:{errands}:due"]

    def test_one_may_be_due_later(self, errands: Errands) -> None:
        errands.add(errand(), after=30)
        due = errands.next_in()
        assert due is not None
        assert 25 < due <= 30
        assert errands.take() is None

    def test_one_that_has_come_further_is_held_for_as_long_again(self, errands: Errands, redis: Redis) -> None:
        errands.add(errand())
        taken = errands.take()
        assert taken is not None
        redis.expire("kommo:{errands}:held:test:a", 5)
        errands.keep(replace(taken, record={"step": 2}))
        assert redis.ttl("kommo:{errands}:held:test:a") > 5
        assert errands.look("test:a") == replace(taken, record={"step": 2})

    def test_those_of_a_kind_are_counted_until_they_are_done(self, errands: Errands) -> None:
        for name in "ab":
            errands.add(errand(name))
        errands.add(Errand("other:a", time.time() + 60, {}))
        assert errands.waiting("test") == 2
        errands.finish(errand("a"), {"what": "ok"})
        assert [errands.waiting(kind) for kind in ("test", "other", "none")] == [1, 1, 0]

    def test_a_name_stands_for_the_first_errand_that_claims_it(self, errands: Errands, redis: Redis) -> None:
        assert errands.claimed("name") is None
        assert [errands.claim("name", id_, seconds=60) for id_ in ("a", "b", "a")] == [True, False, True]
        assert errands.claimed("name") == "a"
        assert 0 < redis.ttl("kommo:{errands}:name:name") <= 60

    def test_a_door_lets_so_many_pass_a_minute(self, errands: Errands, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "time", lambda: 1_795_000_000.0)
        assert [errands.passes("door", a_minute=2) for _ in range(4)] == [True, True, False, False]
        assert errands.passes("another", a_minute=2)
        monkeypatch.setattr(time, "time", lambda: 1_795_000_060.0)
        assert errands.passes("door", a_minute=2)


class TestInTheBackground:
    def test_an_errand_is_done_and_the_thread_ends_with_it(self, errands: Errands) -> None:
        background = Background(errands, {"test": lambda _: Done({"what": "ok"})})
        assert background.accept(errand())
        done = background.wait("test:a", seconds=10)
        assert done is not None
        assert done.outcome == {"what": "ok"}
        wait_for(lambda: not threads_of_errands())

    def test_one_that_is_to_be_done_again_goes_on_from_where_it_was(self, errands: Errands) -> None:
        def work(given: Errand) -> Done | Again:
            if given.record["step"] == 3:
                return Done({"tries": given.tries})
            return Again(replace(given, record={"step": given.record["step"] + 1}), 0)

        background = Background(errands, {"test": work})
        background.accept(errand())
        done = background.wait("test:a", seconds=10)
        assert done is not None
        assert done.outcome == {"tries": 2}

    def test_one_that_goes_on_at_once_goes_before_those_that_wait(self, errands: Errands) -> None:
        done: list[str] = []

        def work(given: Errand) -> Done | Again:
            done.append(given.id)
            return Done({}) if given.record["step"] == 2 else Again(replace(given, record={"step": 2}), 0)

        for name in "abc":
            errands.add(errand(name))
        Background(errands, {"test": work}).poke()
        wait_for(lambda: len(done) == 6 and not threads_of_errands())
        assert done == [f"test:{name}" for name in "aabbcc"]

    def test_a_process_does_one_at_a_time(self, errands: Errands) -> None:
        at_once: list[int] = []
        lock = threading.Lock()

        def work(_: Errand) -> Done:
            at_once.append(lock.acquire(blocking=False))
            time.sleep(0.02)
            lock.release()
            return Done({})

        background = Background(errands, {"test": work})
        for name in "abcd":
            background.accept(errand(name))
        wait_for(lambda: not threads_of_errands())
        assert at_once == [True] * 4

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # it is meant to end so
    def test_a_thread_that_ends_untimely_is_replaced_by_the_next_poke(self, errands: Errands) -> None:
        ends = [SystemExit]

        def work(_: Errand) -> Done:
            if ends:
                raise ends.pop()
            return Done({"what": "ok"})

        background = Background(errands, {"test": work})
        background.accept(errand("a"))
        wait_for(lambda: not threads_of_errands())
        background.accept(errand("b"))
        done = background.wait("test:b", seconds=10)
        assert done is not None
        assert done.outcome == {"what": "ok"}
        errands.finish(errand("a"), None)

    def test_a_fault_of_ours_postpones_the_errand_and_does_not_lose_it(self, errands: Errands) -> None:
        def work(_: Errand) -> Done | Again:
            raise ZeroDivisionError

        with logged() as lines:
            background = Background(errands, {"test": work})
            background.accept(errand())
            wait_for(lambda: (errands.next_in() or 0) > 30)
            assert errands.look("test:a") is not None
            errands.finish(errand(), None)
            background.poke()
            wait_for(lambda: not threads_of_errands(), what="the thread has ended")
        assert [line["errand"] for line in lines.saying("errand failed")] == ["test"]

    def test_nothing_is_left_open_when_there_is_nothing_left_to_do(self, errands: Errands) -> None:
        rested: list[int] = []
        background = Background(errands, {"test": lambda _: Done()}, lambda: rested.append(1))
        background.accept(errand())
        wait_for(lambda: rested and not threads_of_errands())

    def test_what_came_while_redis_was_away_has_a_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(background_module, "_UNWRITTEN", 2)
        away = Errands(connect("unix:///nowhere/redis.sock"))
        background = Background(away, {})
        with pytest.raises(StoreUnavailable):
            away.add(errand())
        assert [background.accept(errand(name, seconds=0.5)) for name in "abc"] == [True, True, False]
        assert background.look("test:a") is not None
        wait_for(lambda: not threads_of_errands(), what="their time is over")
