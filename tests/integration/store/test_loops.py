"""Loops: whose turn it is, who rests, who is woken."""

from collections.abc import Callable

from redis import Redis

from kommo.store.inbox import Inbox
from kommo.store.keys import Keys
from kommo.store.loops import Loops
from tests.integration.store.conftest import delivery, one_event


def test_accounts_are_served_in_turn_however_much_one_of_them_has(inbox: Inbox, redis: Redis, keys: Keys) -> None:
    for number in range(50):
        one_event(inbox, number, f"lead:{number}:h", account=1)
    one_event(inbox, 100, "lead:1:h", account=2)
    one_event(inbox, 101, "lead:1:h", account=3)
    loops = Loops("lanes", redis, keys)
    served = [loops.pick(0, "loop", first=True).account_id for _ in range(6)]
    assert sorted(served[:3]) == [1, 2, 3]
    assert sorted(served[3:]) == [1, 2, 3]


def test_an_account_held_by_one_drain_is_given_to_no_other(inbox: Inbox, redis: Redis, keys: Keys) -> None:
    inbox.add(delivery(1))
    loops = Loops("inbox", redis, keys)
    assert loops.pick(0, "first", first=True, hold_ms=3000).account_id == 101
    assert loops.pick(0, "second", first=True, hold_ms=3000).account_id is None


def test_a_hold_whose_drain_died_ends(inbox: Inbox, redis: Redis, keys: Keys, now_ms: Callable[[], int]) -> None:
    inbox.add(delivery(1))
    loops = Loops("inbox", redis, keys)
    loops.pick(0, "dies", first=True, hold_ms=3000)
    held_until = redis.zscore(keys.queue("inbox", 0).ready, "101")
    assert held_until is not None
    assert now_ms() + 2000 < held_until <= now_ms() + 3000
    redis.zadd(keys.queue("inbox", 0).ready, {"101": now_ms() - 1})
    assert loops.pick(0, "next", first=True, hold_ms=3000).account_id == 101


def test_no_wake_up_is_sent_while_a_loop_is_awake_and_one_when_it_rests(inbox: Inbox, redis: Redis, keys: Keys) -> None:
    loops = Loops("inbox", redis, keys)
    inbox.add(delivery(1))
    loops.pick(0, "loop", first=True, hold_ms=0)
    assert not inbox.add(delivery(2))[1]
    redis.delete(keys.queue("inbox", 0).ready)
    assert loops.pick(0, "loop", first=True).account_id is None
    assert inbox.add(delivery(3))[1]


def test_a_loop_that_looked_for_work_too_long_ago_does_not_count(inbox: Inbox, redis: Redis, keys: Keys) -> None:
    inbox.add(delivery(1))
    Loops("inbox", redis, keys).pick(0, "slow", first=True)
    redis.zadd(keys.queue("inbox", 0).awake, {"slow": 1})
    assert inbox.add(delivery(2))[1]


def test_picking_counts_what_else_is_due(inbox: Inbox, redis: Redis, keys: Keys) -> None:
    for account in (1, 2, 3):
        inbox.add(delivery(1, account=account))
    assert Loops("inbox", redis, keys).pick(0, "held", first=True, hold_ms=3000).more == 2
    assert Loops("inbox", redis, keys).pick(0, "not held", first=True).more == 1


def test_work_is_overdue_only_after_it_was_due_for_that_long(
    inbox: Inbox, redis: Redis, keys: Keys, now_ms: Callable[[], int]
) -> None:
    loops = Loops("inbox", redis, keys)
    assert not loops.overdue(0, by_ms=0)
    inbox.add(delivery(1))
    assert not loops.overdue(0, by_ms=5000)
    redis.zadd(keys.queue("inbox", 0).ready, {"101": now_ms() - 6000})
    assert loops.overdue(0, by_ms=5000)


def test_one_sibling_is_wanted_at_a_time_and_none_beyond_what_the_fleet_may_run(
    inbox: Inbox, redis: Redis, keys: Keys
) -> None:
    loops = Loops("inbox", redis, keys)
    inbox.add(delivery(1))
    loops.pick(0, "one", first=True)
    assert [loops.want_sibling(0, at_most=2) for _ in range(3)] == [True, False, False]
    loops.pick(0, "one", first=False)
    assert not loops.want_sibling(0, at_most=2)
    loops.pick(0, "two", first=True)
    assert [loops.want_sibling(0, at_most=most) for most in (2, 3, 3)] == [False, True, False]


def test_a_loop_that_finds_nothing_due_is_told_when_something_will_be(
    inbox: Inbox, redis: Redis, keys: Keys, now_ms: Callable[[], int]
) -> None:
    loops = Loops("inbox", redis, keys)
    assert loops.pick(0, "loop", first=True).due_in_ms is None
    inbox.add(delivery(1))
    redis.zadd(keys.queue("inbox", 0).ready, {"101": now_ms() + 700, "102": now_ms() + 900})
    picked = loops.pick(0, "loop", first=True)
    assert picked.account_id is None
    assert picked.due_in_ms is not None
    assert 0 < picked.due_in_ms <= 700


def test_a_loop_that_rests_is_not_awake_however_soon_something_is_due(
    inbox: Inbox, redis: Redis, keys: Keys, now_ms: Callable[[], int]
) -> None:
    loops = Loops("inbox", redis, keys)
    inbox.add(delivery(1))
    redis.zadd(keys.queue("inbox", 0).ready, {"101": now_ms() + 60_000})
    loops.pick(0, "loop", first=True)
    assert redis.zcard(keys.queue("inbox", 0).awake) == 0
