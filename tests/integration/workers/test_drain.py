"""Draining: every delivery in its order, into lanes or to the dead letters, each event once."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis

from kommo.hooks.events import Event
from kommo.hooks.normalise import normalise
from kommo.router import Router
from kommo.store.connection import connect
from kommo.store.inbox import Batch, Committed
from kommo.store.server import PrivateServer
from tests.integration.workers.logs import Lines
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker, lead_added, lead_updated
from workers import routing as routing_module
from workers.drain import drain


def router_of(*names: str, types: tuple[str, ...] = ("*",)) -> Router:
    router = Router()
    for name in names:
        router.on(*types, handler=name)(_handler())
    return router


def _handler() -> Any:
    def handle(event: Event, kommo: object) -> None: ...

    return handle


def steps(worker: Worker, account: int = ACCOUNT) -> dict[str, list[dict[str, Any]]]:
    """What lies in the lanes, by lane, in order."""
    found: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    items: Any = worker.runtime.redis.hgetall(worker.runtime.keys.chains("lanes", account).items)
    for key, item in items.items():
        lane, _, number = key.decode().rpartition("|")
        found[lane].append((int(number), json.loads(item)))
    return {lane: [item for _, item in sorted(pairs, key=lambda pair: pair[0])] for lane, pairs in found.items()}


def ids(worker: Worker, lane: str, account: int = ACCOUNT) -> list[int]:
    return [item["event"]["entity_id"] for item in steps(worker, account).get(lane, [])]


def test_an_event_goes_into_a_lane_of_its_entity_for_every_handler_that_wants_it(worker: MakeWorker) -> None:
    here = worker(router_of("tell", "sum"))
    delivery = here.deliver(lead_added(5))
    drain(here.runtime)
    lanes = steps(here)
    assert sorted(lanes) == ["lead:5:sum", "lead:5:tell"]
    (step,) = lanes["lead:5:tell"]
    assert step["handler"] == "tell"
    event = Event.from_record(step["event"])
    assert (event.type, event.entity_id, event.account_id, event.delivery_id) == ("lead.added", 5, ACCOUNT, delivery.id)
    (entry,) = here.runtime.inbox.read(ACCOUNT, after="0-0", limit=9)
    assert step["stream"] == entry.stream_id


def test_all_items_of_a_delivery_become_events(worker: MakeWorker) -> None:
    here = worker(router_of("h"))
    here.deliver(lead_added(1) + b"&leads[add][1][id]=2&leads[delete][0][id]=3&contacts[add][0][id]=4")
    drain(here.runtime)
    assert sorted(steps(here)) == ["contact:4:h", "lead:1:h", "lead:2:h", "lead:3:h"]


def test_events_of_one_entity_lie_in_the_order_of_their_deliveries(worker: MakeWorker) -> None:
    here = worker(router_of("h"))
    for number in range(100):
        here.deliver(lead_updated(7, at=number), id_=f"d{number}")
    drain(here.runtime)
    assert [step["event"]["delivery_id"] for step in steps(here)["lead:7:h"]] == [f"d{n}" for n in range(100)]


def test_an_event_that_nobody_wants_leaves_no_step(worker: MakeWorker) -> None:
    here = worker(router_of("h", types=("contact.*",)))
    here.come(1)
    assert steps(here) == {}
    assert here.stats()["events"] == 1
    assert here.runtime.redis.zcard(here.runtime.keys.queue("inbox", 0).ready) == 0


def test_a_run_loop_is_woken_for_steps_and_for_nothing_else(worker: MakeWorker) -> None:
    here = worker(router_of("h", types=("lead.*",)))
    here.deliver(b"contacts[add][0][id]=4")
    drain(here.runtime)
    assert here.hints.queues == []
    here.come(1)
    assert here.hints.queues == ["run"]


def test_the_same_change_under_two_keys_is_one_event(worker: MakeWorker) -> None:
    here = worker(router_of("h", types=("lead.status_changed",)))
    change = "leads[{}][0][id]=1&leads[{}][0][status_id]=142&leads[{}][0][old_status_id]=7&leads[{}][0][pipeline_id]=3"
    for key in ("status", "update"):
        body = change.replace("{}", key) + f"&leads[{key}][0][last_modified]=1795000000"
        here.deliver(body.encode(), id_=key)
    drain(here.runtime)
    assert ids(here, "lead:1:h") == [1]
    assert here.stats()["repeated_events"] == 1


class TestDeadLetters:
    @pytest.mark.parametrize(
        ("body", "content_type", "reason"),
        [
            (b"{", "application/json", "undecodable"),
            (b"[]", "application/json", "undecodable"),
            (b"a" + b"[b]" * 4000 + b"=1", "form", "too_deep"),
            (b"leads[add][0][id]=1&account[id]=%d" % (ACCOUNT + 1), "form", "account_mismatch"),
        ],
    )
    def test_what_cannot_be_decoded_is_kept_with_its_bytes(
        self, worker: MakeWorker, lines: Lines, body: bytes, content_type: str, reason: str
    ) -> None:
        here = worker(router_of("h"))
        delivery = here.deliver(body, content_type=content_type)
        here.come(2)
        (letter,) = here.dead()
        assert (letter.kind, letter.reason, letter.id) == ("delivery", reason, delivery.id)
        assert (letter.body, letter.content_type, letter.traceback) == (body, content_type, "")
        assert ids(here, "lead:2:h") == [2]
        assert lines.saying("delivery is a dead letter")[0]["reason"] == reason

    def test_a_fault_of_ours_costs_one_delivery_and_keeps_its_traceback(
        self, worker: MakeWorker, lines: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def faulty(body: bytes, **more: Any) -> list[Event]:
            if b"whispered" in body:
                raise ZeroDivisionError(body)
            return normalise(body, **more)

        monkeypatch.setattr(routing_module, "normalise", faulty)
        here = worker(router_of("h"))
        here.deliver(lead_added(1), id_="before")
        here.deliver(lead_added(2) + b"&leads[add][0][name]=whispered", id_="faulty")
        here.come(3)
        (letter,) = here.dead()
        assert (letter.id, letter.reason) == ("faulty", "normalising_failed")
        assert "ZeroDivisionError" in letter.traceback
        assert [*ids(here, "lead:1:h"), *ids(here, "lead:3:h")] == [1, 3]
        assert "whispered" not in lines.text


class TestDyingDrains:
    def test_one_that_read_and_never_wrote_loses_and_doubles_nothing(self, worker: MakeWorker) -> None:
        here = worker(router_of("h"))
        for number in range(50):
            here.deliver(lead_updated(7, at=number), id_=f"d{number}")
        picked = here.runtime.loops["inbox"].pick(0, "dies", first=True, hold_ms=3000)
        assert picked.account_id == ACCOUNT
        assert len(here.runtime.inbox.read(ACCOUNT, after="0-0", limit=32)) == 32
        drain(here.runtime)
        assert steps(here) == {}, "while its hold lasts the account stands still"
        here.runtime.redis.zadd(here.runtime.keys.queue("inbox", 0).ready, {str(ACCOUNT): 1})
        drain(here.runtime)
        assert [step["event"]["delivery_id"] for step in steps(here)["lead:7:h"]] == [f"d{n}" for n in range(50)]

    def test_one_that_comes_back_late_changes_nothing(self, worker: MakeWorker, lines: Lines) -> None:
        here = worker(router_of("h"))
        with slow_read(here) as meanwhile:
            here.deliver(lead_added(1))
            # While the first has read and not yet written, another drains the account.
            meanwhile.append(lambda: expire_and_drain(worker(router_of("h"))))
            drain(here.runtime)
        assert ids(here, "lead:1:h") == [1]
        assert lines.saying("another drain was faster")

    def test_many_at_once_keep_every_accounts_order(self, worker: MakeWorker) -> None:
        accounts, here = (ACCOUNT, ACCOUNT + 1, ACCOUNT + 2), worker(router_of("h"))
        for number in range(120):
            for account in accounts:
                here.deliver(lead_updated(7, at=number), account=account, id_=f"{account}-{number:03}")
        drains = [worker(router_of("h")) for _ in range(4)]
        threads = [threading.Thread(target=drain, args=(one.runtime,)) for one in drains]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for account in accounts:
            came = [step["event"]["delivery_id"] for step in steps(here, account)["lead:7:h"]]
            assert came == [f"{account}-{number:03}" for number in range(120)]


def expire_and_drain(other: Worker) -> None:
    other.runtime.redis.zadd(other.runtime.keys.queue("inbox", 0).ready, {str(ACCOUNT): 1})
    drain(other.runtime)


@contextmanager
def slow_read(worker: Worker) -> Iterator[list[Any]]:
    """Do something between a drain's reading and its writing, once."""
    inbox, meanwhile = worker.runtime.inbox, list[Any]()
    read = inbox.read_to_drain

    def slowly(*args: Any, **more: Any) -> Any:
        entries = read(*args, **more)
        while meanwhile:
            meanwhile.pop()()
        return entries

    inbox.read_to_drain = slowly  # type: ignore[method-assign]  # the moment in between cannot be reached otherwise
    yield meanwhile
    inbox.read_to_drain = read  # type: ignore[method-assign]


