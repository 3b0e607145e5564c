"""Scripts and commands over one connection in one go, and how long their answers are waited for."""

import time
from collections.abc import Callable

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kommo.store.connection import connect
from kommo.store.server import PrivateServer
from kommo.store.wire import Command, Until, exchange

#: Answered after 0.15 s each, one after the other.
SLOW: Command = ("BLPOP", "nothing-comes-here", "0.15")


@pytest.fixture
def quick(redis_server: PrivateServer) -> Redis:
    """A client that waits for a reply for a quarter of a second."""
    return connect(redis_server.url, answer_seconds=0.25)


def took(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_an_error_of_the_server_stands_in_the_place_of_its_reply(redis: Redis) -> None:
    first, wrong, last = exchange(redis, [("SET", "a", "1"), ("LPUSH", "a", "2"), ("GET", "a")])
    assert (first, last) == (b"OK", b"1")
    assert isinstance(wrong, ResponseError)


def test_each_reply_may_take_as_long_as_is_usual(quick: Redis) -> None:
    assert took(lambda: exchange(quick, [SLOW] * 3)) > 0.4


def test_a_deadline_is_for_all_replies_together(quick: Redis) -> None:
    def ask() -> None:
        with pytest.raises(RedisTimeoutError), Until(time.monotonic() + 0.4):
            exchange(quick, [SLOW] * 10)

    assert took(ask) < 0.8


def test_no_reply_is_waited_for_longer_than_usual_however_far_the_deadline_is(quick: Redis) -> None:
    def ask() -> None:
        with pytest.raises(RedisTimeoutError), Until(time.monotonic() + 60):
            exchange(quick, [("BLPOP", "nothing-comes-here", "30")])

    assert took(ask) < 2


def test_after_a_deadline_the_late_replies_are_not_taken_for_those_of_the_next_commands(quick: Redis) -> None:
    with pytest.raises(RedisTimeoutError), Until(time.monotonic() + 0.05):
        exchange(quick, [SLOW, ("GET", "a")])
    assert exchange(quick, [("ECHO", "here")]) == [b"here"]


def test_after_a_deadline_nothing_is_sent(quick: Redis) -> None:
    with pytest.raises(RedisTimeoutError), Until(time.monotonic()):
        exchange(quick, [("SET", "late", "1")])
    assert exchange(quick, [("EXISTS", "late")]) == [0]


def test_a_deadline_ends_with_its_block_even_when_that_fails(quick: Redis) -> None:
    with pytest.raises(ZeroDivisionError), Until(time.monotonic()):
        _ = 1 / 0
    assert took(lambda: exchange(quick, [SLOW] * 2)) > 0.25
