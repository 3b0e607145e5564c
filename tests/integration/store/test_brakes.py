"""Brakes: the pauses that Kommo asks for, its warnings and blocks, and how the limits stand."""

import threading
import time
from collections.abc import Callable

import pytest
from redis import Redis

from kommo.store.brakes import (
    FIRST_BLOCK_MS,
    LESS_MS,
    LONGEST_BACKOFF_MS,
    LONGEST_BLOCK_MS,
    PROBE_MS,
    Brakes,
)
from kommo.store.connection import connect
from kommo.store.limiter import TAG, Alone, Limiter, Scope, Slot, Wait
from kommo.store.server import PrivateServer

SCOPE = Scope("account:5", 7)
ADDRESS = "ip:here"
BLOCKS = f"{TAG}:blocks"


@pytest.fixture
def brakes(redis: Redis) -> Brakes:
    return Brakes(redis)


@pytest.fixture
def limiter(redis: Redis) -> Limiter:
    return Limiter(redis)


def over(redis: Redis, scope: Scope = SCOPE) -> None:
    """Let a pause be over."""
    redis.delete(f"{TAG}:pause:{scope.name}")


def slots(limiter: Limiter, scope: Scope = SCOPE) -> int:
    """How many slots can be taken now."""
    number = 0
    while isinstance(limiter.try_acquire((scope,), ticket="t"), Slot):
        number += 1
    return number


class TestAPause:
    def test_of_a_second_at_most_is_waited_out(self, brakes: Brakes, limiter: Limiter) -> None:
        brakes.slow([SCOPE], after=0.4)
        began = time.monotonic()
        assert isinstance(limiter.try_acquire((SCOPE,), ticket="t"), Wait)
        assert isinstance(limiter.acquire((SCOPE,), seconds=2), Slot)
        assert 0.35 <= time.monotonic() - began < 1.5

    def test_that_is_longer_is_told_at_once(self, brakes: Brakes, limiter: Limiter) -> None:
        brakes.slow([SCOPE], after=30)
        began = time.monotonic()
        answer = limiter.acquire((Scope("other", 1), SCOPE), seconds=20)
        assert isinstance(answer, Alone)
        assert answer.seconds == pytest.approx(30, abs=0.5)
        assert time.monotonic() - began < 1
        assert brakes.state(Scope("other", 1)).taken == 0, "in every scope or in none"

    def test_who_was_told_holds_up_nobody(self, brakes: Brakes, limiter: Limiter) -> None:
        brakes.slow([SCOPE], after=30)
        shared = Scope("shared", 1)
        slot = limiter.try_acquire((shared,), ticket="t")
        assert isinstance(slot, Slot)
        assert isinstance(limiter.acquire((shared, SCOPE), seconds=1), Alone)
        limiter.release(slot, used=False)
        assert isinstance(limiter.try_acquire((shared,), ticket="next"), Slot)

    def test_is_never_made_shorter(self, brakes: Brakes) -> None:
        brakes.slow([SCOPE], after=60)
        brakes.slow([SCOPE], after=1)
        assert brakes.state(SCOPE).paused_seconds == pytest.approx(60, abs=0.5)

    def test_grows_with_each_warning_where_kommo_does_not_say_how_long(self, brakes: Brakes, redis: Redis) -> None:
        pauses = []
        for _ in range(5):
            brakes.slow([SCOPE], after=None)
            pauses.append(round(brakes.state(SCOPE).paused_seconds))
            over(redis)
        assert pauses == [1, 2, 4, 8, 16]

    def test_but_not_for_ever(self, brakes: Brakes, redis: Redis) -> None:
        wide = Scope("wide", 50)
        for _ in range(9):
            over(redis, wide)
            brakes.slow([wide], after=None)
        assert brakes.state(wide).paused_seconds == pytest.approx(LONGEST_BACKOFF_MS / 1000, abs=0.5)


