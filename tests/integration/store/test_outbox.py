"""The outbox: writes in order per entity, retries, results for those that wait."""

import json
from collections.abc import Callable

from redis import Redis

from kommo.store.chains import Lease
from kommo.store.dead import DeadLetter, DeadLetters
from kommo.store.inbox import Inbox
from kommo.store.keys import Keys
from kommo.store.lanes import AskedWrite, Lanes, StepOutcome
from kommo.store.outbox import FAILED, Outbox, WriteOutcome
from tests.integration.store.conftest import ACCOUNT, one_event


def _ask(inbox: Inbox, lanes: Lanes, *writes: tuple[str, str]) -> None:
    one_event(inbox, sum(map(len, lanes.queue)), "lead:1:asks")
    (lease,) = lanes.take(ACCOUNT, "asks").leases
    asked = [AskedWrite(chain, json.dumps({"id": name}).encode()) for chain, name in writes]
    lanes.finish(StepOutcome(lease, "done", "r", "0-0", writes=asked))


def _names(leases: object) -> list[str]:
    return [json.loads(lease.item)["id"] for lease in leases]  # type: ignore[attr-defined]


def _end(lease: Lease, verb: str = "done", **more: object) -> WriteOutcome:
    return WriteOutcome(lease, verb, "s", json.loads(lease.item)["id"], **more)  # type: ignore[arg-type]


def test_writes_to_one_entity_go_one_after_the_other(inbox: Inbox, lanes: Lanes, outbox: Outbox) -> None:
    _ask(inbox, lanes, ("lead:1", "a"), ("lead:1", "b"), ("lead:2", "c"))
    leases = outbox.take(ACCOUNT, "t", limit=10).leases
    assert sorted(_names(leases)) == ["a", "c"]
    assert outbox.take(ACCOUNT, "u", limit=10).leases == []
    for lease in leases:
        assert outbox.finish(_end(lease))
    assert _names(outbox.take(ACCOUNT, "v", limit=10).leases) == ["b"]


def test_a_write_that_failed_keeps_its_place(inbox: Inbox, lanes: Lanes, outbox: Outbox) -> None:
    _ask(inbox, lanes, ("lead:1", "a"), ("lead:1", "b"))
    outbox.finish(_end(outbox.take(ACCOUNT, "t").leases[0], "failed"))
    (lease,) = outbox.take(ACCOUNT, "u").leases
    assert (_names([lease]), lease.failures) == (["a"], 1)


def test_a_postponed_write_was_not_tried(inbox: Inbox, lanes: Lanes, outbox: Outbox) -> None:
    _ask(inbox, lanes, ("lead:1", "a"))
    outbox.finish(_end(outbox.take(ACCOUNT, "t").leases[0], "postpone"))
    (lease,) = outbox.take(ACCOUNT, "u").leases
    assert (lease.runs, lease.failures, lease.crashes) == (0, 0, 0)


def test_a_finish_whose_answer_was_lost_counts_once(inbox: Inbox, lanes: Lanes, outbox: Outbox) -> None:
    _ask(inbox, lanes, ("lead:1", "a"), ("lead:1", "b"))
    outcome = _end(outbox.take(ACCOUNT, "t").leases[0])
    assert outbox.finish(outcome)
    assert outbox.finish(outcome)
    assert _names(outbox.take(ACCOUNT, "u", limit=10).leases) == ["b"]


def test_a_sender_that_lost_its_lease_changes_nothing(
    inbox: Inbox, lanes: Lanes, outbox: Outbox, expire_leases: Callable[[str], None]
) -> None:
    _ask(inbox, lanes, ("lead:1", "a"))
    slow = outbox.take(ACCOUNT, "slow").leases[0]
    expire_leases("outbox")
    fast = outbox.take(ACCOUNT, "fast").leases[0]
    assert fast.crashes == 1
    assert not outbox.finish(_end(slow, result="5"))
    assert outbox.results(ACCOUNT, ["a"]) == {}
    assert outbox.finish(_end(fast))


def test_results_are_there_for_writes_that_refer_to_them(inbox: Inbox, lanes: Lanes, outbox: Outbox) -> None:
    _ask(inbox, lanes, ("new:a", "a"), ("new:b", "b"), ("new:c", "c"))
    first, second, _ = outbox.take(ACCOUNT, "t", limit=3).leases
    outbox.finish(_end(first, result="77"))
    outbox.finish(_end(second, "dead", result=FAILED))
    done, failed = _names([first, second])
    assert outbox.results(ACCOUNT, ["a", "b", "c"]) == {done: "77", failed: FAILED}
    assert outbox.results(ACCOUNT, []) == {}


def test_a_write_given_up_leaves_a_dead_letter(
    inbox: Inbox, lanes: Lanes, outbox: Outbox, redis: Redis, keys: Keys
) -> None:
    _ask(inbox, lanes, ("lead:1", "a"))
    letter = DeadLetter("a", "write", ACCOUNT, "refused", "400", 1, "d1", item={"id": "a"})
    outbox.finish(_end(outbox.take(ACCOUNT, "t").leases[0], "dead", dead=letter))
    assert list(DeadLetters(redis, keys).list(ACCOUNT)) == [letter]
    assert outbox.take(ACCOUNT, "u").leases == []
