"""Retried dead letters: what was given up is done after all, and nothing else is done again."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kommo.hooks.events import Event
from kommo.queue import LOOPS
from kommo.router import Router
from kommo.store.dead import DeadLetters, KeptLetter
from kommo.store.outbox import FAILED
from kommo.store.returns import Returns
from kommo.verdicts import Reject
from sandbox import Sandbox
from tests.integration.workers.flushing import Asking, FakeTransport, flush_out, kept, listen, made, problem, sent
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker, lead_added, lead_updated
from workers.drain import drain
from workers.flush import flush
from workers.retrying import CannotRetry, Retrying
from workers.run import run


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(account_id=ACCOUNT) as box:
        yield box


@pytest.fixture
def asking(worker: MakeWorker, box: Sandbox) -> Asking:
    return Asking(worker, box)


class Failing:
    """A handler that rejects until it is mended."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.mended = False

    def __call__(self, event: Event, _kommo: Any) -> None:
        self.events.append(event)
        if not self.mended:
            raise Reject("not yet")


def retrying(worker: Worker) -> Retrying:
    runtime = worker.runtime
    returns = Returns(runtime.redis, runtime.keys)
    return Retrying(runtime.inbox, runtime.outbox, runtime.fleet, returns, worker.hints.wake)


def letters(worker: Worker) -> list[KeptLetter]:
    """All letters, the oldest first."""
    dead = DeadLetters(worker.runtime.redis, worker.runtime.keys)
    return list(dead.read(sorted(dead.newest())))


def letter(worker: Worker) -> KeptLetter:
    (one,) = letters(worker)
    return one


def changed(worker: Worker, **given: Any) -> KeptLetter:
    """Change what lies in the only letter, as another version might have stored it."""
    kept = letter(worker)
    record = replace(kept.letter, **given)
    worker.runtime.redis.hset(worker.runtime.keys.dead(ACCOUNT)[0], kept.key.id, record.to_json())
    return letter(worker)


class TestSteps:
    def two_handlers(self, worker: MakeWorker) -> tuple[Worker, Failing, list[Event]]:
        failing, others = Failing(), list[Event]()
        router = Router()
        router.on("lead.*", handler="failing")(failing)

        @router.on("lead.*", handler="other")
        def other(event: Event, kommo: Any) -> None:
            others.append(event)

        here = worker(router)
        here.come(31)
        run(here.runtime)
        return here, failing, others

    def test_only_the_handler_that_failed_runs_again(self, worker: MakeWorker) -> None:
        here, failing, others = self.two_handlers(worker)
        failing.mended = True
        assert retrying(here).retry(letter(here))
        run(here.runtime)
        assert (len(failing.events), len(others)) == (2, 1)
        assert failing.events[0] == failing.events[1]
        assert here.dead() == []
        assert here.runtime.redis.exists(here.runtime.keys.open(ACCOUNT)) == 0

    def test_it_wakes_the_run_loops(self, worker: MakeWorker) -> None:
        here, _, _ = self.two_handlers(worker)
        here.hints.queues.clear()
        here.runtime.redis.delete(here.runtime.keys.queue("lanes", 0).flag, here.runtime.keys.queue("lanes", 0).awake)
        retrying(here).retry(letter(here))
        assert here.hints.queues == [LOOPS["lanes"]]

    def test_one_that_fails_again_is_a_letter_again(self, worker: MakeWorker) -> None:
        here, failing, _ = self.two_handlers(worker)
        before = letter(here)
        retrying(here).retry(before)
        run(here.runtime)
        assert len(failing.events) == 2
        assert letter(here).key.id == before.key.id
        assert not retrying(here).retry(before)

    def test_later_events_of_the_lane_come_first(self, worker: MakeWorker) -> None:
        here, failing, _ = self.two_handlers(worker)
        here.deliver(lead_updated(31, at=500))
        drain(here.runtime)
        failing.mended = True
        retrying(here).retry(letter(here))
        run(here.runtime)
        assert [event.type for event in failing.events] == ["lead.added", "lead.updated", "lead.added"]

    @pytest.mark.parametrize("announced", [True, False])
    def test_of_a_handler_that_was_gone_a_living_worker_has_to_know(self, worker: MakeWorker, announced: bool) -> None:
        here, failing, _ = self.two_handlers(worker)
        kept = changed(here, reason="handler_gone")
        failing.mended = True
        if announced:
            here.runtime.fleet.announce("p1", {}, ["failing"], sweep_ms=1)
        else:
            with pytest.raises(CannotRetry, match="no living worker knows the handler failing"):
                retrying(here).retry(kept)
            assert letter(here) == kept
        assert retrying(here).retry(kept, force=not announced)
        run(here.runtime)
        assert len(failing.events) == 2

    def test_what_could_not_be_read_goes_back_once_it_can_be(self, worker: MakeWorker) -> None:
        here, failing, _ = self.two_handlers(worker)
        item = dict(letter(here).letter.item)
        lane = item.pop("lane")
        kept = changed(here, reason="unreadable", item={"chain": lane}, body=json.dumps(item).encode())
        failing.mended = True
        assert retrying(here).retry(kept)
        run(here.runtime)
        assert (len(failing.events), here.dead()) == (2, [])

    @pytest.mark.parametrize("body", [b"{", b"[]", b'{"event":{}}', b'{"handler":"failing"}'])
    def test_what_cannot_be_read_stays(self, worker: MakeWorker, body: bytes) -> None:
        here, _, _ = self.two_handlers(worker)
        kept = changed(here, reason="unreadable", item={"chain": "lead:31:failing"}, body=body)
        with pytest.raises(CannotRetry, match="this version cannot read"):
            retrying(here).retry(kept, force=True)
        assert letter(here) == kept


