"""Parking: whose writes wait for a person, and which call finds out whether they still have to."""

import pytest
from redis import Redis

from kommo.store.inbox import Inbox
from kommo.store.keys import Keys
from kommo.store.lanes import AskedWrite, Lanes, StepOutcome
from kommo.store.outbox import Outbox, item_of
from kommo.store.parking import EVERY_SECONDS, Parked, Parking, Reason
from tests.integration.store.conftest import ACCOUNT, one_event


@pytest.fixture
def parking(redis: Redis, keys: Keys) -> Parking:
    return Parking(redis, keys)


def waits(answer: Parked | bool) -> float:
    """For how many seconds a call is refused."""
    assert isinstance(answer, Parked)
    return answer.seconds


def test_who_is_not_parked_may_call(parking: Parking) -> None:
    assert parking.admit(ACCOUNT, read=True) is True
    assert parking.admit(ACCOUNT, read=False) is True
    assert parking.state(ACCOUNT) is None


@pytest.mark.parametrize(("reason", "seconds"), [("payment", 3600), ("token", 600), ("disconnected", 3600)])
def test_writes_of_a_parked_account_wait_and_the_reason_is_told(
    parking: Parking, reason: Reason, seconds: float
) -> None:
    assert EVERY_SECONDS[reason] == seconds
    parking.park(ACCOUNT, reason)
    answer = parking.admit(ACCOUNT, read=False)
    assert waits(answer) == pytest.approx(seconds, abs=1)
    assert isinstance(answer, Parked)
    assert answer.reason == reason
    state = parking.state(ACCOUNT)
    assert state is not None
    assert (state.reason, state.reads_refused) == (reason, False)


def test_parking_tells_whether_that_is_news(parking: Parking) -> None:
    assert parking.park(ACCOUNT, "payment")
    assert not parking.park(ACCOUNT, "payment")
    assert not parking.park(ACCOUNT, "payment", reads_refused=True)


def test_reads_go_on_until_they_are_refused_too(parking: Parking) -> None:
    parking.park(ACCOUNT, "payment")
    assert parking.admit(ACCOUNT, read=True) is True
    parking.park(ACCOUNT, "payment", reads_refused=True)
    assert waits(parking.admit(ACCOUNT, read=True)) > 3000
    parking.park(ACCOUNT, "payment")
    assert waits(parking.admit(ACCOUNT, read=True)) > 3000, "a refused write says nothing about reads"
    parking.allow_reads(ACCOUNT)
    assert parking.admit(ACCOUNT, read=True) is True
    assert waits(parking.admit(ACCOUNT, read=False)) > 3000


@pytest.mark.parametrize("reason", ["token", "payment"])
def test_what_is_refused_to_a_disconnected_account_is_no_other_reason(parking: Parking, reason: Reason) -> None:
    parking.park(ACCOUNT, "disconnected", reads_refused=True)
    parking.try_next(ACCOUNT)
    assert parking.admit(ACCOUNT, read=False) is False
    assert not parking.park(ACCOUNT, reason)
    state = parking.state(ACCOUNT)
    assert state is not None
    assert (state.reason, state.reads_refused) == ("disconnected", True)
    assert state.seconds == pytest.approx(3600, abs=1)


def test_a_disconnection_stands_above_every_other_reason(parking: Parking) -> None:
    parking.park(ACCOUNT, "token")
    assert not parking.park(ACCOUNT, "disconnected", reads_refused=True)
    state = parking.state(ACCOUNT)
    assert state is not None
    assert state.reason == "disconnected"


def test_an_account_that_is_not_parked_is_not_parked_by_a_read_that_worked(parking: Parking) -> None:
    parking.allow_reads(ACCOUNT)
    parking.try_next(ACCOUNT)
    assert parking.state(ACCOUNT) is None


def test_one_call_an_hour_tries(parking: Parking, redis: Redis, keys: Keys) -> None:
    parking.park(ACCOUNT, "payment")
    for _ in range(3):
        redis.hset(keys.of_account(ACCOUNT, "parked"), "until", 1)
        assert parking.admit(ACCOUNT, read=False) is False
        assert waits(parking.admit(ACCOUNT, read=False)) == pytest.approx(3600, abs=1)


def test_a_read_may_be_the_one_that_tries_once_reads_are_refused(parking: Parking) -> None:
    parking.park(ACCOUNT, "token", reads_refused=True)
    parking.try_next(ACCOUNT)
    assert parking.admit(ACCOUNT, read=True) is False
    assert waits(parking.admit(ACCOUNT, read=False)) == pytest.approx(600, abs=1)


def test_one_that_found_nothing_out_does_not_use_up_the_hour(parking: Parking) -> None:
    parking.park(ACCOUNT, "payment")
    parking.try_next(ACCOUNT)
    for _ in range(3):
        assert parking.admit(ACCOUNT, read=False) is False
        parking.try_next(ACCOUNT)


def test_one_that_is_refused_again_parks_for_another_hour(parking: Parking) -> None:
    parking.park(ACCOUNT, "payment")
    parking.try_next(ACCOUNT)
    parking.park(ACCOUNT, "payment")
    assert waits(parking.admit(ACCOUNT, read=False)) == pytest.approx(3600, abs=1)


def test_accounts_are_parked_each_for_itself(parking: Parking) -> None:
    parking.park(ACCOUNT, "payment")
    assert parking.admit(ACCOUNT + 1, read=False) is True


def test_resuming_lets_everything_go_and_the_writes_at_once(
    parking: Parking, inbox: Inbox, lanes: Lanes, outbox: Outbox, redis: Redis, keys: Keys
) -> None:
    one_event(inbox, 1, "lead:1:asks")
    (lease,) = lanes.take(ACCOUNT, "asks").leases
    write = AskedWrite("lead:1", item_of("leads:update", b"a"))
    lanes.finish(StepOutcome(lease, "done", "r", "0-0", writes=[write]))
    outbox.hold(ACCOUNT, seconds=60)
    parking.park(ACCOUNT, "payment", reads_refused=True)
    assert parking.resume(ACCOUNT)
    assert not parking.resume(ACCOUNT)
    assert parking.admit(ACCOUNT, read=False) is True
    seconds, micros = redis.time()
    ready_at = redis.zscore(keys.queue("outbox", 0).ready, str(ACCOUNT))
    assert ready_at is not None
    assert ready_at <= seconds * 1000 + micros / 1000
    assert len(outbox.take_piles(ACCOUNT, "t", most=1, depth=1).piles) == 1


def test_resuming_an_account_without_writes_makes_none_ready(parking: Parking, redis: Redis, keys: Keys) -> None:
    parking.park(ACCOUNT, "token")
    parking.resume(ACCOUNT)
    assert redis.zcard(keys.queue("outbox", 0).ready) == 0
