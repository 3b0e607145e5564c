"""What is known of webhooks is kept by account, over all shards."""

import threading

import pytest
from redis import Redis

from kommo.store.keys import Keys
from kommo.store.watch import Watch, Watched

ON = Watched("on", 100, 900, 100, lacking=("add_talk",))


@pytest.fixture(params=[1, 3])
def watch(request: pytest.FixtureRequest, redis: Redis) -> Watch:
    return Watch(redis, Keys(request.param))


def test_nothing_is_known_before_somebody_has_looked(watch: Watch) -> None:
    assert (watch.get(7), watch.all()) == (None, {})


def test_what_was_noted_is_read_again(watch: Watch) -> None:
    gone = Watched("missing", 5, reason="it was removed")
    watch.note(8, gone)
    watch.note(7, ON)
    assert (watch.get(7), watch.get(8), watch.get(9)) == (ON, gone, None)
    assert list(watch.all().items()) == [(7, ON), (8, gone)]


def test_what_is_forgotten_is_not_known(watch: Watch) -> None:
    watch.note(7, ON)
    watch.forget(7)
    assert watch.all() == {}


def test_a_turn_is_taken_once_and_comes_again(watch: Watch, redis: Redis) -> None:
    taken: list[bool] = []
    threads = [threading.Thread(target=lambda: taken.append(watch.turn(7, "look", 60))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 7 + [True]
    assert watch.turn(7, "say", 60)
    assert watch.turn(8, "look", 60)
    (key,) = redis.keys("*turn:look:7")
    assert 50 < int(redis.ttl(key)) <= 60


def test_who_was_not_looked_at_for_longest_comes_first(watch: Watch) -> None:
    for account_id, at in ((4, 300), (5, 100), (6, 200)):
        watch.looked(account_id, at)
    assert watch.by_last_look([4, 5, 6, 7]) == [7, 5, 6, 4]
    watch.looked(5, 400)
    watch.forget(4)
    assert watch.by_last_look([4, 5, 6]) == [4, 6, 5]
