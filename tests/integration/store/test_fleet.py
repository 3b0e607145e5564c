"""The fleet: who lives, what it can do, which handlers it knows."""

import pytest
from redis import Redis

from kommo.errors import StoreError
from kommo.store.fleet import Fleet


def test_processes_add_up_to_the_fleets_capacity(redis: Redis) -> None:
    fleet = Fleet(redis)
    fleet.announce("a", {"lanes": 13, "outbox": 1}, ["h"], sweep_ms=60_000)
    fleet.announce("b", {"lanes": 5, "outbox": 1}, ["h"], sweep_ms=60_000)
    assert fleet.capacity() == {"lanes": 18, "outbox": 2}
    assert fleet.size() == 2


def test_a_process_that_is_silent_for_too_long_no_longer_counts(redis: Redis) -> None:
    fleet = Fleet(redis)
    fleet.announce("dies", {"lanes": 13}, [], sweep_ms=60_000)
    redis.zadd("kommo:{fleet}:processes", {"dies": 1})
    assert fleet.size() == 0
    fleet.announce("lives", {"lanes": 2}, [], sweep_ms=60_000)
    assert fleet.capacity() == {"lanes": 2}


def test_a_process_that_leaves_is_gone_at_once(redis: Redis) -> None:
    fleet = Fleet(redis)
    fleet.announce("a", {"lanes": 3, "outbox": 1}, [], sweep_ms=60_000)
    fleet.leave("a", ["lanes", "outbox"])
    assert fleet.size() == 0
    assert fleet.capacity() == {}


def test_a_handler_is_known_since_it_was_last_announced(redis: Redis) -> None:
    fleet = Fleet(redis)
    assert fleet.handler_unseen_ms("shop.won") is None
    fleet.announce("a", {"lanes": 1}, ["shop.won"], sweep_ms=60_000)
    assert fleet.handler_unseen_ms("shop.won") < 1000


def test_one_process_at_a_time_sweeps(redis: Redis) -> None:
    fleet = Fleet(redis)
    assert [fleet.announce(name, {}, [], sweep_ms=60_000) for name in "abc"] == [True, False, False]


def test_a_full_redis_still_hears_who_lives_and_who_sweeps(redis: Redis) -> None:
    redis.config_set("maxmemory", "1")
    try:
        assert Fleet(redis).announce("a", {"lanes": 1}, ["h"], sweep_ms=1000)
    finally:
        redis.config_set("maxmemory", "0")


def test_another_number_of_shards_than_the_recorded_one_is_refused(redis: Redis) -> None:
    fleet = Fleet(redis)
    fleet.check_shards(2)
    fleet.check_shards(2)
    with pytest.raises(StoreError, match=r"KOMMO_SHARDS=3.*set KOMMO_SHARDS=2"):
        fleet.check_shards(3)
