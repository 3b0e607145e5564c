"""Lanes: order, leases, tokens, and the writes that commit with a step."""

import threading
from collections.abc import Callable

import pytest
from redis import Redis

from kommo.store.chains import LEASE_MS, Lease
from kommo.store.dead import DeadLetter
from kommo.store.inbox import Inbox
from kommo.store.keys import Keys
from kommo.store.lanes import AskedWrite, Finished, Lanes, StepOutcome, Verb
from kommo.store.outbox import Outbox
from tests.buried import letters
from tests.integration.store.conftest import ACCOUNT, one_event
from tests.waiting import wait_for

LANE = "lead:1:h"
Expire = Callable[[str], None]


def _take(lanes: Lanes, token: str = "t") -> Lease:
    (lease,) = lanes.take(ACCOUNT, token).leases
    return lease


def _end(lease: Lease, verb: Verb = "done", **more: object) -> StepOutcome:
    return StepOutcome(lease, verb, "runner", "0-0", **more)  # type: ignore[arg-type]


def test_events_of_a_lane_run_one_at_a_time_and_in_order(inbox: Inbox, lanes: Lanes) -> None:
    for number in (1, 2, 3):
        one_event(inbox, number, LANE)
    for number in (1, 2, 3):
        lease = _take(lanes, f"t{number}")
        assert lease.item == str(number).encode()
        assert lanes.take(ACCOUNT, "second").leases == []
        assert lanes.finish(_end(lease))[0] is Finished.RECORDED
    assert lanes.take(ACCOUNT, "t").leases == []


def test_lanes_are_independent_of_each_other(inbox: Inbox, lanes: Lanes) -> None:
    one_event(inbox, 1, "lead:1:h", "lead:1:other", "lead:2:h")
    leases = lanes.take(ACCOUNT, "t", limit=10).leases
    assert sorted(lease.chain for lease in leases) == ["lead:1:h", "lead:1:other", "lead:2:h"]


def test_a_failed_step_stays_at_the_head_and_comes_again_after_its_delay(inbox: Inbox, lanes: Lanes) -> None:
    one_event(inbox, 1, LANE)
    one_event(inbox, 2, LANE)
    lanes.finish(_end(_take(lanes), "failed", delay_ms=400))
    assert lanes.take(ACCOUNT, "early").leases == []
    (lease,) = wait_for(lambda: lanes.take(ACCOUNT, "t2").leases, what="the failed step is due again")
    assert (lease.item, lease.runs, lease.failures, lease.crashes) == (b"1", 1, 1, 0)


@pytest.mark.parametrize(("verb", "runs", "failures"), [("failed", 1, 1), ("again", 1, 0), ("postpone", 0, 0)])
def test_each_way_of_running_again_is_counted_as_what_it_is(
    inbox: Inbox, lanes: Lanes, verb: Verb, runs: int, failures: int
) -> None:
    one_event(inbox, 1, LANE)
    lanes.finish(_end(_take(lanes), verb))
    lease = _take(lanes, "t2")
    assert (lease.runs, lease.failures, lease.crashes) == (runs, failures, 0)


def test_the_next_event_starts_with_clean_counters(inbox: Inbox, lanes: Lanes) -> None:
    one_event(inbox, 1, LANE)
    one_event(inbox, 2, LANE)
    lanes.finish(_end(_take(lanes), "failed"))
    lanes.finish(_end(_take(lanes, "t2")))
    lease = _take(lanes, "t3")
    assert (lease.item, lease.runs, lease.failures) == (b"2", 0, 0)


def test_a_lease_that_ran_out_is_taken_by_another_and_counted_as_a_crash(
    inbox: Inbox, lanes: Lanes, expire_leases: Expire
) -> None:
    one_event(inbox, 1, LANE)
    _take(lanes, "dies")
    expire_leases("lanes")
    assert (lease := _take(lanes, "next")).crashes == 1
    assert lease.item == b"1"


