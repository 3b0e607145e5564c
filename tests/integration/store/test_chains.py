"""Leases that end otherwise than by a finish: handed back, marked as alone, lost and forgiven."""

from collections.abc import Callable

import pytest
from redis import Redis

from kommo.store.chains import Lease
from kommo.store.inbox import Inbox
from kommo.store.keys import Keys
from kommo.store.lanes import Lanes, StepOutcome
from tests.integration.store.conftest import ACCOUNT, one_event

Expire = Callable[[str], None]


def take(lanes: Lanes, token: str) -> Lease:
    (lease,) = lanes.take(ACCOUNT, token).leases
    return lease


@pytest.fixture
def one(inbox: Inbox) -> None:
    one_event(inbox, 1, "lead:1:h")


@pytest.fixture
def items(redis: Redis, keys: Keys) -> Callable[[], set[bytes]]:
    """The names of what the lanes hold besides the events themselves."""

    def read() -> set[bytes]:
        return {name for name in redis.hkeys(keys.chains("lanes", ACCOUNT).items) if not name[-1:].isdigit()}

    return read


def crash(lanes: Lanes, expire: Expire, token: str, *, alone: bool) -> None:
    """Lease it, mark it perhaps, and never come back."""
    lease = take(lanes, token)
    if alone:
        assert lanes.mark(lease, alone=True)
    expire("lanes")


@pytest.mark.usefixtures("one")
class TestGivenBack:
    def test_it_is_due_at_once_and_nothing_is_counted(self, lanes: Lanes) -> None:
        assert lanes.give_back([take(lanes, "a")]) == 1
        again = take(lanes, "b")
        assert (again.runs, again.failures, again.crashes, again.alone) == (0, 0, 0, 0)

    def test_or_after_a_while(self, lanes: Lanes, expire_leases: Expire) -> None:
        lanes.give_back([take(lanes, "a")], delay_ms=60_000)
        assert lanes.take(ACCOUNT, "b").leases == []
        expire_leases("lanes")
        assert take(lanes, "b").crashes == 0

    def test_a_lease_that_has_passed_on_is_not_touched(self, lanes: Lanes, expire_leases: Expire) -> None:
        first = take(lanes, "a")
        expire_leases("lanes")
        take(lanes, "b")
        assert lanes.give_back([first]) == 0
        assert lanes.take(ACCOUNT, "c").leases == []

    def test_many_at_once_of_several_accounts(self, lanes: Lanes, inbox: Inbox) -> None:
        one_event(inbox, 2, "lead:2:h", account=202)
        (other,) = lanes.take(202, "a").leases
        assert lanes.give_back([take(lanes, "a"), other]) == 2
        assert lanes.give_back([]) == 0

    def test_what_it_was_counted_before_stays_and_its_mark_does_not(
        self, lanes: Lanes, expire_leases: Expire, items: Callable[[], set[bytes]]
    ) -> None:
        crash(lanes, expire_leases, "a", alone=False)
        crash(lanes, expire_leases, "b", alone=True)
        lease = take(lanes, "c")
        lanes.mark(lease, alone=True)
        lanes.give_back([lease])
        assert items() == {b"lead:1:h|alone"}
        again = take(lanes, "d")
        assert (again.crashes, again.alone) == (2, 1)


@pytest.mark.usefixtures("one")
class TestAlone:
    def test_only_a_marked_lease_that_ends_unfinished_counts_as_alone(
        self, lanes: Lanes, expire_leases: Expire
    ) -> None:
        counted = []
        for token, alone in (("a", False), ("b", True), ("c", False), ("d", True)):
            crash(lanes, expire_leases, token, alone=alone)
            lease = take(lanes, f"look {token}")
            counted.append((lease.crashes, lease.alone))
            lanes.give_back([lease])
        assert counted == [(1, 0), (2, 1), (3, 1), (4, 2)]

    def test_a_mark_may_be_made_twice_and_be_taken_away(self, lanes: Lanes, expire_leases: Expire) -> None:
        crash(lanes, expire_leases, "a", alone=False)
        lease = take(lanes, "b")
        assert [lanes.mark(lease, alone=alone) for alone in (True, True, False, False)] == [True] * 4
        expire_leases("lanes")
        assert take(lanes, "c").alone == 0

    def test_a_lease_that_has_passed_on_cannot_be_marked(self, lanes: Lanes, expire_leases: Expire) -> None:
        lease = take(lanes, "a")
        expire_leases("lanes")
        take(lanes, "b")
        assert not lanes.mark(lease, alone=True)

    @pytest.mark.parametrize(("verb", "left"), [("done", set()), ("dead", set()), ("failed", {b"lead:1:h|alone"})])
    def test_with_its_event_goes_what_was_counted(
        self, lanes: Lanes, expire_leases: Expire, items: Callable[[], set[bytes]], verb: str, left: set[bytes]
    ) -> None:
        crash(lanes, expire_leases, "a", alone=False)
        crash(lanes, expire_leases, "b", alone=True)
        lease = take(lanes, "c")
        lanes.mark(lease, alone=True)
        lanes.finish(StepOutcome(lease, verb, "r", "1-0"))  # type: ignore[arg-type]  # one of the verbs
        assert items() == left


@pytest.mark.usefixtures("one")
class TestForgiven:
    def test_who_asks_for_a_lease_that_was_lost_lives_and_its_crash_was_none(
        self, lanes: Lanes, expire_leases: Expire
    ) -> None:
        crash(lanes, expire_leases, "a", alone=False)
        slow = take(lanes, "b")
        lanes.mark(slow, alone=True)
        expire_leases("lanes")
        thief = take(lanes, "c")
        assert thief.alone == 1
        assert lanes.renew([slow]) == {slow: False}
        assert lanes.renew([slow]) == {slow: False}, "it is forgiven once"
        lanes.give_back([thief])
        again = take(lanes, "d")
        assert (again.crashes, again.alone) == (2, 0)

    def test_nobody_is_forgiven_for_anothers_crash(self, lanes: Lanes, expire_leases: Expire) -> None:
        crash(lanes, expire_leases, "a", alone=False)
        crash(lanes, expire_leases, "b", alone=True)
        late = take(lanes, "c")
        expire_leases("lanes")
        last = take(lanes, "d")
        lanes.renew([late])
        lanes.give_back([last])
        assert take(lanes, "e").alone == 1

    def test_nor_for_an_event_that_is_gone(self, lanes: Lanes, expire_leases: Expire) -> None:
        crash(lanes, expire_leases, "a", alone=False)
        slow = take(lanes, "b")
        lanes.mark(slow, alone=True)
        expire_leases("lanes")
        lanes.finish(StepOutcome(take(lanes, "c"), "done", "r", "1-0"))
        assert lanes.renew([slow]) == {slow: False}
