"""Events are read, calls are put into cards."""

import pytest

from kommo.api.client import Client
from kommo.api.constants import NoteType, TaskType
from kommo.errors import NotFound, RequestError

API = "/api/v4"
CALL = {"direction": "inbound", "phone": "+372 555", "duration": 0, "source": "exchange"}


@pytest.fixture
def kommo(send):
    return Client(send, account_id=9)


def test_several_values_of_a_filter_go_as_one_text(kommo, send):
    send.answers = [None]
    wanted = {"type": ["lead_added", "lead_deleted"], "entity": "lead", "entity_id": (5, 6), "created_at": {"from": 7}}
    assert list(kommo.events.list(filter=wanted)) == []
    assert send.calls[0][2] == [
        ("limit", "100"),
        ("filter[type]", "lead_added,lead_deleted"),
        ("filter[entity]", "lead"),
        ("filter[entity_id]", "5,6"),
        ("filter[created_at][from]", "7"),
    ]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"entity": "lead", "entity_id": list(range(11))}, "10 values of entity_id"),
        ({"created_by": list(range(11))}, "10 values of created_by"),
        ({"entity_id": [5]}, "the entity that it is of"),
    ],
)
def test_a_filter_of_events_that_kommo_does_not_take_is_refused(kommo, send, wanted, sentence):
    with pytest.raises(RequestError, match=sentence):
        kommo.events.list(filter=wanted)
    assert send.calls == []


def test_one_event_is_read_by_its_id_which_is_a_text(kommo, send):
    send.answers = [{"id": "01abc"}, None]
    assert kommo.events.get("01abc", with_="lead_name") == {"id": "01abc"}
    assert send.calls == [("GET", f"{API}/events/01abc", {"with": "lead_name"}, None)]
    with pytest.raises(NotFound, match="event 01abd"):
        kommo.events.get("01abd")


@pytest.mark.parametrize("id_", [5, "", "a/b", "a b", None])
def test_another_id_is_none_of_an_event(kommo, send, id_):
    with pytest.raises(RequestError):
        kommo.events.get(id_)
    assert send.calls == []


def test_the_types_of_events_are_listed(kommo, send):
    send.answers = [{"_embedded": {"events_types": [{"key": "lead_added"}]}}]
    assert kommo.events.types() == [{"key": "lead_added"}]
    assert send.calls == [("GET", f"{API}/events/types", None, None)]


def calls_of(*request_ids):
    return {"_embedded": {"calls": [{"id": 70 + int(number), "request_id": number} for number in request_ids]}}


def test_a_call_is_put_into_the_card_that_kommo_finds(kommo, send):
    send.answers = [calls_of("0")]
    assert kommo.calls.create(**CALL, link="https://records.example/1")["id"] == 70
    assert send.calls == [
        ("POST", f"{API}/calls", None, [{**CALL, "link": "https://records.example/1", "request_id": "0"}])
    ]


def test_calls_travel_together_in_their_order(kommo, send):
    send.answers = [calls_of("1", "0"), calls_of("2")]
    assert [call["id"] for call in kommo.calls.create_many([CALL] * 3, batch=2)] == [70, 71, 72]
    assert [len(call[3]) for call in send.calls] == [2, 1]


def test_a_call_from_a_number_that_nobody_has_is_not_found(kommo, send):
    send.answers = [{"_embedded": {"calls": []}, "errors": [{"request_id": "0", "status": 263}]}]
    with pytest.raises(NotFound, match="call 1"):
        kommo.calls.create(**CALL)
    send.answers = [calls_of("0", "2")]
    with pytest.raises(NotFound, match="call 2"):
        kommo.calls.create_many([CALL] * 3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"direction": "in"}, "inbound or outbound"),
        ({"phone": ""}, "phone="),
        ({"duration": None, "source": None}, "duration=, source="),
    ],
)
def test_a_call_that_cannot_be_right_is_refused(kommo, send, change, sentence):
    with pytest.raises(RequestError, match=sentence):
        kommo.calls.create(**{**CALL, **change})
    with pytest.raises(RequestError):
        kommo.calls.create_many([CALL], batch=251)
    assert send.calls == []


def test_a_type_of_note_is_a_constant_or_its_text(kommo, send):
    send.answers = [{"_embedded": {"notes": [{"id": 6}]}}]
    for note_type in (NoteType.SMS_OUT, "sms_out"):
        kommo.notes.create(entity=("lead", 1), note_type=note_type, params={"text": "x"})
    assert send.calls[0] == send.calls[1]
    with pytest.raises(RequestError, match="did you mean call_in"):
        kommo.notes.create(entity=("lead", 1), note_type="call-in", params={"x": 1})


def test_a_type_of_task_is_a_constant_its_name_or_its_id(kommo, send):
    send.answers = [{"id": 5}]
    for task_type in (TaskType.MEETING, "meeting", 2):
        kommo.tasks.update(5, task_type=task_type)
    assert [call[3] for call in send.calls] == [{"task_type_id": 2}] * 3
    with pytest.raises(RequestError, match="did you mean follow_up"):
        kommo.tasks.update(5, task_type="followup")


def test_an_account_is_read_with_several_parts(kommo, send):
    kommo.account(with_=["amojo_id", "version"])
    assert send.calls == [("GET", f"{API}/account", {"with": "amojo_id,version"}, None)]


def test_a_call_without_a_name_may_have_headers(kommo, send):
    kommo.call("GET", f"{API}/talks", headers={"X-One": "1"})
    assert send.headers == [{"X-One": "1"}]