class TestDeliveries:
    BROKEN = b"leads[add][0][id]=31&leads[add][0][last_modified]=1795000031&account[id]=99"

    def given_up(self, worker: MakeWorker, seen: list[Event]) -> Worker:
        router = Router()

        @router.on("lead.*", handler="h")
        def h(event: Event, kommo: Any) -> None:
            seen.append(event)

        here = worker(router)
        here.deliver(self.BROKEN, id_="d31")
        drain(here.runtime)
        assert letter(here).letter.reason == "account_mismatch"
        return here

    def test_what_this_version_cannot_read_either_stays_unless_forced(self, worker: MakeWorker) -> None:
        here = self.given_up(worker, [])
        kept = letter(here)
        with pytest.raises(CannotRetry, match="cannot read it either: AccountMismatch"):
            retrying(here).retry(kept)
        assert retrying(here).retry(kept, force=True)
        drain(here.runtime)
        assert letter(here).letter.id == kept.letter.id

    def test_what_can_be_read_by_now_is_drained_and_handled(self, worker: MakeWorker) -> None:
        seen: list[Event] = []
        here = self.given_up(worker, seen)
        kept = changed(here, body=lead_added(31))
        assert retrying(here).retry(kept)
        drain(here.runtime)
        run(here.runtime)
        (event,) = seen
        assert (event.entity_id, event.delivery_id) == (31, "d31")
        assert here.dead() == []
        (entry,) = here.runtime.inbox.between(ACCOUNT)
        assert (entry.delivery.id, entry.delivery.received_ms) == ("d31", 1_795_000_000_000)

    def test_an_event_of_it_that_came_another_way_meanwhile_does_not_run_twice(self, worker: MakeWorker) -> None:
        seen: list[Event] = []
        here = self.given_up(worker, seen)
        here.come(31)
        run(here.runtime)
        retrying(here).retry(changed(here, body=lead_added(31)))
        drain(here.runtime)
        run(here.runtime)
        assert len(seen) == 1


class TestWrites:
    def refused(self, asking: Asking, act: Callable[[Any], object], status: int = 400) -> tuple[Worker, FakeTransport]:
        """A worker whose write Kommo has refused, and from then on takes."""
        here = asking(act)
        answers = [problem(status)]
        heard = listen(here, lambda request: answers.pop() if answers and request.method != "GET" else None)
        flush_out(here)
        return here, heard

    def test_a_write_is_sent_again_by_itself(self, asking: Asking, box: Sandbox) -> None:
        lead = made(box, "leads", name="Bathroom")
        here, heard = self.refused(asking, lambda kommo: kommo.later.leads.update(lead, price=700))
        assert retrying(here).retry(letter(here))
        flush_out(here)
        assert here.dead() == []
        assert [one["price"] for one in kept(box, "leads")] == [700]
        assert [json.loads(request.body) for request in heard.sent] == [{"price": 700}, {"price": 700}]

    def test_it_shares_no_request_and_is_merged_with_nothing(self, asking: Asking, box: Sandbox) -> None:
        lead, other = made(box, "leads", name="a"), made(box, "leads", name="b")
        here, heard = self.refused(asking, lambda kommo: kommo.later.leads.update(lead, price=700))
        one = letter(here)
        records = [
            {**one.letter.item, "id": f"w{number}", "chain": f"lead:{id_}", "entity": ["lead", id_]}
            for number, id_ in enumerate((lead, other))
        ]
        changed(here, item=records[0])
        index = here.runtime.keys.dead(ACCOUNT)
        second = replace(one.letter, id="w1", item=records[1])
        here.runtime.redis.hset(index[0], "w1", second.to_json())
        here.runtime.redis.zadd(index[1], {f"{ACCOUNT}:w1": 5})
        for kept_letter in letters(here):
            assert retrying(here).retry(kept_letter)
        heard.sent.clear()
        flush_out(here)
        assert len(heard.sent) == 2

    def test_a_reference_to_what_failed_waits_until_that_is_retried(self, asking: Asking, box: Sandbox) -> None:
        def act(kommo: Any) -> None:
            lead = kommo.later.leads.create(name="Bathroom")
            kommo.later.notes.create(entity=lead, text="hello")

        here, _ = self.refused(asking, act)
        created, note = letters(here)
        assert (created.letter.reason, note.letter.reason) == ("refused", "depends_on_failed")
        back = retrying(here)
        with pytest.raises(CannotRetry, match=f"needs the result of the write {created.key.id}"):
            back.retry(note)
        assert back.retry(created)
        assert back.retry(note)
        flush_out(here)
        assert here.dead() == []
        assert len(kept(box, "leads")) == len(kept(box, "notes")) == 1

    @pytest.mark.parametrize("together", [True, False])
    def test_a_result_that_is_forgotten_by_now_is_told(self, asking: Asking, together: bool) -> None:
        def act(kommo: Any) -> None:
            kommo.later.notes.create(entity=kommo.later.leads.create(name="Bathroom"), text="hello")

        here, _ = self.refused(asking, act)
        created, note = letters(here)
        old = {**note.letter.item, "asked_at": (datetime.now(UTC) - timedelta(days=8)).isoformat()}
        records = here.runtime.keys.dead(ACCOUNT)[0]
        here.runtime.redis.hset(records, note.key.id, replace(note.letter, item=old).to_json())
        created, note = letters(here)
        back = retrying(here)
        assert back.retry(created)
        if together:
            assert back.retry(note)
        else:
            with pytest.raises(CannotRetry, match="is not known any more"):
                retrying(here).retry(note)

    def test_what_failed_at_first_is_no_result_any_more(self, asking: Asking) -> None:
        here, _ = self.refused(asking, lambda kommo: kommo.later.leads.create(name="Bathroom"))
        id_ = letter(here).key.id
        assert here.runtime.outbox.results(ACCOUNT, [id_]) == {id_: FAILED}
        retrying(here).retry(letter(here))
        assert here.runtime.outbox.results(ACCOUNT, [id_]) == {}
        flush(here.runtime)
        assert here.runtime.outbox.results(ACCOUNT, [id_])[id_].isdecimal()


