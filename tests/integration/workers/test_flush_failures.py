"""Flushing: each answer of Kommo's has its treatment, and no write is lost, doubled or blamed for another one."""

from datetime import timedelta
from typing import Any

import pytest

from kommo.api.protocol import Request, Response
from kommo.api.transport import NO_ANSWER, NOT_SENT
from kommo.errors import Unreachable
from sandbox import Sandbox
from tests.integration.workers.flushing import (
    Asking,
    die_after_sending,
    flush_out,
    is_empty,
    kept,
    leads,
    listen,
    made,
    problem,
    sent,
)
from tests.integration.workers.logs import Lines
from tests.integration.workers.working import ACCOUNT, Worker
from workers.flush import flush
from workers.sending import ATTEMPTS

HOUR = timedelta(hours=1)


def reasons(worker: Worker) -> list[tuple[str, str]]:
    """Why writes were given up, and whose they were."""
    return sorted((letter.reason, letter.handler) for letter in worker.dead())


class TestABadItem:
    def test_is_given_up_as_its_handlers_and_the_rest_goes_at_once(self, asked: Asking, box: Sandbox) -> None:
        good, bad = leads(box, 2)
        here = asked(
            lambda kommo: kommo.later.leads.update(good, price=7),
            lambda kommo: kommo.later.leads.update(bad, fields={424242: "nobody knows this field"}),
        )
        flush_out(here)
        assert reasons(here) == [("refused", "asks2")]
        assert len(sent(box, "PATCH")) == 2
        assert kept(box, "leads")[0]["price"] == 7
        (letter,) = here.dead()
        assert "custom_fields_values" in letter.error
        assert letter.error.startswith("BadRequest: PATCH /api/v4/leads answered 400")
        assert letter.item["entity"] == ["lead", bad]

    def test_of_a_merged_patch_costs_no_other_handler_its_field(self, asked: Asking, box: Sandbox) -> None:
        lead = made(box, "leads", name="old")
        here = asked(
            lambda kommo: kommo.later.leads.update(lead, price=7),
            lambda kommo: kommo.later.leads.update(lead, fields={424242: "nobody knows this field"}),
            lambda kommo: kommo.later.leads.update(lead, name="new"),
        )
        flush_out(here)
        assert reasons(here) == [("refused", "asks2")]
        assert (kept(box, "leads")[0]["price"], kept(box, "leads")[0]["name"]) == (7, "new")
        assert len(sent(box, "PATCH")) == 4, "one together, and three singly"

    def test_an_entity_that_is_not_there_is_one(self, asked: Asking, box: Sandbox) -> None:
        ids = leads(box, 3)
        here = asked(lambda kommo: [kommo.later.leads.update(lead, price=7) for lead in (*ids, 999)])
        flush_out(here)
        assert [letter.item["entity"] for letter in here.dead()] == [["lead", 999]]
        assert [lead["price"] for lead in kept(box, "leads")] == [7, 7, 7]

    def test_those_that_need_it_are_given_up_and_the_others_are_not(self, asked: Asking, box: Sandbox) -> None:
        lead = made(box, "leads", name="old")

        def make(kommo: Any) -> None:
            bad = kommo.later.leads.create(name="bad", fields={424242: "nobody knows this field"})
            kommo.later.tasks.create(entity=bad, text="Call", due_in=HOUR)
            kommo.later.leads.update(lead, price=7)

        here = asked(make)
        flush_out(here)
        letters = {letter.reason: letter for letter in here.dead()}
        assert set(letters) == {"refused", "depends_on_failed"}
        assert (letters["refused"].handler, letters["refused"].delivery_id) == ("asks", f"d-{ACCOUNT}-900001")
        assert letters["refused"].item["body"]["name"] == "bad"
        assert letters["depends_on_failed"].item["resource"] == "tasks"
        assert kept(box, "leads")[0]["price"] == 7


class TestARefusalOfTheWholeRequest:
    @pytest.mark.parametrize("page", ["not_found", "forbidden_right"])
    def test_lets_each_write_go_singly(self, asked: Asking, box: Sandbox, page: str) -> None:
        ids = leads(box, 4)
        box.fault(method="PATCH", path="/api/v4/leads", page=page, larger_than=1)
        box.fault(method="PATCH", path=f"/api/v4/leads/{ids[2]}", page=page, times=None)
        here = asked(lambda kommo: [kommo.later.leads.update(lead, price=7) for lead in ids])
        flush_out(here)
        assert [letter.item["entity"][1] for letter in here.dead()] == [ids[2]]
        assert [lead["price"] for lead in kept(box, "leads")] == [7, 7, 0, 7]


