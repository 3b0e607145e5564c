"""The way back of dead letters: each in one step, once, with counters and wake-ups as for new work."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from redis import Redis

from kommo.store.dead import DeadLetter, DeadLetters, KeptLetter
from kommo.store.inbox import QUEUE as INBOX
from kommo.store.inbox import Batch, Inbox, Step, Stored
from kommo.store.keys import Keys
from kommo.store.lanes import QUEUE as LANES
from kommo.store.lanes import AskedWrite, Lanes, StepOutcome
from kommo.store.outbox import FAILED, Outbox, PileOutcome
from kommo.store.returns import Back, DeliveryBack, PutBack, Returns, StepBack, WriteBack
from tests.integration.store.conftest import ACCOUNT, delivery, one_event

LANE = "lead:1:h"
KEPT = DeadLetter("e1.h", "step", ACCOUNT, "rejected", "no", 1, "d000001", handler="h")


@pytest.fixture
def returns(redis: Redis, keys: Keys) -> Returns:
    return Returns(redis, keys)


@pytest.fixture
def dead(redis: Redis, keys: Keys) -> DeadLetters:
    return DeadLetters(redis, keys)


@pytest.fixture
def stats(redis: Redis, keys: Keys) -> Callable[[str], int]:
    return lambda name: int(redis.hget(keys.stats(ACCOUNT), name) or 0)


def the_letter(dead: DeadLetters) -> KeptLetter:
    (kept,) = dead.read(dead.newest())
    return kept


def given_up_step(inbox: Inbox, lanes: Lanes, number: int = 1) -> str:
    """Let a step come and be given up; return the stream id of its delivery."""
    one_event(inbox, number, LANE)
    (lease,) = lanes.take(ACCOUNT, f"t{number}").leases
    stream_id = inbox.cursor(ACCOUNT)
    lanes.finish(StepOutcome(lease, "dead", "r", stream_id, dead=replace(KEPT, id=f"e{number}.h")))
    return stream_id


def given_up_write(inbox: Inbox, lanes: Lanes, outbox: Outbox) -> None:
    """Let a write be asked for and be given up."""
    one_event(inbox, 1, LANE)
    (lease,) = lanes.take(ACCOUNT, "t").leases
    asked = AskedWrite("lead:1", b"leads:update\n{}")
    lanes.finish(StepOutcome(lease, "done", "r", inbox.cursor(ACCOUNT), writes=[asked]))
    (pile,) = outbox.take_piles(ACCOUNT, "w", most=1, depth=1).piles
    letter = replace(KEPT, id="w1", kind="write")
    outcome = PileOutcome(pile.lease, "dead", done=1, results={"w1": FAILED}, dead=[letter])
    assert outbox.finish_piles(ACCOUNT, "w", "s", [outcome]) == [True]


def given_up_delivery(inbox: Inbox, body: bytes = b"leads[add") -> str:
    """Let a delivery become a dead letter; return its place in the inbox."""
    inbox.add(delivery(1, body=body))
    cursor = inbox.cursor(ACCOUNT)
    (entry,) = inbox.read(ACCOUNT, after=cursor, limit=1)
    letter = replace(KEPT, id="d000001", kind="delivery", body=body)
    assert inbox.commit(Batch(ACCOUNT, cursor, entry.stream_id, [], [letter]), hold_ms=0).moved
    return entry.stream_id


class TestSteps:
    def test_a_step_runs_again_behind_what_waits_in_its_lane_and_counted_anew(
        self, inbox: Inbox, lanes: Lanes, dead: DeadLetters, returns: Returns
    ) -> None:
        stream_id = given_up_step(inbox, lanes)
        one_event(inbox, 2, LANE)
        assert returns.put_back(the_letter(dead), StepBack(Step(LANE, b"again"), stream_id)).done
        for item in (b"2", b"again"):
            (lease,) = lanes.take(ACCOUNT, f"t-{item!r}").leases
            assert (lease.item, lease.runs, lease.failures, lease.crashes) == (item, 0, 0, 0)
            lanes.finish(StepOutcome(lease, "done", "r", stream_id))
        assert lanes.take(ACCOUNT, "t").leases == []

    def test_the_letter_is_gone_from_everywhere_and_the_delivery_is_open_until_the_step_is_done(
        self,
        inbox: Inbox,
        lanes: Lanes,
        dead: DeadLetters,
        returns: Returns,
        redis: Redis,
        keys: Keys,
        stats: Callable[[str], int],
    ) -> None:
        stream_id = given_up_step(inbox, lanes)
        assert redis.hlen(keys.open(ACCOUNT)) == 0
        returns.put_back(the_letter(dead), StepBack(Step(LANE, b"again"), stream_id))
        assert redis.exists(*keys.dead(ACCOUNT)) == 0
        assert redis.hgetall(keys.open(ACCOUNT)) == {stream_id.encode(): b"1"}
        assert inbox.trim(ACCOUNT, received_after_ms=10**15, max_bytes=0) == 0
        (lease,) = lanes.take(ACCOUNT, "t2").leases
        lanes.finish(StepOutcome(lease, "done", "r", stream_id))
        assert redis.hlen(keys.open(ACCOUNT)) == 0
        assert inbox.trim(ACCOUNT, received_after_ms=10**15, max_bytes=0) == 1
        assert (stats("steps"), stats("retried"), stats("steps_dead"), stats("steps_done")) == (2, 1, 1, 1)

    def test_without_a_stream_id_no_delivery_is_open(
        self, inbox: Inbox, lanes: Lanes, dead: DeadLetters, returns: Returns, redis: Redis, keys: Keys
    ) -> None:
        given_up_step(inbox, lanes)
        returns.put_back(the_letter(dead), StepBack(Step(LANE, b"again"), ""))
        assert redis.hlen(keys.open(ACCOUNT)) == 0

    def test_a_loop_is_woken_where_none_is_awake(
        self, inbox: Inbox, lanes: Lanes, dead: DeadLetters, returns: Returns, redis: Redis, keys: Keys
    ) -> None:
        given_up_step(inbox, lanes)
        redis.delete(keys.queue(LANES, 0).flag)
        back = StepBack(Step(LANE, b"again"), "")
        assert returns.put_back(the_letter(dead), back) == PutBack(done=True, wake=True)

    def test_of_many_who_want_the_same_letter_one_puts_it_back(
        self, inbox: Inbox, lanes: Lanes, dead: DeadLetters, returns: Returns
    ) -> None:
        given_up_step(inbox, lanes)
        kept, done = the_letter(dead), []
        start = threading.Barrier(8)

        def put_back() -> None:
            start.wait()
            done.append(returns.put_back(kept, StepBack(Step(LANE, b"again"), "")).done)

        threads = [threading.Thread(target=put_back) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(done) == [False] * 7 + [True]
        (lease,) = lanes.take(ACCOUNT, "t2").leases
        lanes.finish(StepOutcome(lease, "done", "r", "0-0"))
        assert lanes.take(ACCOUNT, "t3").leases == []

    def test_a_letter_that_another_one_replaced_meanwhile_stays(
        self, inbox: Inbox, lanes: Lanes, dead: DeadLetters, returns: Returns
    ) -> None:
        given_up_step(inbox, lanes)
        looked_at = the_letter(dead)
        newer = replace(KEPT, attempt=9)
        one_event(inbox, 2, LANE)
        (lease,) = lanes.take(ACCOUNT, "t2").leases
        lanes.finish(StepOutcome(lease, "dead", "r", "0-0", dead=newer))
        assert not returns.put_back(looked_at, StepBack(Step(LANE, b"again"), "")).done
        assert not returns.drop(looked_at)
        assert the_letter(dead).letter == newer
        assert lanes.take(ACCOUNT, "t3").leases == []


class TestWrites:
    def test_a_write_goes_again_and_what_needs_it_may_wait_for_its_result(
        self,
        inbox: Inbox,
        lanes: Lanes,
        outbox: Outbox,
        dead: DeadLetters,
        returns: Returns,
        stats: Callable[[str], int],
    ) -> None:
        given_up_write(inbox, lanes, outbox)
        assert outbox.results(ACCOUNT, ["w1"]) == {"w1": FAILED}
        put = returns.put_back(the_letter(dead), WriteBack(AskedWrite("lead:1", b"!leads:update\n{1}"), "w1"))
        assert put.done
        assert outbox.results(ACCOUNT, ["w1"]) == {}
        (pile,) = outbox.take_piles(ACCOUNT, "w2", most=50, depth=50).piles
        assert (pile.items, pile.alone, pile.doubtful, pile.lease.runs) == ([b"{1}"], True, False, 0)
        assert list(dead.newest()) == []
        assert (stats("writes"), stats("retried")) == (2, 1)

    def test_one_in_doubt_comes_out_as_such(
        self, inbox: Inbox, lanes: Lanes, outbox: Outbox, dead: DeadLetters, returns: Returns
    ) -> None:
        given_up_write(inbox, lanes, outbox)
        returns.put_back(the_letter(dead), WriteBack(AskedWrite("new:w1", b"?leads:create\n{}"), "w1"))
        (pile,) = outbox.take_piles(ACCOUNT, "w2", most=50, depth=50).piles
        assert (pile.alone, pile.doubtful) == (True, True)


class TestDeliveries:
    BODY = b"leads[add"

    def back(self, dead: DeadLetters, returns: Returns, *lies_at: str) -> PutBack:
        return returns.put_back(the_letter(dead), DeliveryBack(delivery(1, body=self.BODY), lies_at))

    def test_a_delivery_is_drained_again_though_its_body_was_seen(
        self, inbox: Inbox, dead: DeadLetters, returns: Returns, redis: Redis, keys: Keys
    ) -> None:
        place = given_up_delivery(inbox)
        assert redis.zscore(keys.queue(INBOX, 0).ready, str(ACCOUNT)) is None
        assert self.back(dead, returns, place) == PutBack(done=True, wake=False)
        (entry,) = inbox.read(ACCOUNT, after=inbox.cursor(ACCOUNT), limit=10)
        assert entry.delivery == delivery(1, body=self.BODY)
        assert redis.zscore(keys.queue(INBOX, 0).ready, str(ACCOUNT)) is not None
        assert inbox.add(delivery(2, body=self.BODY))[0] is Stored.DUPLICATE

    def test_it_is_there_once_and_weighs_once(
        self, inbox: Inbox, dead: DeadLetters, returns: Returns, stats: Callable[[str], int]
    ) -> None:
        place = given_up_delivery(inbox)
        self.back(dead, returns, place)
        assert len(list(inbox.between(ACCOUNT))) == 1
        assert (stats("bytes"), stats("deliveries"), stats("retried")) == (len(self.BODY), 1, 1)

    def test_one_that_retention_has_dropped_weighs_again(
        self, inbox: Inbox, dead: DeadLetters, returns: Returns, stats: Callable[[str], int]
    ) -> None:
        place = given_up_delivery(inbox)
        assert inbox.trim(ACCOUNT, received_after_ms=10**15, max_bytes=0) == 1
        assert stats("bytes") == 0
        self.back(dead, returns, place)
        assert stats("bytes") == len(self.BODY)

    def test_put_back_twice_it_is_there_once(self, inbox: Inbox, dead: DeadLetters, returns: Returns) -> None:
        place = given_up_delivery(inbox)
        kept = the_letter(dead)
        back: Back = DeliveryBack(delivery(1, body=self.BODY), [place])
        assert [returns.put_back(kept, back).done for _ in range(2)] == [True, False]
        assert len(list(inbox.between(ACCOUNT))) == 1


def test_a_dropped_letter_is_gone_and_counted_once(
    inbox: Inbox, lanes: Lanes, dead: DeadLetters, returns: Returns, stats: Callable[[str], int]
) -> None:
    given_up_step(inbox, lanes)
    kept = the_letter(dead)
    assert [returns.drop(kept), returns.drop(kept)] == [True, False]
    assert (list(dead.newest()), stats("dropped")) == ([], 1)
    assert lanes.take(ACCOUNT, "t").leases == []


def test_a_full_redis_lets_dead_letters_go_back(
    inbox: Inbox, lanes: Lanes, dead: DeadLetters, returns: Returns, redis: Redis
) -> None:
    given_up_step(inbox, lanes)
    kept = the_letter(dead)
    redis.config_set("maxmemory", 1)
    try:
        assert returns.put_back(kept, StepBack(Step(LANE, b"again"), "")).done
    finally:
        redis.config_set("maxmemory", 0)
