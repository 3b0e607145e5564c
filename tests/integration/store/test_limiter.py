"""The limiter: never more than so many in a second, all scopes or none, fair, and nothing lost by a death."""

import os
import signal
import threading
import time

import pytest
from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.store.brakes import Brakes
from kommo.store.connection import connect, now_ms
from kommo.store.limiter import COOL_DOWN_MS, HEAD_START_MS, SLOT_LEASE_MS, Limiter, Scope, Slot, Wait
from kommo.store.server import PrivateServer
from tests.waiting import wait_for

SEVEN = (Scope("account:1", 7),)


def taken(redis: Redis, scope: Scope) -> int:
    """How many slots of a scope are in use or cool down."""
    return Brakes(redis).state(scope).taken


def _slots(limiter: Limiter, scopes: tuple[Scope, ...], number: int) -> list[Slot]:
    taken = [limiter.try_acquire(scopes, ticket=f"t{index}") for index in range(number)]
    assert all(isinstance(slot, Slot) for slot in taken)
    return taken  # type: ignore[return-value]


def test_the_limit_is_given_at_once_and_then_no_more(redis: Redis) -> None:
    limiter = Limiter(redis)
    _slots(limiter, SEVEN, 7)
    assert not isinstance(limiter.try_acquire(SEVEN, ticket="eighth"), Slot)
    assert taken(redis, SEVEN[0]) == 7


def test_a_slot_is_free_again_one_second_after_its_answer_and_no_sooner(redis: Redis) -> None:
    limiter = Limiter(redis)
    scopes = (Scope("x", 1),)
    (slot,) = _slots(limiter, scopes, 1)
    released = time.monotonic()
    limiter.release(slot)
    assert isinstance(limiter.acquire(scopes, seconds=3), Slot)
    assert COOL_DOWN_MS / 1000 <= time.monotonic() - released < 1.5


def test_a_slot_is_not_free_while_its_call_is_under_way(redis: Redis) -> None:
    limiter = Limiter(redis)
    scopes = (Scope("x", 1),)
    _slots(limiter, scopes, 1)
    assert limiter.acquire(scopes, seconds=1.2) is None


def test_an_unused_slot_is_free_at_once(redis: Redis) -> None:
    limiter = Limiter(redis)
    scopes = (Scope("x", 1),)
    (slot,) = _slots(limiter, scopes, 1)
    limiter.release(slot, used=False)
    assert isinstance(limiter.try_acquire(scopes, ticket="next"), Slot)


def test_a_slot_whose_holder_died_comes_back_with_its_lease(redis: Redis) -> None:
    limiter = Limiter(redis)
    scopes = (Scope("x", 1),)
    _slots(limiter, scopes, 1)
    key = "kommo:{limits}:slots:x"
    (_, ends), *_ = redis.zrange(key, 0, -1, withscores=True)
    seconds, micros = redis.time()
    assert ends == pytest.approx(seconds * 1000 + micros / 1000 + SLOT_LEASE_MS, abs=1000)
    redis.zadd(key, {redis.zrange(key, 0, 0)[0]: 1})
    assert isinstance(limiter.try_acquire(scopes, ticket="next"), Slot)


def test_a_call_takes_a_slot_in_every_scope_or_in_none(redis: Redis) -> None:
    limiter = Limiter(redis)
    narrow, wide = Scope("narrow", 1), Scope("wide", 5)
    _slots(limiter, (narrow, wide), 1)
    assert not isinstance(limiter.try_acquire((narrow, wide), ticket="second"), Slot)
    assert (taken(redis, narrow), taken(redis, wide)) == (1, 1)
    assert isinstance(limiter.try_acquire((wide,), ticket="third"), Slot)


def test_who_waits_longest_is_next(redis: Redis) -> None:
    limiter = Limiter(redis)
    scopes = (Scope("x", 1),)
    (slot,) = _slots(limiter, scopes, 1)
    for ticket in ("first", "second"):
        limiter.try_acquire(scopes, ticket=ticket)
    limiter.release(slot, used=False)
    assert not isinstance(limiter.try_acquire(scopes, ticket="second"), Slot)
    assert isinstance(limiter.try_acquire(scopes, ticket="first"), Slot)