class TestAgain:
    def fail_once(self, worker: Worker, failure: Exception | Response) -> None:
        """Let the first call fail, and see that its write is kept and not sent again at once."""
        failures = [failure]

        def first(_request: Request) -> Response | None:
            if not failures:
                return None
            failed = failures.pop()
            if isinstance(failed, Exception):
                raise failed
            return failed

        listen(worker, first)
        flush(worker.runtime)
        assert not is_empty(worker)

    def test_a_network_error_is_tried_again(self, asked: Asking, box: Sandbox, lines: Lines) -> None:
        lead = made(box, "leads", name="old")
        here = asked(lambda kommo: kommo.later.leads.update(lead, price=7))
        self.fail_once(here, Unreachable("connection reset", method="PATCH", path="/api/v4/leads/1"))
        assert here.stats()["writes_failed"] == 1
        assert lines.saying("write failed, again later")[0]["handler"] == "asks"
        here.pass_time("outbox")
        flush_out(here)
        assert kept(box, "leads")[0]["price"] == 7
        assert here.stats()["writes_done"] == 1

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_a_fault_of_kommos_is_tried_again(self, asked: Asking, box: Sandbox, status: int) -> None:
        lead = made(box, "leads", name="old")
        here = asked(lambda kommo: kommo.later.leads.update(lead, price=7))
        self.fail_once(here, Response(status, {"content-type": "text/html"}, b"<html>"))
        assert here.stats()["writes_failed"] == 1
        here.pass_time("outbox")
        flush_out(here)
        assert here.dead() == []
        assert kept(box, "leads")[0]["price"] == 7

    def test_a_write_that_never_succeeds_is_given_up_in_the_end(self, asked: Asking) -> None:
        here = asked(lambda kommo: kommo.later.leads.update(5, price=7))
        listen(here, lambda _request: Response(500, {}, b""))
        for _ in range(ATTEMPTS):
            flush(here.runtime)
            here.pass_time("outbox")
        (letter,) = here.dead()
        assert (letter.reason, letter.attempt) == ("attempts_exhausted", ATTEMPTS)
        assert is_empty(here)

    def test_what_kommo_refused_is_not_expected_to_come_back_as_an_echo(self, asked: Asking, box: Sandbox) -> None:
        lead = made(box, "leads", name="old")
        here = asked(lambda kommo: kommo.later.leads.update(lead, price=7))
        subject = f"lead:{lead}"
        self.fail_once(here, problem(409))
        refused = here.runtime.echoes.load(ACCOUNT, [subject])[subject]
        here.pass_time("outbox")
        flush_out(here)
        done = here.runtime.echoes.load(ACCOUNT, [subject])[subject]
        assert (bool(refused.pending), bool(done.pending)) == (False, True)