class TestAWarning:
    def test_takes_one_request_a_second_away_for_ten_minutes(
        self, brakes: Brakes, limiter: Limiter, redis: Redis
    ) -> None:
        brakes.slow([SCOPE], after=1)
        over(redis)
        assert brakes.state(SCOPE).allowed == 6
        assert slots(limiter) == 6
        assert LESS_MS - 1000 < redis.pttl(f"{TAG}:less:{SCOPE.name}") <= LESS_MS

    def test_counts_once_for_all_calls_that_were_under_way_together(self, brakes: Brakes) -> None:
        for _ in range(5):
            brakes.slow([SCOPE], after=5)
        assert brakes.state(SCOPE).allowed == 6

    def test_after_warning_leaves_one_at_least(self, brakes: Brakes, limiter: Limiter, redis: Redis) -> None:
        for _ in range(9):
            brakes.slow([SCOPE], after=1)
            over(redis)
        assert (brakes.state(SCOPE).allowed, slots(limiter)) == (1, 1)

    @pytest.mark.parametrize("limit", [1, 2])
    def test_a_narrow_limit_stays_usable(self, brakes: Brakes, limiter: Limiter, redis: Redis, limit: int) -> None:
        scope = Scope("narrow", limit)
        for _ in range(3):
            brakes.slow([scope], after=1)
            over(redis, scope)
        assert slots(limiter, scope) == 1

    def test_lets_no_more_than_the_lower_limit_through_in_any_second(
        self, brakes: Brakes, redis: Redis, redis_server: PrivateServer
    ) -> None:
        scope = Scope("fast", 5)
        brakes.slow([scope], after=1)
        over(redis, scope)
        arrivals: list[float] = []
        lock = threading.Lock()
        ends = time.monotonic() + 2.2

        def call() -> None:
            with connect(redis_server.url) as client:
                own = Limiter(client)
                while time.monotonic() < ends:
                    slot = own.acquire((scope,), seconds=0.3)
                    if isinstance(slot, Slot):
                        with lock:
                            arrivals.append(time.monotonic())
                        own.release(slot)

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        arrivals.sort()
        assert len(arrivals) >= 8
        assert all(later - earlier >= 1.0 for earlier, later in zip(arrivals, arrivals[4:], strict=False))