def test_a_batch_takes_no_more_deliveries_once_its_events_are_many(worker: MakeWorker) -> None:
    here = worker(router_of("h"))
    committed: list[int] = []
    commit = here.runtime.inbox.commit

    def counting(batch: Batch, *, hold_ms: int) -> Committed:
        committed.append(len(batch.events))
        return commit(batch, hold_ms=hold_ms)

    here.runtime.inbox.commit = counting  # type: ignore[method-assign]  # what one script got cannot be seen later
    for number in range(8):
        body = b"&".join(b"leads[delete][%d][id]=%d" % (place, place) for place in range(150))
        here.deliver(body, id_=f"d{number}")
    drain(here.runtime)
    assert committed == [300, 300, 300, 300]
    assert len(ids(here, "lead:7:h")) == 8


def test_a_process_that_stops_finishes_its_batch_and_leaves_the_rest_ready(worker: MakeWorker) -> None:
    here = worker(router_of("h"))
    for number in range(40):
        here.deliver(lead_updated(7, at=number), id_=f"d{number}")
    with slow_read(here) as meanwhile:
        meanwhile.append(here.runtime.stopping.set)
        drain(here.runtime)
    assert len(ids(here, "lead:7:h")) == 32
    expected = worker(router_of("h"))
    drain(expected.runtime)
    assert len(ids(here, "lead:7:h")) == 40


