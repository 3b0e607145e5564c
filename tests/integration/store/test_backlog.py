"""How much waits and for how long: what is due counts, what is worked on, retried later or parked does not."""

from collections.abc import Callable

import pytest
from redis import Redis

from kommo.queue import LOOPS
from kommo.store.backlog import Backlogs
from kommo.store.inbox import Inbox
from kommo.store.keys import Keys
from kommo.store.lanes import AskedWrite, Lanes, StepOutcome
from kommo.store.outbox import Outbox
from tests.integration.store.conftest import ACCOUNT, one_event

Clock = Callable[[], int]


@pytest.fixture
def backlogs(redis: Redis, keys: Keys) -> Backlogs:
    return Backlogs(redis, keys)


def ask_for_writes(lanes: Lanes, number: int) -> None:
    """Finish a step that asks for so many writes, each to another entity."""
    (lease,) = lanes.take(ACCOUNT, "t").leases
    writes = [AskedWrite(f"lead:{chain}", b"leads:update\n{}") for chain in range(number)]
    lanes.finish(StepOutcome(lease, "done", "r", "1-0", writes=writes))


@pytest.mark.parametrize("queue", LOOPS)
def test_an_empty_queue_has_no_age_and_no_depth(backlogs: Backlogs, queue: str) -> None:
    empty = backlogs.measure(queue)
    assert (empty.age_ms, empty.accounts, empty.depth) == (0, 0, 0)
    assert backlogs.late_ms(queue) == 0


def test_deliveries_wait_from_the_moment_they_were_stored_while_a_drain_keeps_their_account(
    backlogs: Backlogs, redis: Redis, keys: Keys, now_ms: Clock
) -> None:
    stream, now = keys.of_account(ACCOUNT, "inbox", "stream"), now_ms()
    for age in (90_000, 60_000, 30_000):
        redis.xadd(stream, {"id": f"d{age}", "type": "t", "at": "1", "body": "b"}, id=f"{now - age}-0")
    redis.set(keys.of_account(ACCOUNT, "inbox", "cursor"), f"{now - 90_000}-0")
    redis.zadd(keys.queue("inbox", 0).ready, {str(ACCOUNT): now + 2_500})
    waiting = backlogs.measure("inbox")
    assert (waiting.accounts, waiting.depth) == (1, 2)
    assert 60_000 <= waiting.age_ms < 65_000
    assert backlogs.late_ms("inbox") == 0


def test_drained_deliveries_wait_no_more(backlogs: Backlogs, inbox: Inbox) -> None:
    one_event(inbox, 1, "lead:1:h")
    assert backlogs.measure("inbox").depth == 0


def test_a_flood_is_as_old_as_its_oldest_event_however_often_its_account_has_its_turn(
    backlogs: Backlogs, inbox: Inbox, redis: Redis, keys: Keys, now_ms: Clock
) -> None:
    for number in range(5):
        one_event(inbox, number, f"lead:{number}:h")
    redis.zadd(keys.chains("lanes", ACCOUNT).due, {"lead:3:h": now_ms() - 90_000})
    lanes = backlogs.measure("lanes")
    assert 90_000 <= lanes.age_ms < 95_000
    assert (lanes.accounts, lanes.depth) == (1, 5)
    assert backlogs.late_ms("lanes") < 5_000, "the account itself has just been looked at"


def test_what_is_leased_or_tried_again_later_is_not_late(
    backlogs: Backlogs, inbox: Inbox, lanes: Lanes, redis: Redis
) -> None:
    one_event(inbox, 1, "lead:1:h")
    one_event(inbox, 2, "lead:2:h")
    (lease,) = lanes.take(ACCOUNT, "t").leases
    lanes.finish(StepOutcome(lease, "failed", "r", "1-0", delay_ms=60_000))
    lanes.take(ACCOUNT, "u")
    assert (backlogs.measure("lanes").age_ms, backlogs.late_ms("lanes")) == (0, 0)


def test_the_account_that_has_waited_longest_counts(
    backlogs: Backlogs, redis: Redis, keys: Keys, now_ms: Clock
) -> None:
    now = now_ms()
    redis.zadd(keys.queue("lanes", 0).ready, {"1": now - 1_000, "2": now - 70_000, "3": now + 60_000})
    assert backlogs.measure("lanes").accounts == 2
    assert 70_000 <= backlogs.measure("lanes").age_ms < 75_000
    assert 70_000 <= backlogs.late_ms("lanes") < 75_000


def test_writes_of_a_parked_account_are_not_late_however_long_they_wait(
    backlogs: Backlogs, inbox: Inbox, lanes: Lanes, outbox: Outbox, redis: Redis, keys: Keys, now_ms: Clock
) -> None:
    one_event(inbox, 1, "lead:1:h")
    ask_for_writes(lanes, 3)
    assert backlogs.measure("outbox").depth == 3
    for chain in range(3):
        redis.zadd(keys.chains("outbox", ACCOUNT).due, {f"lead:{chain}": now_ms() - 3_600_000})
    outbox.hold(ACCOUNT, seconds=60)
    assert (backlogs.measure("outbox").age_ms, backlogs.late_ms("outbox")) == (0, 0)
    redis.zadd(keys.queue("outbox", 0).ready, {str(ACCOUNT): now_ms() - 2_000})
    assert 2_000 <= backlogs.measure("outbox").age_ms < 5_000, "late since a flush should have looked"


def test_all_shards_count(redis: Redis, now_ms: Clock) -> None:
    keys = Keys(shards=3)
    for account in (1, 2, 3, 4):
        redis.zadd(keys.queue("inbox", keys.shard(account)).ready, {str(account): now_ms() - account * 10_000})
    inbox, *others = Backlogs(redis, keys).all()
    assert inbox.accounts == 4
    assert 40_000 <= inbox.age_ms < 45_000
    assert [other.accounts for other in others] == [0, 0]
