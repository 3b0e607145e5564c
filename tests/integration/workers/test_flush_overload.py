"""Flushing to a Kommo that does not finish in time: smaller requests, and what may be done is looked for first."""

import json
from datetime import timedelta
from typing import Any

from kommo.api.protocol import Request, Response
from kommo.store.outbox import DOUBTFUL
from sandbox import Sandbox
from tests.integration.workers.flushing import Asking, flush_out, kept, leads, listen, made, problem, sent
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker
from workers.flush import flush

HOUR = timedelta(hours=1)


class TestTooMuchAtOnce:
    def test_is_halved_until_kommo_copes_and_stays_so_for_a_while(self, worker: MakeWorker) -> None:
        with Sandbox(account_id=ACCOUNT, rate=10_000, timeout_above=6) as box:
            ids = leads(box, 50)
            here = Asking(worker, box)(lambda kommo: [kommo.later.leads.update(lead, price=7) for lead in ids])
            flush_out(here)
            sizes = [len(request["json"]) for request in sent(box, "PATCH") if isinstance(request["json"], list)]
            assert sizes[:4] == [50, 25, 25, 12] or sizes[:3] == [50, 25, 12]
            assert sizes[-1] <= 6
            assert {lead["price"] for lead in kept(box, "leads")} == {7}
            assert here.dead() == []

    def test_what_is_too_much_alone_is_tried_again_later(self, worker: MakeWorker) -> None:
        with Sandbox(account_id=ACCOUNT, rate=10_000, timeout_above=0) as box:
            lead = made(box, "leads", name="old")
            here = Asking(worker, box)(lambda kommo: kommo.later.leads.update(lead, price=7))
            flush(here.runtime)
            assert here.stats()["writes_failed"] == 1


class TestTooManyCreationsAtOnce:
    """A 504 says nothing of what Kommo had done by then, and creations are not idempotent."""

    def left(self, worker: Worker) -> dict[str, bool]:
        """Say of each write that is left, by its text or name, whether it is looked for before it is sent again."""
        items: Any = worker.runtime.redis.hgetall(worker.runtime.keys.chains("outbox", ACCOUNT).items)
        bodies = [(json.loads(item.partition(b"\n")[2])["body"], item) for item in items.values()]
        return {body.get("text") or body["name"]: item[:1] == DOUBTFUL.encode() for body, item in bodies}

    def overload_once(self, worker: Worker) -> None:
        """Let a request be answered with 504, and the process stop there."""

        def answer(_request: Request) -> Response:
            worker.runtime.stopping.set()
            return problem(504)

        wire = listen(worker, answer)
        flush(worker.runtime)
        assert len(wire.sent) == 1

    def test_leads_with_a_marker_are_left_in_doubt_and_others_are_not(self, asked: Asking) -> None:
        def make(kommo: Any) -> None:
            kommo.later.leads.create(name="Order 51", marker="name")
            kommo.later.leads.create(name="Order 52")

        here = asked(make)
        self.overload_once(here)
        assert self.left(here) == {"Order 51": True, "Order 52": False}
        assert "writes_failed" not in here.stats()

    def test_so_are_all_tasks_of_an_entity(self, asked: Asking) -> None:
        def make(kommo: Any) -> None:
            for text in ("Call", "Write", "Visit"):
                kommo.later.tasks.create(entity=("lead", 5), text=text, due_in=HOUR)

        here = asked(make)
        self.overload_once(here)
        assert self.left(here) == {"Call": True, "Write": True, "Visit": True}

    def test_what_had_been_done_is_found_and_not_made_twice(self, asked: Asking, box: Sandbox) -> None:
        def make(kommo: Any) -> None:
            for number in (51, 52):
                lead = kommo.later.leads.create(name=f"Order {number}", marker="name")
                kommo.later.tasks.create(entity=lead, text=f"Call {number}", due_in=HOUR)

        box.fault(method="POST", path="/api/v4/leads", status=504, after_work=True)
        here = asked(make)
        flush_out(here)
        assert [one["method"] for one in box.requests(path="/api/v4/leads")] == ["POST", "GET", "GET"]
        ids = {lead["name"].split()[1]: lead["id"] for lead in kept(box, "leads")}
        assert {task["text"].split()[1]: task["entity_id"] for task in kept(box, "tasks")} == ids
        assert len(ids) == 2

    def test_what_had_not_been_done_is_looked_for_and_sent(self, asked: Asking, box: Sandbox) -> None:
        def make(kommo: Any) -> None:
            for number in (51, 52):
                kommo.later.leads.create(name=f"Order {number}", marker="name")

        box.fault(method="POST", path="/api/v4/leads", status=504)
        here = asked(make)
        flush_out(here)
        assert [one["method"] for one in box.requests()].count("GET") == 2
        assert sorted(lead["name"] for lead in kept(box, "leads")) == ["Order 51", "Order 52"]

    def test_those_that_cannot_be_looked_for_are_halved(self, asked: Asking, box: Sandbox) -> None:
        box.fault(method="POST", path="/api/v4/leads", status=504)
        here = asked(lambda kommo: [kommo.later.leads.create(name=f"Order {number}") for number in range(4)])
        flush_out(here)
        assert [(one["method"], len(one["json"])) for one in box.requests(bodies=True)] == [
            ("POST", 4),
            ("POST", 2),
            ("POST", 2),
        ]
        assert len(kept(box, "leads")) == 4
        assert here.dead() == []