def test_a_redis_that_is_away_ends_the_loop_with_a_line_and_no_error(worker: MakeWorker, lines: Lines) -> None:
    with PrivateServer(fsync="no") as server, connect(server.url) as redis:
        here = worker(router_of("h"), redis=redis)
        here.deliver(lead_added(1))
        server.kill()
        drain(here.runtime)
        assert lines.saying("loop ended")[0]["queue"] == "inbox"
        server.start()


def test_what_was_drained_is_told_without_what_was_in_it(worker: MakeWorker, lines: Lines, redis: Redis) -> None:
    here = worker(router_of("h"))
    delivery = here.deliver(lead_added(1) + b"&leads[add][0][name]=whispered")
    drain(here.runtime)
    (line,) = lines.saying("drained")
    assert (line["delivery"], line["account"], line["events"], line["steps"]) == (
        delivery.id,
        ACCOUNT,
        ["lead.added"],
        1,
    )
    assert "whispered" not in lines.text
    assert redis.dbsize() > 0


def test_a_batch_ends_once_it_is_large_since_redis_does_nothing_else_meanwhile(
    worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = worker()
    inbox, sizes = here.runtime.inbox, []
    commit = inbox.commit

    def counted(batch: Batch, *, hold_ms: int) -> Committed:
        sizes.append(len(batch.events))
        return commit(batch, hold_ms=hold_ms)

    monkeypatch.setattr(inbox, "commit", counted)
    for number in range(3):
        items = (f"leads[add][{item}][id]={number * 400 + item + 1}" for item in range(400))
        here.deliver("&".join(items).encode(), id_=f"large{number}")
    drain(here.runtime)
    assert sizes == [800, 400]
