"""Stores over the private Redis, and ways to let time pass in it without waiting."""

from collections.abc import Callable

import pytest
from redis import Redis

from kommo.store.inbox import Batch, Delivery, Inbox, RoutedEvent, Step
from kommo.store.keys import Keys
from kommo.store.lanes import Lanes
from kommo.store.outbox import Outbox

ACCOUNT = 101


@pytest.fixture
def inbox(redis: Redis, keys: Keys) -> Inbox:
    return Inbox(redis, keys)


@pytest.fixture
def lanes(redis: Redis, keys: Keys) -> Lanes:
    return Lanes(redis, keys)


@pytest.fixture
def outbox(redis: Redis, keys: Keys) -> Outbox:
    return Outbox(redis, keys)


@pytest.fixture
def expire_leases(redis: Redis, keys: Keys) -> Callable[[str], None]:
    """Let every due time of a queue pass, leases included, as if its owner had been gone for long enough."""

    def expire(queue: str, account: int = ACCOUNT) -> None:
        chains = keys.chains(queue, account)
        for chain in redis.zrange(chains.due, 0, -1):
            redis.zadd(chains.due, {chain: 1})
        if redis.zcard(chains.due):
            redis.zadd(chains.ready, {str(account): 1})

    return expire


def delivery(number: int = 1, *, account: int = ACCOUNT, body: bytes | None = None) -> Delivery:
    content = f"leads[add][0][id]={number}".encode() if body is None else body
    return Delivery(f"d{number:06}", account, content, "application/x-www-form-urlencoded", 1_700_000_000_000 + number)


def one_event(inbox: Inbox, number: int, *lanes: str, account: int = ACCOUNT) -> None:
    """Store a delivery and drain it into lanes, with the number as the step's record."""
    inbox.add(delivery(number, account=account))
    cursor = inbox.cursor(account)
    entry = inbox.read(account, after=cursor, limit=1)[0]
    steps = [Step(lane, str(number).encode()) for lane in lanes]
    event = RoutedEvent(f"e{number}", entry.stream_id, steps)
    assert inbox.commit(Batch(account, cursor, entry.stream_id, [event], []), hold_ms=0).moved
