"""Flushing: what handlers asked for reaches Kommo in order, and in as few requests as it takes."""

import json
import threading
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis

from kommo.api.protocol import Request, Response
from kommo.router import Router
from kommo.store.limiter import Scope
from kommo.variables import Secret
from sandbox import Sandbox
from tests.integration.workers.flushing import (
    FAST,
    Asking,
    flush_out,
    kept,
    leads,
    listen,
    made,
    nothing,
    put,
    sent,
    used,
)
from tests.integration.workers.logs import Lines
from tests.integration.workers.working import ACCOUNT, MakeWorker
from tests.waiting import wait_for
from workers.flush import IN_FLIGHT, flush

DONE = Response(200, {}, b'{"_embedded": {}}')
HOUR = timedelta(hours=1)


class TestMerging:
    def test_patches_to_one_entity_are_one_request(self, asked: Asking, box: Sandbox) -> None:
        lead = made(box, "leads", name="new")

        def change(kommo: Any) -> None:
            for price in (10, 20, 30, 40):
                kommo.later.leads.update(lead, price=price, add_tags=[f"t{price}"])
            kommo.later.leads.update(lead, name="named", remove_tags=["t20"])

        here = asked(change)
        flush_out(here)
        (request,) = sent(box, "PATCH")
        assert request["path"] == f"/api/v4/leads/{lead}"
        (now,) = kept(box, "leads")
        assert (now["price"], now["name"]) == (40, "named")
        assert [tag["name"] for tag in box.world.state.records["leads"][lead].tags] == ["t10", "t30", "t40"]
        assert here.stats()["writes_done"] == 5

    def test_patches_of_several_handlers_are_too(self, asked: Asking, box: Sandbox) -> None:
        lead = made(box, "leads", name="new")
        here = asked(
            lambda kommo: kommo.later.leads.update(lead, price=7),
            lambda kommo: kommo.later.leads.update(lead, name="named"),
        )
        flush_out(here)
        assert [request["json"] for request in sent(box, "PATCH")] == [{"price": 7, "name": "named"}]

    def test_what_would_end_otherwise_together_is_sent_in_turn(self, asked: Asking, box: Sandbox) -> None:
        contact = made(box, "contacts", name="Ines Old", first_name="Ines", last_name="Old")

        def change(kommo: Any) -> None:
            kommo.later.contacts.update(contact, name="The customer")
            kommo.later.contacts.update(contact, last_name="New")

        flush_out(asked(change))
        assert len(sent(box, "PATCH")) == 2
        assert kept(box, "contacts")[0]["name"] == "Ines New"

    def test_many_entities_go_in_one_request(self, asked: Asking, box: Sandbox) -> None:
        ids = leads(box, 12)
        flush_out(asked(lambda kommo: [kommo.later.leads.update(lead, price=1) for lead in ids]))
        (request,) = sent(box, "PATCH")
        assert request["path"] == "/api/v4/leads"
        assert [lead["price"] for lead in kept(box, "leads")] == [1] * 12

    def test_patches_to_500_leads_are_ten_requests(self, asked: Asking, box: Sandbox) -> None:
        ids = leads(box, 500)
        flush_out(asked(lambda kommo: [kommo.later.leads.update(lead, price=1) for lead in ids]))
        assert [len(request["json"]) for request in sent(box, "PATCH")] == [50] * 10
        assert {lead["price"] for lead in kept(box, "leads")} == {1}

    def test_thousands_of_patches_to_forty_leads_are_a_few_requests(self, worker: MakeWorker) -> None:
        here = worker(Router(), subdomain="x", rate_limits=FAST)
        put(here, ACCOUNT, lambda later: [later.leads.update(1 + n % 40, price=n) for n in range(4000)])
        wire = listen(here, lambda _request: DONE)
        flush_out(here)
        # 60 for 10,000 patches to 100 leads.
        assert len(wire.sent) <= 24
        assert here.stats()["writes_done"] == 4000
        last: dict[int, int] = {}
        for body in wire.bodies("PATCH"):
            last.update({one["id"]: one["price"] for one in body})
        assert last == {1 + n % 40: n for n in range(3960, 4000)}

    def test_tasks_and_notes_of_one_entity_travel_together(self, asked: Asking, box: Sandbox) -> None:
        lead = made(box, "leads", name="new")

        def make(kommo: Any) -> None:
            for number in range(5):
                kommo.later.tasks.create(entity=("lead", lead), text=f"Call {number}", due_in=HOUR)
            for number in range(5):
                kommo.later.notes.create(entity=("lead", lead), text=f"Rang {number}")

        flush_out(asked(make))
        assert [(one["path"], len(one["json"])) for one in sent(box, "POST")] == [
            ("/api/v4/tasks", 5),
            ("/api/v4/leads/notes", 5),
        ]
        assert [task["text"] for task in kept(box, "tasks")] == [f"Call {n}" for n in range(5)]
        assert [note["params"]["text"] for note in kept(box, "notes")] == [f"Rang {n}" for n in range(5)]