class TestABlock:
    def claim(self, brakes: Brakes, redis: Redis) -> tuple[str, int] | None:
        """Claim the careful call once its time has come."""
        redis.zadd(BLOCKS, {SCOPE.name: 1})
        return brakes.claim_probe(address=ADDRESS)

    def next_in(self, redis: Redis, now_ms: Callable[[], int]) -> float:
        """Seconds until the next careful call."""
        at = redis.zscore(BLOCKS, SCOPE.name)
        assert at is not None
        return (at - now_ms()) / 1000

    def test_lets_nothing_out(self, brakes: Brakes, limiter: Limiter) -> None:
        brakes.block(SCOPE, 5, after=None)
        answer = limiter.acquire((SCOPE,), seconds=20)
        assert isinstance(answer, Alone)
        assert answer.seconds == pytest.approx(FIRST_BLOCK_MS / 1000, abs=1)
        assert brakes.state(SCOPE).blocked

    def test_lasts_five_minutes_at_least_and_as_long_as_kommo_says(
        self, brakes: Brakes, redis: Redis, now_ms: Callable[[], int]
    ) -> None:
        brakes.block(SCOPE, 5, after=10)
        assert self.next_in(redis, now_ms) == pytest.approx(300, abs=1)
        brakes.release(SCOPE.name)
        brakes.block(SCOPE, 5, after=900)
        assert self.next_in(redis, now_ms) == pytest.approx(900, abs=1)

    def test_does_not_end_by_itself(self, brakes: Brakes, limiter: Limiter, redis: Redis) -> None:
        brakes.block(SCOPE, 5, after=None)
        assert redis.ttl(f"{TAG}:pause:{SCOPE.name}") == -1
        redis.set(f"{TAG}:pause:{SCOPE.name}", "1!")
        answer = limiter.try_acquire((SCOPE,), ticket="t")
        assert isinstance(answer, Alone)
        assert 1 <= answer.seconds < 2

    def test_is_not_made_shorter_by_a_warning(self, brakes: Brakes, limiter: Limiter) -> None:
        brakes.block(SCOPE, 5, after=None)
        brakes.slow([SCOPE], after=1)
        assert isinstance(limiter.try_acquire((SCOPE,), ticket="t"), Alone)
        assert brakes.state(SCOPE).paused_seconds > 200

    def test_of_calls_that_were_under_way_says_nothing_new(
        self, brakes: Brakes, redis: Redis, now_ms: Callable[[], int]
    ) -> None:
        brakes.block(SCOPE, 5, after=None)
        brakes.block(SCOPE, 6, after=None)
        assert self.next_in(redis, now_ms) == pytest.approx(300, abs=1)
        assert self.claim(brakes, redis) == (SCOPE.name, 5)

    def test_is_doubled_by_each_careful_call_that_is_refused_up_to_an_hour(
        self, brakes: Brakes, redis: Redis, now_ms: Callable[[], int]
    ) -> None:
        brakes.block(SCOPE, 5, after=None)
        waits = []
        for _ in range(5):
            assert self.claim(brakes, redis) is not None
            brakes.block(SCOPE, 5, after=None)
            waits.append(round(self.next_in(redis, now_ms)))
        assert waits == [600, 1200, 2400, 3600, 3600]
        assert waits[-1] == LONGEST_BLOCK_MS / 1000

    def test_is_never_shorter_than_kommo_says(self, brakes: Brakes, redis: Redis, now_ms: Callable[[], int]) -> None:
        brakes.block(SCOPE, 5, after=7200)
        assert self.claim(brakes, redis) is not None
        brakes.block(SCOPE, 5, after=7200)
        assert self.next_in(redis, now_ms) == pytest.approx(7200, abs=1)

    def test_a_careful_call_is_not_due_before_its_time(self, brakes: Brakes) -> None:
        assert brakes.claim_probe(address=ADDRESS) is None
        assert not brakes.probes_due(address=ADDRESS)
        brakes.block(SCOPE, 5, after=None)
        assert brakes.claim_probe(address=ADDRESS) is None
        assert not brakes.probes_due(address=ADDRESS)

    def test_one_process_gets_the_careful_call_and_the_next_one_when_it_did_not_come_back(
        self, brakes: Brakes, redis: Redis, now_ms: Callable[[], int]
    ) -> None:
        brakes.block(SCOPE, 5, after=None)
        redis.zadd(BLOCKS, {SCOPE.name: 1})
        assert brakes.probes_due(address=ADDRESS)
        assert [brakes.claim_probe(address=ADDRESS) for _ in range(3)] == [(SCOPE.name, 5), None, None]
        assert self.next_in(redis, now_ms) == pytest.approx(PROBE_MS / 1000, abs=1)
        assert self.claim(brakes, redis) == (SCOPE.name, 5)

    @pytest.mark.parametrize("name", ["ip:here", "account:5", "integration:shop:5"])
    def test_a_careful_call_is_made_for_ones_own_address_and_for_what_all_addresses_share(
        self, brakes: Brakes, redis: Redis, name: str
    ) -> None:
        brakes.block(Scope(name, 7), 5, after=None)
        redis.zadd(BLOCKS, {name: 1})
        assert brakes.probes_due(address=ADDRESS) == [name]
        assert brakes.claim_probe(address=ADDRESS) == (name, 5)

    def test_the_careful_call_of_another_address_is_left_to_who_calls_from_there(
        self, brakes: Brakes, redis: Redis
    ) -> None:
        there = "ip:there"
        brakes.block(Scope(there, 7), 6, after=None)
        redis.zadd(BLOCKS, {there: 1})
        assert brakes.probes_due(address=ADDRESS) == []
        assert brakes.claim_probe(address=ADDRESS) is None
        assert brakes.probes_due(address=there) == [there]
        assert brakes.claim_probe(address=there) == (there, 6)

    def test_another_address_that_is_due_before_holds_up_none_of_ones_own(self, brakes: Brakes, redis: Redis) -> None:
        for at, name in enumerate(["ip:there", "account:5", "ip:over-there", ADDRESS], 1):
            brakes.block(Scope(name, 7), 5, after=None)
            redis.zadd(BLOCKS, {name: at})
        assert brakes.probes_due(address=ADDRESS) == ["account:5", ADDRESS]
        claims = [brakes.claim_probe(address=ADDRESS) for _ in range(3)]
        assert claims == [("account:5", 5), (ADDRESS, 5), None]

    def test_racing_processes_get_one_careful_call(
        self, brakes: Brakes, redis: Redis, redis_server: PrivateServer
    ) -> None:
        brakes.block(SCOPE, 5, after=None)
        redis.zadd(BLOCKS, {SCOPE.name: 1})
        claims: list[object] = []
        barrier = threading.Barrier(8)

        def claim() -> None:
            with connect(redis_server.url) as client:
                barrier.wait()
                claims.append(Brakes(client).claim_probe(address=ADDRESS))

        threads = [threading.Thread(target=claim) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(one is not None for one in claims) == 1

    def test_ends_when_the_careful_call_has_worked(self, brakes: Brakes, limiter: Limiter, redis: Redis) -> None:
        brakes.block(SCOPE, 5, after=None)
        assert self.claim(brakes, redis) is not None
        brakes.release(SCOPE.name)
        assert isinstance(limiter.try_acquire((SCOPE,), ticket="t"), Slot)
        assert not brakes.state(SCOPE).blocked
        assert brakes.claim_probe(address=ADDRESS) is None

    def test_after_its_end_the_next_one_begins_with_five_minutes(
        self, brakes: Brakes, redis: Redis, now_ms: Callable[[], int]
    ) -> None:
        brakes.block(SCOPE, 5, after=900)
        self.claim(brakes, redis)
        brakes.release(SCOPE.name)
        brakes.block(SCOPE, 5, after=None)
        assert self.next_in(redis, now_ms) == pytest.approx(300, abs=1)


class TestTheState:
    def test_of_a_limit_that_nobody_uses(self, brakes: Brakes) -> None:
        state = brakes.state(SCOPE)
        assert (state.scope, state.allowed, state.taken, state.waiting) == (SCOPE, 7, 0, 0)
        assert (state.paused_seconds, state.blocked) == (0, False)

    def test_counts_what_is_taken_and_who_waits(self, brakes: Brakes, limiter: Limiter) -> None:
        assert slots(limiter) == 7
        for ticket in ("a", "b"):
            limiter.try_acquire((SCOPE,), ticket=ticket)
        state = brakes.state(SCOPE)
        assert (state.taken, state.waiting) == (7, 3), "the ticket that found no slot waits, too"

    def test_does_not_count_slots_that_are_free_again(self, brakes: Brakes, limiter: Limiter, redis: Redis) -> None:
        slot = limiter.try_acquire((SCOPE,), ticket="t")
        assert isinstance(slot, Slot)
        redis.zadd(f"{TAG}:slots:{SCOPE.name}", {slot.id: 1})
        assert brakes.state(SCOPE).taken == 0


def test_brakes_are_forgotten_when_redis_is_away_instead_of_failing_the_call() -> None:
    with PrivateServer(fsync="no") as server, connect(server.url) as client:
        brakes = Brakes(client)
        server.kill()
        brakes.slow([SCOPE], after=1)
        brakes.block(SCOPE, 5, after=None)