def test_a_waiter_that_died_holds_up_nobody(redis: Redis) -> None:
    limiter = Limiter(redis)
    scopes = (Scope("x", 1),)
    (slot,) = _slots(limiter, scopes, 1)
    limiter.try_acquire(scopes, ticket="dies")
    limiter.try_acquire(scopes, ticket="lives")
    limiter.release(slot, used=False)
    redis.zadd("kommo:{limits}:tickets", {"dies": 1})
    assert isinstance(limiter.try_acquire(scopes, ticket="lives"), Slot)


def test_a_flooded_account_holds_up_no_other_in_a_scope_they_share(redis: Redis) -> None:
    limiter = Limiter(redis)
    address = Scope("ip", 7)
    flooded, other = Scope("account:1", 1), Scope("account:2", 1)
    _slots(limiter, (flooded, address), 1)
    for waiter in range(20):
        limiter.try_acquire((flooded, address), ticket=f"w{waiter}")
    assert isinstance(limiter.try_acquire((other, address), ticket="other"), Slot)


def test_racing_threads_never_get_more_than_the_limit_in_any_second(redis: Redis) -> None:
    limiter = Limiter(redis)
    arrivals: list[float] = []
    lock = threading.Lock()
    ends = time.monotonic() + 3.5

    def call() -> None:
        while time.monotonic() < ends:
            slot = limiter.acquire(SEVEN, seconds=1)
            if not isinstance(slot, Slot):
                continue
            with lock:
                arrivals.append(time.monotonic())
            time.sleep(0.005)
            limiter.release(slot)

    threads = [threading.Thread(target=call) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    arrivals.sort()
    assert all(later - earlier >= 1.0 for earlier, later in zip(arrivals, arrivals[7:], strict=False))
    assert len(arrivals) >= 7 * 3


def test_waiting_ends_when_a_slot_is_freed(redis: Redis) -> None:
    limiter = Limiter(redis)
    scopes = (Scope("x", 1),)
    (slot,) = _slots(limiter, scopes, 1)
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(limiter.acquire(scopes, seconds=5)))
    thread.start()
    wait_for(lambda: redis.zcard("kommo:{limits}:queue:x"), what="the waiter has its place")
    limiter.release(slot, used=False)
    thread.join(2)
    assert isinstance(got[0], Slot)


def test_a_slot_is_offered_back_to_a_redis_that_was_away() -> None:
    with PrivateServer() as server:
        client = connect(server.url)
        limiter = Limiter(client)
        (slot,) = _slots(limiter, SEVEN, 1)
        server.kill()
        back = threading.Timer(0.5, server.start)
        back.start()
        limiter.release(slot)
        back.join()
        (_, free_at), *_ = client.zrange("kommo:{limits}:slots:account:1", 0, -1, withscores=True)
        assert free_at <= now_ms(client) + COOL_DOWN_MS
        client.close()


def test_a_slot_that_was_taken_by_a_call_without_an_answer_is_given_back() -> None:
    scopes = (Scope("x", 1),)
    with PrivateServer() as server:
        client = connect(server.url, answer_seconds=0.2)
        limiter = Limiter(client)
        limiter.release(_slots(limiter, scopes, 1)[0], used=False)
        os.kill(server.pid, signal.SIGSTOP)
        with pytest.raises(StoreUnavailable):
            limiter.try_acquire(scopes, ticket="unanswered")
        os.kill(server.pid, signal.SIGCONT)
        wait_for(lambda: taken(client, scopes[0]) == 1, what="the slot was taken all the same")
        assert isinstance(limiter.try_acquire(scopes, ticket="next"), Slot)
        client.close()


def test_a_full_redis_takes_slots_back(redis: Redis) -> None:
    limiter = Limiter(redis)
    (slot,) = _slots(limiter, SEVEN, 1)
    redis.config_set("maxmemory", "1")
    try:
        limiter.release(slot, used=False)
    finally:
        redis.config_set("maxmemory", "0")
    assert taken(redis, SEVEN[0]) == 0