class TestInDoubt:
    @pytest.mark.parametrize("kind", ["tasks", "notes"])
    def test_tasks_and_notes_of_a_sender_that_died_are_found_and_not_made_twice(
        self, asked: Asking, box: Sandbox, kind: str
    ) -> None:
        lead = made(box, "leads", name="old")
        due = {"due_in": HOUR} if kind == "tasks" else {}

        def make(kommo: Any) -> None:
            for text in ("Call", "Write"):
                getattr(kommo.later, kind).create(entity=("lead", lead), text=text, **due)

        here = asked(make)
        die_after_sending(here)
        flush_out(here)
        assert len(kept(box, kind)) == 2
        assert [one["method"] for one in box.requests()] == ["POST", "GET", "GET"]
        assert here.stats()["writes_done"] == 2

    def test_patches_of_a_sender_that_died_are_sent_again(self, asked: Asking, box: Sandbox) -> None:
        lead = made(box, "leads", name="old")
        here = asked(lambda kommo: kommo.later.leads.update(lead, price=7))
        die_after_sending(here)
        flush_out(here)
        assert [one["method"] for one in box.requests()] == ["PATCH", "PATCH"]
        assert here.dead() == []

    @pytest.mark.parametrize("kind", ["close_after", "truncate"])
    def test_so_are_those_whose_answer_was_lost_on_the_way(self, asked: Asking, box: Sandbox, kind: str) -> None:
        lead = made(box, "leads", name="old")
        box.fault(method="POST", path="/api/v4/tasks", kind=kind)
        here = asked(lambda kommo: kommo.later.tasks.create(entity=("lead", lead), text="Call", due_in=HOUR))
        flush(here.runtime)
        assert not is_empty(here)
        here.pass_time("outbox")
        flush_out(here)
        assert len(kept(box, "tasks")) == 1
        assert [(one["method"], one["path"]) for one in box.requests()] == [
            ("POST", "/api/v4/tasks"),
            ("GET", "/api/v4/tasks"),
        ]

    def test_a_lead_is_found_by_its_marker_and_who_refers_to_it_gets_its_id(self, asked: Asking, box: Sandbox) -> None:
        def make(kommo: Any) -> None:
            lead = kommo.later.leads.create(name="Order 77-A", fields={771102: "o-77"}, marker=771102)
            kommo.later.tasks.create(entity=lead, text="Call", due_in=HOUR)

        box.fault(method="POST", path="/api/v4/leads", kind="close_after")
        here = asked(make)
        flush(here.runtime)
        here.pass_time("outbox")
        flush_out(here)
        (lead,), (task,) = kept(box, "leads"), kept(box, "tasks")
        assert task["entity_id"] == lead["id"]

    def test_what_is_not_found_is_sent_again(self, asked: Asking, box: Sandbox) -> None:
        box.fault(method="POST", path="/api/v4/leads", status=500, times=1)
        here = asked(lambda kommo: kommo.later.leads.create(name="Order 77-A", marker="name"))
        flush(here.runtime)
        here.pass_time("outbox")
        flush_out(here)
        assert [one["method"] for one in box.requests()] == ["POST", "GET", "POST"]
        assert len(kept(box, "leads")) == 1

    @pytest.mark.parametrize(("marker", "on_doubt"), [(None, "look"), ("name", "repeat")])
    def test_what_cannot_or_shall_not_be_looked_for_is_repeated(
        self, asked: Asking, box: Sandbox, marker: str | None, on_doubt: str
    ) -> None:
        box.fault(method="POST", path="/api/v4/leads", kind="close_after")
        here = asked(lambda kommo: kommo.later.leads.create(name="Order 77-A", marker=marker), on_doubt=on_doubt)
        flush(here.runtime)
        here.pass_time("outbox")
        flush_out(here)
        assert [one["method"] for one in box.requests()] == ["POST", "POST"]
        assert len(kept(box, "leads")) == 2

    def test_what_its_handler_wants_parked_is_a_dead_letter(self, asked: Asking, box: Sandbox) -> None:
        def make(kommo: Any) -> None:
            lead = kommo.later.leads.create(name="Order 77-A", marker="name")
            kommo.later.tasks.create(entity=lead, text="Call", due_in=HOUR)

        here = asked(make, on_doubt="park")
        die_after_sending(here)
        flush_out(here)
        assert [reason for reason, _ in reasons(here)] == ["depends_on_failed", "in_doubt"]
        assert [one["method"] for one in box.requests()] == ["POST"]

    def test_what_never_left_is_in_no_doubt(self, asked: Asking, box: Sandbox) -> None:
        here = asked(lambda kommo: kommo.later.leads.create(name="Order 77-A"), on_doubt="park")
        failures = [Unreachable("refused", method="POST", path="/api/v4/leads", code=NOT_SENT)]

        def refuse(_request: Request) -> None:
            if failures:
                raise failures.pop()

        listen(here, refuse)
        flush(here.runtime)
        here.pass_time("outbox")
        flush_out(here)
        assert here.dead() == []
        assert len(kept(box, "leads")) == 1

    def test_one_that_cannot_be_looked_for_now_stays_in_doubt(self, asked: Asking, box: Sandbox) -> None:
        lead = made(box, "leads", name="old")
        here = asked(lambda kommo: kommo.later.tasks.create(entity=("lead", lead), text="Call", due_in=HOUR))
        failures = [Unreachable("gone", method="GET", path="/api/v4/tasks", code=NO_ANSWER), problem(500)]

        def fail(request: Request) -> Response | None:
            if request.method != "GET" or not failures:
                return None
            failure = failures.pop()
            if isinstance(failure, Exception):
                raise failure
            return failure

        die_after_sending(here)
        listen(here, fail)
        for _ in range(2):
            flush(here.runtime)
            assert not is_empty(here)
            here.pass_time("outbox")
        flush_out(here)
        assert failures == []
        assert len(kept(box, "tasks")) == 1

    def test_where_looking_is_refused_it_is_sent_again(self, asked: Asking, box: Sandbox, lines: Lines) -> None:
        lead = made(box, "leads", name="old")
        here = asked(lambda kommo: kommo.later.tasks.create(entity=("lead", lead), text="Call", due_in=HOUR))
        die_after_sending(here)
        box.fault(method="GET", page="forbidden_right")
        flush_out(here)
        assert len(kept(box, "tasks")) == 2
        assert lines.saying("write cannot be looked for, sent again")


def test_an_answer_without_an_id_leaves_nobody_waiting_for_ever(asked: Asking) -> None:
    def make(kommo: Any) -> None:
        lead = kommo.later.leads.create(name="new")
        kommo.later.tasks.create(entity=lead, text="Call", due_in=HOUR)

    here = asked(make)
    listen(here, lambda _request: Response(200, {}, b"{}"))
    flush_out(here)
    assert sorted(letter.reason for letter in here.dead()) == ["depends_on_failed", "in_doubt"]