def test_who_lost_the_lease_while_the_handler_ran_changes_nothing(
    inbox: Inbox, lanes: Lanes, outbox: Outbox, expire_leases: Expire
) -> None:
    one_event(inbox, 1, LANE)
    one_event(inbox, 2, LANE)
    slow = _take(lanes, "slow")
    expire_leases("lanes")
    fast = _take(lanes, "fast")
    finished, _ = lanes.finish(_end(slow, writes=[AskedWrite("lead:1", b"from the slow one")]))
    assert finished is Finished.STALE
    assert outbox.take(ACCOUNT, "o").leases == []
    assert lanes.finish(_end(fast, writes=[AskedWrite("lead:1", b"from the fast one")]))[0] is Finished.RECORDED
    assert [lease.item for lease in outbox.take(ACCOUNT, "o").leases] == [b"from the fast one"]


def test_the_slow_ones_late_finish_does_not_touch_the_next_event(
    inbox: Inbox, lanes: Lanes, expire_leases: Expire
) -> None:
    one_event(inbox, 1, LANE)
    one_event(inbox, 2, LANE)
    slow = _take(lanes, "slow")
    expire_leases("lanes")
    lanes.finish(_end(_take(lanes, "fast")))
    second = _take(lanes, "then")
    assert lanes.finish(_end(slow))[0] is Finished.STALE
    assert lanes.finish(_end(second))[0] is Finished.RECORDED


@pytest.mark.parametrize("events", [1, 2])
def test_a_finish_whose_answer_was_lost_is_recorded_once(
    inbox: Inbox, lanes: Lanes, outbox: Outbox, events: int
) -> None:
    for number in range(events):
        one_event(inbox, number, LANE)
    outcome = _end(_take(lanes), writes=[AskedWrite("lead:1", b"once")])
    assert [lanes.finish(outcome)[0] for _ in range(3)] == [
        Finished.RECORDED,
        Finished.RECORDED_BEFORE,
        Finished.RECORDED_BEFORE,
    ]
    assert len(outbox.take(ACCOUNT, "o", limit=10).leases) == 1
    assert len(lanes.take(ACCOUNT, "t2").leases) == events - 1


def test_a_repeated_finish_does_not_eat_the_lease_that_was_taken_since(inbox: Inbox, lanes: Lanes) -> None:
    one_event(inbox, 1, LANE)
    one_event(inbox, 2, LANE)
    outcome = _end(_take(lanes))
    lanes.finish(outcome)
    second = _take(lanes, "t2")
    assert lanes.finish(outcome)[0] is Finished.RECORDED_BEFORE
    assert lanes.finish(_end(second))[0] is Finished.RECORDED


def test_writes_are_stored_only_by_a_step_that_is_done(inbox: Inbox, lanes: Lanes, outbox: Outbox) -> None:
    one_event(inbox, 1, LANE)
    write = AskedWrite("lead:1", b"w")
    lanes.finish(_end(_take(lanes), "failed", writes=[write]))
    assert outbox.take(ACCOUNT, "o").leases == []
    lanes.finish(_end(_take(lanes, "t2"), writes=[write]))
    assert [lease.item for lease in outbox.take(ACCOUNT, "o").leases] == [b"w"]


def test_the_first_write_wakes_a_flush(inbox: Inbox, lanes: Lanes) -> None:
    one_event(inbox, 1, "lead:1:h", "lead:2:h")
    first, second = lanes.take(ACCOUNT, "t", limit=2).leases
    assert lanes.finish(_end(first, writes=[AskedWrite("lead:1", b"w")]))[1]
    assert not lanes.finish(_end(second, writes=[AskedWrite("lead:2", b"w")]))[1]


