"""Replays: steps go behind what waits, once, and an interrupted replay is gone on with where it stands."""

import threading

import pytest
from redis import Redis

from kommo.store.inbox import Inbox, RoutedEvent, Step
from kommo.store.keys import Keys
from kommo.store.lanes import Lanes, StepOutcome
from kommo.store.replays import LIFE_SECONDS, Added, Replays
from tests.integration.store.conftest import ACCOUNT, one_event

LANE = "lead:1:h"


@pytest.fixture
def replays(redis: Redis, keys: Keys) -> Replays:
    return Replays(redis, keys)


def event(number: int, *lanes: str) -> RoutedEvent:
    steps = [Step(lane, b"replayed-%d" % number) for lane in lanes or (LANE,)]
    return RoutedEvent(f"e{number}", f"{number}-0", steps)


def add(replays: Replays, after: str, up_to: str, *events: RoutedEvent) -> Added:
    return replays.add("r1", ACCOUNT, after=after, up_to=up_to, events=events)


def drained(lanes: Lanes) -> list[bytes]:
    """Run all that waits, lane by lane, and give what ran."""
    ran: list[bytes] = []
    while leases := lanes.take(ACCOUNT, f"t{len(ran)}").leases:
        ran.append(leases[0].item)
        lanes.finish(StepOutcome(leases[0], "done", "r", leases[0].item.decode().rpartition("-")[2] + "-0"))
    return ran


def test_steps_go_behind_what_waits_in_the_order_of_the_events_though_they_were_seen(
    inbox: Inbox, lanes: Lanes, replays: Replays
) -> None:
    one_event(inbox, 1, LANE)
    assert add(replays, "0-0", "2-0", event(1), event(2))[:2] == (True, 2)
    assert drained(lanes) == [b"1", b"replayed-1", b"replayed-2"]


def test_a_batch_is_added_once_however_often_it_is_tried(lanes: Lanes, replays: Replays) -> None:
    assert replays.place("r1", ACCOUNT) == "0-0"
    assert add(replays, "0-0", "5-0", event(5)).moved
    assert add(replays, "0-0", "5-0", event(5)) == Added(moved=False, steps=0, wake=False)
    assert replays.place("r1", ACCOUNT) == "5-0"
    assert drained(lanes) == [b"replayed-5"]


def test_of_two_who_go_on_with_a_replay_one_gets_each_batch(lanes: Lanes, replays: Replays) -> None:
    start, moved = threading.Barrier(6), []

    def go_on() -> None:
        start.wait()
        moved.append(add(replays, "0-0", "1-0", event(1)).moved)

    threads = [threading.Thread(target=go_on) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(moved) == [False] * 5 + [True]
    assert drained(lanes) == [b"replayed-1"]


def test_an_event_that_came_twice_runs_once_in_a_replay_and_again_in_the_next(lanes: Lanes, replays: Replays) -> None:
    assert add(replays, "0-0", "1-0", event(1), event(1)).steps == 1
    assert add(replays, "1-0", "2-0", event(1)).steps == 0
    assert replays.add("r2", ACCOUNT, after="0-0", up_to="1-0", events=[event(1)]).steps == 1
    assert drained(lanes) == [b"replayed-1", b"replayed-1"]


def test_its_deliveries_are_open_until_their_steps_are_done(
    lanes: Lanes, replays: Replays, redis: Redis, keys: Keys
) -> None:
    add(replays, "0-0", "2-0", event(1, "a", "b"), event(2))
    assert redis.hgetall(keys.open(ACCOUNT)) == {b"1-0": b"2", b"2-0": b"1"}
    drained(lanes)
    assert redis.exists(keys.open(ACCOUNT)) == 0


def test_an_event_that_nobody_wants_leaves_nothing_behind(replays: Replays, redis: Redis, keys: Keys) -> None:
    assert add(replays, "0-0", "9-0", RoutedEvent("e9", "9-0", [])) == Added(moved=True, steps=0, wake=False)
    assert redis.exists(keys.open(ACCOUNT)) == 0
    assert replays.place("r1", ACCOUNT) == "9-0"


def test_steps_are_counted_and_a_loop_is_woken_where_none_is_awake(replays: Replays, redis: Redis, keys: Keys) -> None:
    assert add(replays, "0-0", "1-0", event(1, "a", "b")) == Added(moved=True, steps=2, wake=True)
    assert add(replays, "1-0", "2-0", event(2)).wake is False
    stats = redis.hgetall(keys.stats(ACCOUNT))
    assert (stats[b"steps"], stats[b"replayed"]) == (b"3", b"3")


def test_what_was_asked_for_is_kept_for_a_day(replays: Replays, redis: Redis) -> None:
    assert replays.asked("r1") is None
    replays.keep("r1", b"all of it")
    assert replays.asked("r1") == b"all of it"
    add(replays, "0-0", "1-0", event(1))
    lives = [redis.ttl(key) for key in redis.scan_iter("*") if b"r1" in key]
    assert len(lives) == 3
    assert all(LIFE_SECONDS - 60 < life <= LIFE_SECONDS for life in lives)
