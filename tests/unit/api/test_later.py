"""Writes for later: recorded in order, the same on every run, and the same calls as acting now."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.api.client import Client
from kommo.api.entities import Entity, Reference
from kommo.api.later import ID_DIGITS, Later, Step, write_id
from kommo.api.values import PENDING
from kommo.api.writes import Write, request_of, result_of
from kommo.errors import RequestError

NOW = datetime(2026, 5, 6, 12, 0, 0, 5, tzinfo=UTC)
STEP = Step(account_id=9, event_id="e-1", handler="shop.won", delivery_id="d-1")


@pytest.fixture
def later():
    return Later(STEP, clock=lambda: NOW)


def test_a_write_says_what_who_when_and_why(later):
    later.leads.update(31, price=5)
    (write,) = later.writes
    assert write == Write(
        id=write_id(STEP, 0),
        account_id=9,
        resource="leads",
        action="update",
        entity=Entity("lead", 31),
        body={"price": 5},
        chain="lead:31",
        delivery_id="d-1",
        event_id="e-1",
        handler="shop.won",
        asked_at=NOW,
    )
    assert write.needs == ()


ASKS = [
    lambda api: api.leads.create(name="N", add_tags=["vip"], contacts=[5], fields={7: NOW}),
    lambda api: api.contacts.create(name="N"),
    lambda api: api.companies.create(name="N"),
    lambda api: api.leads.update(31, price=5, remove_tags=["x"]),
    lambda api: api.contacts.update(31, first_name="N"),
    lambda api: api.companies.update(31, name="N"),
    lambda api: api.tasks.create(text="Call", due_in=timedelta(hours=1), entity=("lead", 31), responsible_user_id=2),
    lambda api: api.tasks.create(text="Call", due_at=NOW, task_type="meeting"),
    lambda api: api.tasks.update(6, is_completed=True, result="Done"),
    lambda api: api.notes.create(text="Said", entity=("company", 31)),
    lambda api: api.notes.update(("company", 31), 8, text="Said again"),
]


@pytest.mark.parametrize("ask", ASKS)
def test_later_makes_the_same_call_as_now(send, later, ask):
    plural = ("leads", "contacts", "companies", "tasks", "notes")
    send.answers = [{"id": 1, "_embedded": {resource: [{"id": 1}] for resource in plural}}]
    ask(Client(send, account_id=9, clock=lambda: NOW))
    ask(later)
    method, path, body = request_of(later.writes[0])
    assert send.calls == [(method, path, None, body)]


@pytest.mark.parametrize(
    ("ask", "chain"),
    [
        (ASKS[0], "new"),
        (ASKS[3], "lead:31"),
        (ASKS[4], "contact:31"),
        (ASKS[5], "company:31"),
        (ASKS[6], "lead:31"),
        (ASKS[7], "new"),
        (ASKS[8], "task:6"),
        (ASKS[9], "company:31"),
        (ASKS[10], "company:31"),
    ],
)
def test_a_write_queues_behind_the_others_on_its_entity(later, ask, chain):
    ask(later)
    (write,) = later.writes
    assert write.chain == (f"new:{write.id}" if chain == "new" else chain)


def test_a_created_entity_can_be_updated_linked_and_hung_upon(later):
    contact = later.contacts.create(name="N")
    lead = later.leads.create(name="Deal", contacts=[contact])
    later.leads.update(lead, price=5)
    task = later.tasks.create(entity=lead, text="Call", due_at=NOW)
    later.tasks.update(task, is_completed=True)
    note = later.notes.create(entity=lead, text="Said")
    later.notes.update(lead, note, text="Said again")
    ids = [write.id for write in later.writes]
    assert [write.needs for write in later.writes] == [
        (), (ids[0],), (ids[1],), (ids[1],), (ids[3],), (ids[1],), (ids[1], ids[5]),
    ]  # fmt: skip
    assert {write.chain for write in later.writes} == {f"new:{ids[0]}"}
    results = dict(zip(ids, range(101, 108), strict=True))
    assert [request_of(write.resolve(results)) for write in later.writes] == [
        ("POST", "/api/v4/contacts", [{"name": "N"}]),
        ("POST", "/api/v4/leads", [{"name": "Deal", "_embedded": {"contacts": [{"id": 101}]}}]),
        ("PATCH", "/api/v4/leads/102", {"price": 5}),
        ("POST", "/api/v4/tasks", [{"text": "Call", "complete_till": 1778068800, "task_type_id": 1,
                                    "entity_id": 102, "entity_type": "leads"}]),
        ("PATCH", "/api/v4/tasks/104", {"is_completed": True}),
        ("POST", "/api/v4/leads/102/notes", [{"note_type": "common", "params": {"text": "Said"}}]),
        ("PATCH", "/api/v4/leads/102/notes/106", {"note_type": "common", "params": {"text": "Said again"}}),
    ]  # fmt: skip


def test_a_task_on_an_existing_lead_keeps_its_queue_for_what_follows(later):
    task = later.tasks.create(entity=("lead", 31), text="Call", due_at=NOW)
    later.tasks.update(task, text="Call again")
    assert [write.chain for write in later.writes] == ["lead:31", "lead:31"]


def test_a_reference_deep_inside_a_body_counts_too(later):
    contact = later.contacts.create(name="N")
    later.leads.create(_embedded={"contacts": [{"id": contact, "is_main": True}]})
    assert later.writes[1].needs == (contact.write_id,)
    assert later.writes[1].chain == contact.chain


def test_a_write_that_waits_for_others_has_no_request_yet(later):
    lead = later.leads.create(name="N")
    later.leads.update(lead, price=1)
    waiting = later.writes[1]
    with pytest.raises(RequestError, match=lead.write_id):
        request_of(waiting)
    with pytest.raises(RequestError, match=lead.write_id):
        waiting.resolve({"another": 5})
    assert waiting.resolve({lead.write_id: 5, "another": 6}).needs == ()
    assert waiting.needs == (lead.write_id,)


def test_a_reference_to_another_kind_is_refused_at_the_line_that_asks(later):
    contact = later.contacts.create(name="N")
    for ask in (
        lambda: later.leads.update(contact, price=1),
        lambda: later.leads.create(companies=[contact]),
        lambda: later.tasks.update(contact, text="x"),
        lambda: later.notes.update(("lead", 1), contact, text="x"),
    ):
        with pytest.raises(RequestError, match="contact"):
            ask()
    task = later.tasks.create(text="Call", due_at=NOW)
    with pytest.raises(RequestError, match="task"):
        later.notes.create(entity=task, text="x")


@pytest.mark.parametrize("ask", [lambda api: api.leads.update(0, price=1), lambda api: api.notes.create(text="x")])
def test_what_cannot_be_right_is_refused_and_not_recorded(later, ask):
    with pytest.raises(RequestError):
        ask(later)
    assert later.writes == ()


def ask_everything(later):
    for ask in ASKS:
        ask(later)
    lead = later.leads.create(name="N")
    note = later.notes.create(entity=lead, text="x")
    later.notes.update(lead, note, text="y")


def test_a_step_that_runs_again_asks_with_the_same_ids():
    first, second = Later(STEP), Later(STEP)
    ask_everything(first)
    ask_everything(second)
    assert [write.id for write in first.writes] == [write.id for write in second.writes]
    assert len({write.id for write in first.writes}) == len(first.writes)


def test_ids_differ_by_account_event_handler_and_position():
    steps = [Step(9, "e", "h"), Step(8, "e", "h"), Step(9, "f", "h"), Step(9, "e", "i"), Step(9, "e\0h", "")]
    ids = {write_id(step, position) for step in steps for position in range(3)}
    assert len(ids) == 15
    assert {len(id_) for id_ in ids} == {ID_DIGITS}


def test_a_record_is_json_and_gives_the_same_write(later):
    ask_everything(later)
    for write in later.writes:
        again = Write.from_record(json.loads(json.dumps(write.to_record())))
        assert again == write
        assert again.needs == write.needs
        results = dict.fromkeys(write.needs, 5)
        assert request_of(again.resolve(results)) == request_of(write.resolve(results))


@given(st.dictionaries(st.from_regex("[a-z]{9,12}_x", fullmatch=True), st.integers() | st.text(), min_size=1))
def test_any_body_survives_its_record(body):
    later = Later(STEP, clock=lambda: NOW)
    later.leads.update(1, **body)
    (write,) = later.writes
    assert Write.from_record(json.loads(json.dumps(write.to_record()))) == write


@pytest.mark.parametrize("broken", [{}, {"asked_at": "soon"}])
def test_what_is_no_record_of_a_write_is_an_error(later, broken):
    later.leads.update(1, price=1)
    record = {**later.writes[0].to_record(), **broken} if broken else {}
    with pytest.raises((KeyError, ValueError)):
        Write.from_record(record)


def test_a_note_without_entity_and_an_update_without_target_make_no_request(later):
    later.notes.create(entity=("lead", 1), text="x")
    record = {**later.writes[0].to_record(), "entity": None}
    with pytest.raises(RequestError, match="hangs on"):
        request_of(Write.from_record(record))
    with pytest.raises(RequestError, match="updates"):
        request_of(Write.from_record({**record, "resource": "leads", "action": "update"}))


def test_references_are_equal_by_their_write():
    assert Reference("w", kind="lead", chain="new:w") == Reference("w")
    assert Reference("w") != Reference("v")


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ({"_embedded": {"leads": [{"id": 5}]}}, {"id": 5}),
        ({"id": 5}, {"id": 5}),
        (None, {}),
        ([], {}),
        ({"_embedded": {"leads": []}}, {"_embedded": {"leads": []}}),
    ],
)
def test_the_result_is_found_bare_or_embedded(later, answer, result):
    later.leads.create(name="N")
    assert result_of(later.writes[0], answer) == result


def test_in_a_handler_later_hangs_on_the_client(send, later):
    kommo = Client(send, account_id=9, later=later)
    kommo.later.leads.update(31, price=5)
    assert len(later.writes) == 1
    assert send.calls == []


def test_markers_are_what_the_body_says_of_a_reference(later):
    lead = later.leads.create(name="N")
    later.tasks.create(entity=lead, text="Call", due_at=NOW)
    assert later.writes[1].body["entity_id"] == {PENDING: lead.write_id}