class TestOrder:
    def test_of_one_entity_is_kept_whatever_is_asked_for(self, asked: Asking, box: Sandbox) -> None:
        lead = made(box, "leads", name="new")

        def change(kommo: Any) -> None:
            kommo.later.leads.update(lead, price=1)
            kommo.later.notes.create(entity=("lead", lead), text="one")
            kommo.later.leads.update(lead, price=2)
            kommo.later.tasks.create(entity=("lead", lead), text="two", due_in=HOUR)
            kommo.later.leads.update(lead, price=3)

        flush_out(asked(change))
        paths = [request["path"] for request in box.requests()]
        assert [path.rsplit("/", 1)[-1] for path in paths] == [str(lead), "notes", str(lead), "tasks", str(lead)]

    def test_an_entity_with_a_write_under_way_is_in_no_second_request(self, worker: MakeWorker) -> None:
        here = worker(Router(), subdomain="x", rate_limits=FAST)
        under_way: Counter[int] = Counter()
        both, lock = [], threading.Lock()

        def answer(request: Request) -> Response:
            body = json.loads(request.body)
            ids = [one["id"] for one in body] if isinstance(body, list) else [int(request.path.rsplit("/", 1)[-1])]
            with lock:
                under_way.update(ids)
                both.extend(id_ for id_ in ids if under_way[id_] > 1)
                number = len(wire.sent)
            if number < 12:
                # More is asked for while this is under way.
                put(here, ACCOUNT, lambda later: [later.leads.update(n, price=n) for n in (1, 2)], event=f"e-{number}")
            with lock:
                under_way.subtract(ids)
            return DONE

        wire = listen(here, answer)
        put(here, ACCOUNT, lambda later: [later.leads.update(n, price=n) for n in (1, 2, 3)], event="first")
        flush_out(here)
        assert both == []
        assert here.stats()["writes_done"] >= 20

    def test_never_more_than_seven_requests_of_an_account_are_under_way(self, worker: MakeWorker) -> None:
        here = worker(Router(), subdomain="x", rate_limits=FAST)
        now, most, lock = 0, 0, threading.Lock()
        seven = threading.Event()

        def count(_request: Request) -> Response:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
                if now == IN_FLIGHT:
                    seven.set()
            seven.wait(5)
            with lock:
                now -= 1
            return DONE

        put(here, ACCOUNT, lambda later: [later.leads.update(n, price=1) for n in range(1, 601)])
        wire = listen(here, count)
        flush_out(here)
        assert most == IN_FLIGHT
        assert len(wire.sent) == 12


class TestCompany:
    def test_what_is_asked_for_within_a_moment_goes_together(self, worker: MakeWorker) -> None:
        here = worker(Router(), subdomain="x", rate_limits=FAST)
        wire = listen(here, lambda _request: DONE)
        put(here, ACCOUNT, lambda later: later.leads.update(1, price=1), event="a")
        other = (here, ACCOUNT, lambda later: later.leads.update(2, price=1))
        second = threading.Timer(0.05, put, other, {"event": "b"})
        second.start()
        flush_out(here)
        second.join()
        assert [len(body) for body in wire.bodies("PATCH")] == [2]

    def test_a_lone_write_waits_for_no_longer_than_a_moment(self, worker: MakeWorker) -> None:
        here = worker(Router(), subdomain="x", rate_limits=FAST)
        wire = listen(here, lambda _request: DONE)
        put(here, ACCOUNT, lambda later: later.leads.update(1, price=1))
        began = time.monotonic()
        flush(here.runtime)
        assert 0.1 <= time.monotonic() - began < 1
        assert len(wire.sent) == 1