def test_a_step_given_up_leaves_a_dead_letter_and_frees_the_lane(
    inbox: Inbox, lanes: Lanes, redis: Redis, keys: Keys
) -> None:
    one_event(inbox, 1, LANE)
    one_event(inbox, 2, LANE)
    letter = DeadLetter("e1.h", "step", ACCOUNT, "rejected", "no", 5, "d1", handler="h", item={"event": {"id": "e1"}})
    lanes.finish(_end(_take(lanes), "dead", dead=letter))
    assert letters(redis, keys, ACCOUNT) == [letter]
    assert _take(lanes, "t2").item == b"2"


def test_a_renewed_lease_lasts_and_a_lost_one_is_reported(
    inbox: Inbox, lanes: Lanes, redis: Redis, keys: Keys, expire_leases: Expire, now_ms: Callable[[], int]
) -> None:
    one_event(inbox, 1, LANE)
    lease = _take(lanes)
    redis.zadd(keys.chains("lanes", ACCOUNT).due, {LANE: now_ms() + 10})
    assert lanes.renew([lease]) == {lease: True}
    assert redis.zscore(keys.chains("lanes", ACCOUNT).due, LANE) == pytest.approx(now_ms() + LEASE_MS, abs=500)
    expire_leases("lanes")
    _take(lanes, "thief")
    assert lanes.renew([lease]) == {lease: False}


def test_finishing_and_taking_go_in_one_breath(inbox: Inbox, lanes: Lanes) -> None:
    one_event(inbox, 1, LANE)
    one_event(inbox, 2, LANE)
    finished, _, taken = lanes.finish_and_take(_end(_take(lanes)), "t2")
    assert finished is Finished.RECORDED
    assert [lease.item for lease in taken.leases] == [b"2"]


def test_an_account_leaves_the_ready_ones_when_nothing_is_left_of_it(inbox: Inbox, lanes: Lanes, redis: Redis) -> None:
    one_event(inbox, 1, LANE)
    lanes.finish(_end(_take(lanes)))
    left = [key for key in redis.keys("*lanes*") if b":finished:" not in key and b":wake" not in key]
    assert left == []


def test_an_account_that_waits_for_a_retry_is_ready_no_earlier(
    inbox: Inbox, lanes: Lanes, redis: Redis, keys: Keys, now_ms: Callable[[], int]
) -> None:
    one_event(inbox, 1, LANE)
    lanes.finish(_end(_take(lanes), "failed", delay_ms=60_000))
    ready = keys.queue("lanes", 0).ready
    assert redis.zscore(ready, str(ACCOUNT)) == pytest.approx(now_ms() + 60_000, abs=1000)
    one_event(inbox, 2, "lead:2:h")
    assert redis.zscore(ready, str(ACCOUNT)) <= now_ms()


def test_a_full_redis_still_lets_steps_be_taken_and_finished(inbox: Inbox, lanes: Lanes, redis: Redis) -> None:
    one_event(inbox, 1, LANE)
    redis.config_set("maxmemory", "1")
    try:
        lease = _take(lanes)
        assert lanes.renew([lease]) == {lease: True}
        assert lanes.finish(_end(lease, writes=[AskedWrite("lead:1", b"w")]))[0] is Finished.RECORDED
    finally:
        redis.config_set("maxmemory", "0")


def test_racing_runners_run_every_event_once_and_in_lane_order(inbox: Inbox, lanes: Lanes) -> None:
    for number in range(300):
        one_event(inbox, number, f"lead:{number % 10}:h")
    ran: list[tuple[str, int]] = []
    lock = threading.Lock()

    def run(name: int) -> None:
        tokens = iter(range(10**6))
        while leases := lanes.take(ACCOUNT, f"{name}-{next(tokens)}").leases:
            lease = leases[0]
            with lock:
                ran.append((lease.chain, int(lease.item)))
            assert lanes.finish(StepOutcome(lease, "done", f"runner{name}", "0-0"))[0] is Finished.RECORDED

    threads = [threading.Thread(target=run, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for _, number in ran) == list(range(300))
    for lane in range(10):
        in_lane = [number for chain, number in ran if chain == f"lead:{lane}:h"]
        assert in_lane == sorted(in_lane)
