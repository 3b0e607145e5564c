"""The breaker: open from the first failure until somebody finds Redis back; each is told once."""

from collections.abc import Iterator

import pytest

from kommo.store.breaker import Breaker
from tests.integration.workers.logs import Lines, logged


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


def test_it_is_closed_at_first_and_open_after_a_failure_until_redis_is_back() -> None:
    breaker = Breaker()
    assert not breaker.is_open
    breaker.trip("no route")
    assert breaker.is_open
    breaker.close()
    assert not breaker.is_open


def test_each_change_is_logged_once_with_the_reason_and_the_time(lines: Lines) -> None:
    now = 50.0
    breaker = Breaker(lambda: now)
    breaker.close()
    breaker.trip("no route")
    breaker.trip("another reason")
    now += 12.34
    breaker.close()
    breaker.close()
    away, back = lines.all
    assert (away["level"], away["reason"]) == ("warning", "no route")
    assert (back["message"], back["seconds"]) == ("Redis is back", 12.3)
