"""What those may cost who have proven nothing."""

from ipaddress import ip_network

import pytest
from werkzeug.exceptions import TooManyRequests

from kommo.errors import SettingsError, SignatureError, StoreUnavailable
from receiver.buckets import Buckets
from receiver.strangers import ADDRESSES, LINES, TRIES, Strangers
from tests.waiting import wait_for


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def strangers(clock: Clock) -> Strangers:
    return Strangers((ip_network("10.0.0.0/8"),), clock=clock)


def environ(address: str = "203.0.113.5") -> dict[str, str]:
    return {"REMOTE_ADDR": address}


def fail(strangers: Strangers, address: str = "203.0.113.5", times: int = TRIES) -> None:
    for _ in range(times):
        with pytest.raises(SignatureError), strangers.attempt(environ(address)):
            raise SignatureError("wrong")


class TestBuckets:
    def buckets(self, clock: Clock, *, names: int = 100) -> Buckets:
        return Buckets(burst=3, per_second=2.0, names=names, clock=clock)

    def test_a_bucket_holds_its_burst_and_is_refilled(self, clock: Clock) -> None:
        buckets = self.buckets(clock)
        assert [buckets.take("a") for _ in range(5)] == [True, True, True, False, False]
        clock.now += 0.5
        assert [buckets.take("a") for _ in range(2)] == [True, False]
        clock.now += 60
        assert [buckets.take("a") for _ in range(4)] == [True, True, True, False]

    def test_names_do_not_share_a_bucket(self, clock: Clock) -> None:
        buckets = self.buckets(clock)
        assert [buckets.take("a") for _ in range(3)] == [True] * 3
        assert buckets.take("b")

    def test_a_token_that_is_given_back_may_be_taken_again_and_no_bucket_overflows(self, clock: Clock) -> None:
        buckets = self.buckets(clock)
        for _ in range(10):
            assert buckets.take("a")
            buckets.give_back("a")
        buckets.give_back("a")
        assert [buckets.take("a") for _ in range(4)] == [True, True, True, False]

    def test_no_more_names_are_remembered_than_there_may_be_and_the_oldest_go_first(self, clock: Clock) -> None:
        buckets = self.buckets(clock, names=3)
        for name in ("a", "b", "c"):
            assert [buckets.take(name) for _ in range(3)] == [True] * 3
        buckets.take("d")
        assert len(buckets) == 3
        assert not buckets.take("c")
        assert buckets.take("a")

    def test_a_full_bucket_takes_no_room(self, clock: Clock) -> None:
        buckets = self.buckets(clock)
        buckets.take("a")
        buckets.give_back("a")
        assert len(buckets) == 0


class TestTries:
    def test_an_address_that_has_failed_too_often_is_refused_before_anything_is_looked_at(
        self, strangers: Strangers
    ) -> None:
        fail(strangers)
        looked = False
        with pytest.raises(TooManyRequests), strangers.attempt(environ()):
            looked = True
        assert not looked

    def test_one_try_comes_back_a_second(self, strangers: Strangers, clock: Clock) -> None:
        fail(strangers)
        clock.now += 1
        fail(strangers, times=1)
        with pytest.raises(TooManyRequests), strangers.attempt(environ()):
            pass

    def test_who_proves_himself_pays_nothing(self, strangers: Strangers) -> None:
        for _ in range(10 * TRIES):
            with strangers.attempt(environ()):
                pass
        fail(strangers)

    @pytest.mark.parametrize("ours", [StoreUnavailable("away"), SettingsError(["no key"])])
    def test_nobody_pays_for_our_own_trouble(self, strangers: Strangers, ours: Exception) -> None:
        for _ in range(3 * TRIES):
            with pytest.raises(type(ours)), strangers.attempt(environ()):
                raise ours
            with pytest.raises(type(ours)), strangers.counting(environ()):
                raise ours
        fail(strangers)

    def test_tries_that_are_under_way_at_once_count_before_they_have_failed(self, strangers: Strangers) -> None:
        under_way = [strangers.attempt(environ()) for _ in range(TRIES)]
        for attempt in under_way:
            attempt.__enter__()
        with pytest.raises(TooManyRequests), strangers.attempt(environ()):
            pass
        for attempt in under_way:
            attempt.__exit__(None, None, None)
        fail(strangers)

    def test_what_is_only_counted_is_never_refused_and_counts(self, strangers: Strangers, clock: Clock) -> None:
        for _ in range(100 * TRIES):
            with pytest.raises(SignatureError), strangers.counting(environ()):
                raise SignatureError("wrong")
        with strangers.counting(environ()):
            pass
        with pytest.raises(TooManyRequests), strangers.attempt(environ()):
            pass
        # However often it was: no debt is left beyond an empty bucket.
        clock.now += 1
        with strangers.attempt(environ()):
            pass

    def test_addresses_are_told_apart_and_those_of_a_64_are_not(self, strangers: Strangers) -> None:
        fail(strangers, "2001:db8:1:1::1")
        fail(strangers, "2001:db8:1:2::1", times=1)
        with pytest.raises(TooManyRequests), strangers.attempt(environ("2001:db8:1:1:ffff::2")):
            pass

    def test_behind_a_proxy_each_client_has_its_own_count(self, strangers: Strangers) -> None:
        proxied = {"REMOTE_ADDR": "10.0.0.1"}
        for _ in range(TRIES):
            with (
                pytest.raises(SignatureError),
                strangers.attempt({**proxied, "HTTP_X_FORWARDED_FOR": "1.1.1.1, 198.51.100.7"}),
            ):
                raise SignatureError("wrong")
        with strangers.attempt({**proxied, "HTTP_X_FORWARDED_FOR": "198.51.100.7, 198.51.100.8"}):
            pass
        with (
            pytest.raises(TooManyRequests),
            strangers.attempt({**proxied, "HTTP_X_FORWARDED_FOR": "2.2.2.2, 198.51.100.7"}),
        ):
            pass

    def test_more_addresses_than_are_remembered_do_not_take_more_room(self, strangers: Strangers) -> None:
        for number in range(ADDRESSES + 500):
            fail(strangers, f"2001:db8:{number // 65_536:x}:{number % 65_536:x}::1", times=1)
        assert len(strangers._tries) == ADDRESSES


class TestLines:
    def test_so_many_lines_at_once_and_then_a_count(self, strangers: Strangers, clock: Clock) -> None:
        assert [strangers.line() for _ in range(LINES)] == [0] * LINES
        assert [strangers.line() for _ in range(500)] == [None] * 500
        clock.now += 0.2
        assert strangers.line() == 500
        clock.now += 60
        assert strangers.line() == 0


def test_the_real_clock_refills_too() -> None:
    buckets = Buckets(burst=1, per_second=50.0, names=1)
    assert buckets.take("a")
    wait_for(lambda: buckets.take("a"), seconds=2, every=0.005, what="a token comes back")
