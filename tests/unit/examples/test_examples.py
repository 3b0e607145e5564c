"""The examples, run as they stand over a `kommo` whose calls are kept in memory."""

from datetime import UTC, datetime

import pytest

from examples import handover_note, stage_on_task_done, welcome_task
from kommo.api.client import Client
from kommo.api.later import Later, Step
from kommo.api.writes import request_of
from kommo.hooks.events import Event
from kommo.router import Router

NOW = datetime(2026, 5, 6, 12, tzinfo=UTC)


class Account:
    """An account with one answer, and what handlers did to it."""

    def __init__(self):
        self.answer = None
        self.calls = []

    def send(self, method, path, *_):
        self.calls.append((method, path))
        return self.answer

    def run(self, router: Router, type_: str, id_: int, **raw: str):
        """Give an event to every handler that it is for; return the calls that follow."""
        entity = type_.partition(".")[0]
        event = Event("e", type_, 9, entity, id_, None, {"id": str(id_), **raw}, "d")
        followed = []
        for handler in router.matching(event):
            later = Later(Step(9, event.id, handler.name), clock=lambda: NOW)
            handler.function(event, Client(self.send, account_id=9, later=later))
            followed += [request_of(write) for write in later.writes]
        return followed


@pytest.fixture
def account():
    return Account()


def test_the_three_can_run_together():
    assert len(Router(welcome_task.router, stage_on_task_done.router, handover_note.router).handlers) == 3


def test_a_new_lead_gets_a_task_for_its_own_person(account):
    ((method, path, (task,)),) = account.run(welcome_task.router, "lead.added", 31, responsible_user_id="8")
    assert (method, path) == ("POST", "/api/v4/tasks")
    assert task == {
        "text": welcome_task.TEXT,
        "complete_till": int((NOW + welcome_task.DUE_IN).timestamp()),
        "task_type_id": 1,
        "entity_id": 31,
        "entity_type": "leads",
        "responsible_user_id": 8,
    }
    assert account.calls == []


@pytest.mark.parametrize("raw", [{}, {"responsible_user_id": "0"}])
def test_a_new_lead_of_nobody_gets_a_task_of_nobody(account, raw):
    ((_, _, (task,)),) = account.run(welcome_task.router, "lead.added", 31, **raw)
    assert "responsible_user_id" not in task


def test_leads_of_other_pipelines_can_be_left_out(account, monkeypatch):
    monkeypatch.setattr(welcome_task, "PIPELINES", frozenset({7001}))
    assert account.run(welcome_task.router, "lead.added", 31, pipeline_id="7002") == []
    assert len(account.run(welcome_task.router, "lead.added", 31, pipeline_id="7001")) == 1


def completed(account, **raw):
    return account.run(
        stage_on_task_done.router, "task.completed", 5, status="1", action_close="1", **{"element_type": "2", **raw}
    )


@pytest.mark.parametrize(("stage", "status_id"), [((7100001, 61000002), 61000003), ((7100001, 61000003), 61000004)])
def test_a_task_that_is_done_moves_the_lead_on(account, stage, status_id):
    account.answer = {"id": 31, "pipeline_id": stage[0], "status_id": stage[1]}
    body = {"pipeline_id": 7100001, "status_id": status_id}
    assert completed(account, element_id="31") == [("PATCH", "/api/v4/leads/31", body)]
    assert account.calls == [("GET", "/api/v4/leads/31")]


@pytest.mark.parametrize("stage", [(7100001, 142), (7100002, 61000002)])
def test_a_lead_that_stands_elsewhere_by_now_is_left_where_it_is(account, stage):
    account.answer = {"id": 31, "pipeline_id": stage[0], "status_id": stage[1]}
    assert completed(account, element_id="31") == []


def test_a_lead_that_is_gone_is_no_fault(account):
    assert completed(account, element_id="31") == []
    assert account.calls == [("GET", "/api/v4/leads/31")]


@pytest.mark.parametrize("raw", [{"element_id": "31", "element_type": "1"}, {"element_type": "2"}])
def test_a_task_that_is_not_on_a_lead_moves_nothing(account, raw):
    assert completed(account, **raw) == []
    assert account.calls == []


def handed(account, **raw):
    calls = account.run(handover_note.router, "lead.responsible_changed", 31, **raw)
    return [(path, note["params"]["text"]) for _, path, (note,) in calls]


def test_a_lead_that_changes_hands_tells_from_whom_to_whom(account, monkeypatch):
    monkeypatch.setattr(handover_note, "PEOPLE", {7: "Ann"})
    note = ("/api/v4/leads/31/notes", "Handed over from Ann to user 8.")
    assert handed(account, old_responsible_user_id="7", responsible_user_id="8") == [note]


@pytest.mark.parametrize("raw", [{"old_responsible_user_id": "0"}, {}])
def test_a_lead_that_had_nobody_says_so(account, raw):
    note = ("/api/v4/leads/31/notes", "Handed over from nobody to user 8.")
    assert handed(account, responsible_user_id="8", **raw) == [note]


def test_a_change_to_the_same_person_is_no_handover(account):
    assert handed(account, old_responsible_user_id="8", responsible_user_id="8") == []