class TestReferences:
    def test_what_is_made_in_a_step_can_be_used_by_its_later_writes(self, asked: Asking, box: Sandbox) -> None:
        def make(kommo: Any) -> None:
            contact = kommo.later.contacts.create(name="Anna")
            lead = kommo.later.leads.create(name="Order", contacts=[contact])
            kommo.later.tasks.create(entity=lead, text="Call", due_in=HOUR)
            kommo.later.notes.create(entity=lead, text="Asked for it twice")
            kommo.later.leads.update(lead, price=500)

        flush_out(asked(make))
        (lead,), (task,), (contact,) = (kept(box, kind) for kind in ("leads", "tasks", "contacts"))
        assert (lead["name"], lead["price"]) == ("Order", 500)
        assert (task["entity_id"], task["entity_type"], task["text"]) == (lead["id"], "leads", "Call")
        (note,) = sent(box, "POST", "/api/v4/leads/notes")
        assert note["json"][0]["entity_id"] == lead["id"]
        (order,) = sent(box, "POST", "/api/v4/leads")[:1]
        assert order["json"][0]["_embedded"]["contacts"][0]["id"] == contact["id"]

    def test_ids_reach_those_who_asked_in_whatever_order_kommo_answers(self, worker: MakeWorker) -> None:
        here = worker(Router(), subdomain="x", rate_limits=FAST)

        def answer(request: Request) -> Response:
            items = [
                {"id": 1000 + int(one.get("name", one.get("text"))[5:]), "request_id": one["request_id"]}
                for one in json.loads(request.body)
            ]
            kind = request.path.rsplit("/", 1)[-1]
            return Response(200, {}, json.dumps({"_embedded": {kind: items[::-1]}}).encode())

        def make(later: Any) -> None:
            for number in range(20):
                lead = later.leads.create(name=f"lead {number}")
                later.tasks.create(entity=lead, text=f"task {number}", due_in=HOUR)

        put(here, ACCOUNT, make)
        wire = listen(here, answer)
        flush_out(here)
        tasks = [one for body in wire.bodies("POST", "/api/v4/tasks") for one in body]
        assert {one["entity_id"]: one["text"] for one in tasks} == {1000 + n: f"task {n}" for n in range(20)}
        assert len(wire.sent) == 2, "the leads go together, and then the tasks"

    def test_what_needs_a_write_of_another_chain_waits_for_it_and_costs_no_slot(
        self, asked: Asking, box: Sandbox
    ) -> None:
        lead = made(box, "leads", name="old")
        waiting, made_in_time = threading.Event(), []

        def make(kommo: Any) -> None:
            contact = kommo.later.contacts.create(name="Anna")
            kommo.later.leads.update(lead, price=3, _embedded={"contacts": [contact]})

        def hold(request: Request) -> None:
            if request.path.endswith("/contacts"):
                # Until the update has been looked at and put off.
                made_in_time.append(waiting.wait(5))

        here = asked(make)
        wire = listen(here, hold)

        def watch() -> None:
            wait_for(lambda: here.stats().get("writes_postpone"), what="a write was put off")
            waiting.set()

        watching = threading.Thread(target=watch)
        watching.start()
        flush_out(here)
        watching.join()
        assert made_in_time == [True]
        assert [one.method for one in wire.sent] == ["POST", "PATCH"]
        assert used(here)[0] <= 2


@pytest.mark.parametrize("stored", [b"of another version", b"leads:update\nno JSON", b'leads:update\n{"id": 5}'])
def test_writes_that_cannot_be_read_are_kept_each_for_itself_and_those_behind_them_go_on(
    asked: Asking, stored: bytes
) -> None:
    def reprice(kommo: Any) -> None:
        for lead in (5, 6):
            kommo.later.leads.update(lead, price=1)
            kommo.later.leads.update(lead, price=2)

    here = asked(reprice)
    wire = listen(here, lambda _request: Response(200, {}, b'{"_embedded": {}}'))
    for chain in ("lead:5", "lead:6"):
        here.runtime.redis.hset(here.runtime.keys.chains("outbox", ACCOUNT).items, f"{chain}|1", stored)
    flush_out(here)
    prices = [one["price"] for body in wire.bodies("PATCH") for one in (body if isinstance(body, list) else [body])]
    assert prices == [2, 2]
    assert sorted(letter.item["chain"] for letter in here.dead()) == ["lead:5", "lead:6"]
    assert {(letter.kind, letter.reason) for letter in here.dead()} == {("write", "unreadable")}
    assert used(here)[0] <= 2


def test_without_a_token_writes_are_kept_and_looked_at_again_in_a_minute(asked: Asking, lines: Lines) -> None:
    here = asked(lambda kommo: kommo.later.leads.update(5, price=7), access_token=Secret())
    flush(here.runtime)
    flush(here.runtime)
    assert "KOMMO_ACCESS_TOKEN" in lines.saying("writes wait")[0]["error"]
    ready: Any = here.runtime.redis.zscore(here.runtime.keys.queue("outbox", 0).ready, str(ACCOUNT))
    seconds, _ = here.runtime.redis.time()
    assert ready / 1000 - seconds == pytest.approx(60, abs=2)
    (pile,) = here.runtime.outbox.take_piles(ACCOUNT, "t", most=1, depth=1).piles
    assert (pile.lease.failures, pile.lease.crashes) == (0, 0)


def test_a_call_is_told_with_what_asked_for_it(asked: Asking, box: Sandbox, lines: Lines) -> None:
    lead = made(box, "leads", name="old")
    flush_out(asked(lambda kommo: kommo.later.leads.update(lead, name="whispered")))
    for line in (*lines.saying("api call"), *lines.saying("written")):
        assert (line["method"], line["handler"], line["account"]) == ("PATCH", "asks", ACCOUNT)
        assert line["delivery"] == f"d-{ACCOUNT}-900001"
    assert (lines.saying("written")[0]["writes"], len(lines.saying("api call"))) == (1, 1)
    assert "whispered" not in lines.text
    assert box.token not in lines.text


def test_scopes_are_those_of_integration_account_and_address(asked: Asking) -> None:
    here = asked(nothing, egress="gateway")
    assert here.runtime.clients.turnstile(ACCOUNT).scopes == (
        Scope(f"integration:c:{ACCOUNT}", 1000),
        Scope(f"account:{ACCOUNT}", 1000),
        Scope("ip:gateway", 1000),
    )


def test_nothing_is_sent_to_nobody(worker: MakeWorker, redis: Redis) -> None:
    flush(worker().runtime)
    assert redis.keys("kommo:{limits}*") == []
