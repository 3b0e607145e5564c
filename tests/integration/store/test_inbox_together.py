"""Deliveries that are stored in one round trip: the same as one after the other."""

from dataclasses import replace

import pytest
from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.store.connection import connect
from kommo.store.inbox import Delivery, Inbox, Stored
from kommo.store.keys import Keys
from tests.integration.store.conftest import ACCOUNT, delivery


def _all(inbox: Inbox, account: int = ACCOUNT) -> list[Delivery]:
    return [entry.delivery for entry in inbox.read(account, after="0-0", limit=1000)]


@pytest.mark.parametrize("in_order", [True, False])
def test_each_is_told_what_became_of_it_and_the_first_wakes_a_drain(inbox: Inbox, in_order: bool) -> None:
    again = replace(delivery(1), id="other")
    given = [(delivery(1), True), (again, True), (again, False), (delivery(1), True), (delivery(2), True)]
    assert inbox.add_together(given, in_order=in_order) == [
        (Stored.NEW, True),
        (Stored.DUPLICATE, False),
        (Stored.NEW, False),
        (Stored.REPEATED_CALL, False),
        (Stored.NEW, False),
    ]
    assert _all(inbox) == [delivery(1), again, delivery(2)]


@pytest.mark.parametrize("in_order", [True, False])
def test_a_redis_that_has_forgotten_the_scripts_stores_them_all_the_same(
    inbox: Inbox, redis: Redis, in_order: bool
) -> None:
    redis.script_flush()
    given = [(delivery(number, account=ACCOUNT + number % 2), True) for number in range(10)]
    outcomes = inbox.add_together(given, in_order=in_order)
    assert [outcome for outcome in outcomes if outcome not in {(Stored.NEW, True), (Stored.NEW, False)}] == []
    assert _all(inbox) == [delivery(number) for number in range(0, 10, 2)]


def test_a_fault_with_one_account_stands_in_its_place_and_harms_no_other(
    inbox: Inbox, redis: Redis, keys: Keys
) -> None:
    redis.set(keys.of_account(7, "inbox", "stream"), "what no stream can be")
    first, refused, last = inbox.add_together(
        [(delivery(1), True), (delivery(2, account=7), True), (delivery(3), True)]
    )
    assert (first, last) == ((Stored.NEW, True), (Stored.NEW, False))
    assert isinstance(refused, Exception)
    assert "WRONGTYPE" in str(refused)


def test_of_a_redis_that_is_full_each_is_told_that_it_is_away(inbox: Inbox, redis: Redis) -> None:
    redis.config_set("maxmemory", "1")
    try:
        outcomes = inbox.add_together([(delivery(1), True), (delivery(2), True)])
    finally:
        redis.config_set("maxmemory", "0")
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2


def test_a_redis_that_is_not_there_is_away_for_all() -> None:
    inbox = Inbox(connect("unix:///nowhere/redis.sock"), Keys())
    with pytest.raises(StoreUnavailable):
        inbox.add_together([(delivery(1), True)])
    with pytest.raises(StoreUnavailable):
        inbox.stored_as([delivery(1)])


def test_it_is_known_under_which_id_a_body_was_stored(inbox: Inbox) -> None:
    again = replace(delivery(1), id="other")
    inbox.add(delivery(1))
    inbox.add(delivery(2), droppable=False)
    assert inbox.stored_as([delivery(1), again, delivery(2), delivery(1, account=ACCOUNT + 1)]) == [
        delivery(1).id,
        delivery(1).id,
        None,
        None,
    ]
