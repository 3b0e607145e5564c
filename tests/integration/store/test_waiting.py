"""Looking at what waits, without taking it."""

from collections.abc import Callable

import pytest
from redis import Redis

from kommo.store.inbox import Batch, Inbox, RoutedEvent, Step
from kommo.store.keys import Keys
from kommo.store.lanes import Lanes, StepOutcome
from kommo.store.waiting import Looks
from tests.integration.store.conftest import ACCOUNT, delivery


@pytest.fixture
def looks(redis: Redis, keys: Keys) -> Looks:
    return Looks("lanes", redis, keys)


def _put(inbox: Inbox, *steps: tuple[str, bytes]) -> None:
    inbox.add(delivery(1))
    (entry,) = inbox.read(ACCOUNT, after="0-0", limit=1)
    routed = RoutedEvent("e", entry.stream_id, [Step(*step) for step in steps])
    assert inbox.commit(Batch(ACCOUNT, "0-0", entry.stream_id, [routed], []), hold_ms=0).moved


def test_the_items_that_hold_a_text_are_given_with_their_places(inbox: Inbox, looks: Looks) -> None:
    _put(inbox, ("a", b"x1"), ("a", b"y"), ("a", b"x2"), ("b", b"x3"), ("c", b"x4"))
    found = looks.waiting(ACCOUNT, ["a", "b", "none", "a"], holding="x")
    assert [(one.chain, one.item, one.ahead) for one in found] == [("a", b"x1", 0), ("a", b"x2", 2), ("b", b"x3", 0)]


def test_a_long_chain_is_looked_through_to_its_end(inbox: Inbox, looks: Looks) -> None:
    _put(inbox, *[("a", b"other")] * 1203, ("a", b"mine"))
    (found,) = looks.waiting(ACCOUNT, ["a"], holding="mine")
    assert found.ahead == 1203


def test_a_chain_tells_when_it_is_due_and_whether_it_is_leased(inbox: Inbox, lanes: Lanes, looks: Looks) -> None:
    _put(inbox, ("a", b"x"))
    (idle,) = looks.waiting(ACCOUNT, ["a"], holding="x")
    assert (idle.is_leased, idle.due_in_ms <= 0, idle.runs) == (False, True, 0)
    (lease,) = lanes.take(ACCOUNT, "t").leases
    (leased,) = looks.waiting(ACCOUNT, ["a"], holding="x")
    assert (leased.is_leased, leased.due_in_ms > 0) == (True, True)
    lanes.finish(StepOutcome(lease, "failed", "r", "0-0", delay_ms=60_000))
    (again,) = looks.waiting(ACCOUNT, ["a"], holding="x")
    assert (again.is_leased, again.runs, again.failures, again.crashes) == (False, 1, 1, 0)
    assert 50_000 < again.due_in_ms <= 60_000


def test_looking_changes_nothing(inbox: Inbox, lanes: Lanes, looks: Looks, redis: Redis) -> None:
    _put(inbox, ("a", b"x"), ("a", b"y"))

    def all_there_is() -> dict[bytes, bytes]:
        return {key: redis.dump(key) for key in redis.scan_iter()}

    before = all_there_is()
    looks.waiting(ACCOUNT, ["a"], holding="x")
    looks.named(ACCOUNT, "a")
    assert all_there_is() == before
    assert [lease.item for lease in lanes.take(ACCOUNT, "t").leases] == [b"x"]


@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        ("lead:5:", ["lead:5:a", "lead:5:b.c"]),
        ("lead:*:", ["lead:*:a"]),
        ("[x]:1:", ["[x]:1:a"]),
        ("odd\\:", ["odd\\:a"]),
        ("lead:7:", []),
    ],
)
def test_chains_are_found_by_how_they_begin_and_a_pattern_is_none(
    inbox: Inbox, looks: Looks, beginning: str, expected: list[str]
) -> None:
    names = ["lead:5:a", "lead:5:b.c", "lead:55:a", "lead:*:a", "[x]:1:a", "x:1:a", "odd\\:a", "contact:5:a"]
    _put(inbox, *[(name, b"i") for name in names])
    assert looks.named(ACCOUNT, beginning) == expected


def test_what_is_marked_beside_the_items_is_no_item(
    inbox: Inbox, lanes: Lanes, looks: Looks, expire_leases: Callable[[str], None]
) -> None:
    _put(inbox, ("a", b"x"))
    lanes.take(ACCOUNT, "t")
    expire_leases("lanes")
    lanes.take(ACCOUNT, "t2")
    (found,) = looks.waiting(ACCOUNT, ["a"], holding="x")
    assert (found.ahead, found.crashes) == (0, 1)