class TestDoubt:
    def in_doubt(self, asking: Asking, act: Callable[[Any], object], **given: Any) -> Worker:
        here = asking(act)
        listen(here, lambda request: problem(400) if request.method == "POST" else None)
        flush_out(here)
        changed(here, **{"reason": "in_doubt", **given})
        listen(here)
        return here

    def test_what_can_be_looked_for_is_looked_for_and_not_made_twice(self, asking: Asking, box: Sandbox) -> None:
        lead = made(box, "leads", name="Bathroom")
        here = self.in_doubt(asking, lambda kommo: kommo.later.notes.create(entity=("lead", lead), text="hello"))
        record = {**letter(here).letter.item, "on_doubt": "park"}
        changed(here, item=record)
        write = letter(here)
        # It had been done, though its answer was lost.
        here.runtime.clients.client(ACCOUNT).notes.create(entity=("lead", lead), text="hello")
        assert retrying(here).retry(write)
        flush_out(here)
        assert here.dead() == []
        assert len(kept(box, "notes")) == 1
        assert len(sent(box, "GET", f"/api/v4/leads/{lead}/notes")) == 1

    def test_what_was_not_done_is_sent(self, asking: Asking, box: Sandbox) -> None:
        lead = made(box, "leads", name="Bathroom")
        here = self.in_doubt(asking, lambda kommo: kommo.later.notes.create(entity=("lead", lead), text="hello"))
        assert retrying(here).retry(letter(here))
        flush_out(here)
        assert (here.dead(), len(kept(box, "notes"))) == ([], 1)

    def test_what_cannot_be_looked_for_is_sent_only_when_forced(self, asking: Asking, box: Sandbox) -> None:
        here = self.in_doubt(asking, lambda kommo: kommo.later.leads.create(name="Bathroom"))
        with pytest.raises(CannotRetry, match="look in Kommo yourself"):
            retrying(here).retry(letter(here))
        assert retrying(here).retry(letter(here), force=True)
        flush_out(here)
        assert (here.dead(), len(kept(box, "leads"))) == ([], 1)

    @pytest.mark.parametrize("mark", [b"", b"!", b"?"])
    def test_a_write_that_could_not_be_read_goes_back_once_it_can_be(
        self, asking: Asking, box: Sandbox, mark: bytes
    ) -> None:
        lead = made(box, "leads", name="Bathroom")
        here = self.in_doubt(asking, lambda kommo: kommo.later.notes.create(entity=("lead", lead), text="hello"))
        item = dict(letter(here).letter.item)
        body = mark + b"notes:leads:create\n" + json.dumps(item).encode()
        changed(here, reason="unreadable", item={"chain": item["chain"]}, body=body)
        retrying(here).retry(letter(here))
        flush_out(here)
        assert (here.dead(), len(kept(box, "notes"))) == ([], 1)
        assert bool(sent(box, "GET", f"/api/v4/leads/{lead}/notes")) is (mark == b"?")


def test_a_letter_that_is_gone_is_not_put_back(worker: MakeWorker) -> None:
    here = TestSteps().two_handlers(worker)[0]
    kept_letter = letter(here)
    assert [retrying(here).retry(kept_letter), retrying(here).retry(kept_letter)] == [True, False]