class TestAHeadStart:
    """Calls of handlers come before writes for later that have waited for less."""

    scopes = (Scope("x", 1),)

    def waiting(self, redis: Redis, *, seconds: float = 0) -> tuple[Limiter, Slot]:
        """A limiter whose only slot is taken, and a write for later that has waited for so long."""
        limiter = Limiter(redis)
        (slot,) = _slots(limiter, self.scopes, 1)
        limiter.try_acquire(self.scopes, ticket="later")
        redis.zincrby("kommo:{limits}:queue:x", -seconds * 1000, "later")
        return limiter, slot

    def next(self, limiter: Limiter, slot: Slot) -> str:
        """Who gets the slot when it is free."""
        limiter.try_acquire(self.scopes, ticket="live", head_start_ms=HEAD_START_MS)
        limiter.release(slot, used=False)
        for ticket, head_start in (("later", 0), ("live", HEAD_START_MS)):
            if isinstance(limiter.try_acquire(self.scopes, ticket=ticket, head_start_ms=head_start), Slot):
                return ticket
        return "nobody"

    def test_goes_before_what_has_waited_for_less(self, redis: Redis) -> None:
        assert self.next(*self.waiting(redis)) == "live"

    def test_but_not_before_what_has_waited_for_longer(self, redis: Redis) -> None:
        assert self.next(*self.waiting(redis, seconds=HEAD_START_MS / 1000 + 1)) == "later"

    def test_does_not_mix_up_the_order_of_those_who_have_it(self, redis: Redis) -> None:
        limiter, slot = self.waiting(redis)
        limiter.try_acquire(self.scopes, ticket="first", head_start_ms=HEAD_START_MS)
        assert self.next(limiter, slot) == "nobody", "the first of them has not asked again"
        assert isinstance(limiter.try_acquire(self.scopes, ticket="first", head_start_ms=HEAD_START_MS), Slot)


class TestSpacing:
    """Writes for later take the second half of the slots one after another."""

    def test_the_first_half_goes_at_once_and_the_rest_is_spread(self, redis: Redis) -> None:
        limiter, ends = Limiter(redis), time.monotonic() + 5
        taken_at: list[float] = []
        while len(taken_at) < 7 and time.monotonic() < ends:
            if isinstance(limiter.acquire(SEVEN, seconds=1, spacing=0.8), Slot):
                taken_at.append(time.monotonic())
        first_half, second_half = taken_at[3] - taken_at[0], taken_at[6] - taken_at[3]
        assert second_half > first_half
        assert second_half == pytest.approx(3 * 0.8 / 7, abs=0.15)

    def test_who_asks_for_none_waits_for_none(self, redis: Redis) -> None:
        limiter = Limiter(redis)
        while isinstance(limiter.try_acquire(SEVEN, ticket="later", spacing=0.8), Slot):
            pass
        assert isinstance(limiter.try_acquire(SEVEN, ticket="live", head_start_ms=HEAD_START_MS), Slot)


class TestLeaving:
    """A loop that serves many accounts does not stand in the queue of one of them."""

    own, shared = Scope("account:1", 1), Scope("ip", 2)

    def test_where_its_own_scope_has_no_slot_it_is_told_when_to_come_again(self, redis: Redis) -> None:
        limiter = Limiter(redis)
        (slot,) = _slots(limiter, (self.own, self.shared), 1)
        limiter.release(slot)
        answer = limiter.acquire((self.own, self.shared), seconds=5, not_for=(self.own,))
        assert isinstance(answer, Wait)
        assert answer.short == self.own
        assert 0 < answer.seconds <= COOL_DOWN_MS / 1000

    def test_where_a_shared_one_has_none_it_waits(self, redis: Redis) -> None:
        limiter = Limiter(redis)
        for slot in _slots(limiter, (self.shared,), 2):
            limiter.release(slot)
        assert isinstance(limiter.acquire((self.own, self.shared), seconds=3, not_for=(self.own,)), Slot)
