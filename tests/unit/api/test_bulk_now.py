"""Many at once: what travels together, and whose answer is whose."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.api.client import Client
from kommo.api.entities import Reference
from kommo.api.resources.writing import send_many
from kommo.errors import RequestError, ServerError, Unreachable

API = "/api/v4"


class Bulk:
    """Answers every array, last item first, with ids that are 100 more than the item's own number."""

    def __init__(self):
        self.calls = []
        self.fail_at = None

    def __call__(self, method, path, _params, json):
        self.calls.append((method, path, json))
        if self.fail_at == len(self.calls):
            raise Unreachable("no answer", method=method, path=path)
        resource = path.rpartition("/")[2]
        answered = [
            {"id": item["id"], "updated_at": 5}
            if method == "PATCH"
            else {"id": 100 + int(item["request_id"]), "request_id": item["request_id"]}
            for item in reversed(json)
        ]
        return {"_embedded": {resource: answered}}


@pytest.fixture
def bulk():
    return Bulk()


@pytest.fixture
def kommo(bulk):
    return Client(bulk, account_id=9)


@pytest.mark.parametrize("resource", ["leads", "contacts", "companies", "customers"])
def test_entities_are_created_together_and_answered_in_their_order(kommo, bulk, resource):
    made = getattr(kommo, resource).create_many([{"name": "A", "add_tags": ["x"]}, {"name": "B", "fields": {5: 1}}])
    assert [item["id"] for item in made] == [100, 101]
    assert bulk.calls == [
        ("POST", f"{API}/{resource}", [
            {"name": "A", "_embedded": {"tags": [{"name": "x"}]}, "request_id": "0"},
            {"name": "B", "custom_fields_values": [{"field_id": 5, "values": [{"value": 1}]}], "request_id": "1"},
        ])
    ]  # fmt: skip


@pytest.mark.parametrize("resource", ["leads", "contacts", "companies", "customers", "tasks"])
def test_entities_are_updated_together_and_answered_by_their_ids(kommo, bulk, resource):
    value = {"text": "T"} if resource == "tasks" else {"name": "T"}
    done = getattr(kommo, resource).update_many([{"id": 7, **value}, {"id": 3, **value}])
    assert done == [{"id": 7, "updated_at": 5}, {"id": 3, "updated_at": 5}]
    items = [{"id": 7, **value, "request_id": "0"}, {"id": 3, **value, "request_id": "1"}]
    assert bulk.calls == [("PATCH", f"{API}/{resource}", items)]


def test_tasks_are_created_together(kommo, bulk):
    kommo.tasks.create_many([{"text": text, "due_in": timedelta(hours=1), "entity": ("lead", 5)} for text in "AB"])
    ((method, path, items),) = bulk.calls
    assert (method, path, [item["text"] for item in items]) == ("POST", f"{API}/tasks", ["A", "B"])
    assert {item["entity_id"] for item in items} == {5}


def test_notes_travel_with_those_on_the_same_kind_of_entity(kommo, bulk):
    entities = [("lead", 1), ("contact", 2), ("lead", 3)]
    made = kommo.notes.create_many([{"entity": entity, "text": "Said"} for entity in entities])
    assert [item["id"] for item in made] == [100, 100, 101]
    assert [(path, [item["entity_id"] for item in items]) for _, path, items in bulk.calls] == [
        (f"{API}/leads/notes", [1, 3]),
        (f"{API}/contacts/notes", [2]),
    ]


def test_fifty_travel_together_unless_another_number_is_asked_for(kommo, bulk):
    items = [{"name": str(number)} for number in range(120)]
    made = kommo.leads.create_many(items)
    assert [len(call[2]) for call in bulk.calls] == [50, 50, 20]
    assert [item["id"] for item in made] == list(range(100, 220))
    bulk.calls.clear()
    kommo.leads.create_many(items, batch=250)
    assert [len(call[2]) for call in bulk.calls] == [120]


@pytest.mark.parametrize("batch", [0, 251, True])
def test_more_than_kommo_takes_do_not_travel_together(kommo, bulk, batch):
    with pytest.raises(RequestError, match="1 to 250"):
        kommo.leads.create_many([{"name": "A"}], batch=batch)
    with pytest.raises(RequestError, match="1 to 250"):
        kommo.tags.of("leads").create_many([{"name": "A"}], batch=batch)
    assert bulk.calls == []


def test_none_at_all_is_no_request(kommo, bulk):
    assert kommo.leads.create_many([]) == []
    assert kommo.leads.update_many([]) == []
    assert kommo.tags.of("leads").create_many([]) == []
    assert bulk.calls == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda kommo: kommo.leads.create_many([{"name": "A"}, {"nmae": "B"}]),
        lambda kommo: kommo.leads.create_many([{"name": "A"}, {"contacts": [Reference("w", kind="contact")]}]),
        lambda kommo: kommo.leads.create_many([{"name": "A", "request_id": "x"}, {"name": "B", "request_id": "x"}]),
        lambda kommo: kommo.leads.update_many([{"id": 1, "price": 5}, {"price": 5}]),
        lambda kommo: kommo.leads.update_many([{"id": 1, "price": 5}, {"id": 2}]),
        lambda kommo: kommo.leads.update_many([{"id": Reference("w", kind="lead"), "price": 5}]),
        lambda kommo: kommo.tasks.create_many([{"text": "no time"}]),
        lambda kommo: kommo.tasks.update_many([{"id": 0, "text": "x"}]),
        lambda kommo: kommo.notes.create_many([{"text": "on nothing"}]),
    ],
)
def test_everything_is_checked_before_anything_is_sent(kommo, bulk, ask):
    with pytest.raises(RequestError):
        ask(kommo)
    assert bulk.calls == []


def test_what_was_done_before_a_failure_is_in_its_note(kommo, bulk):
    bulk.fail_at = 2
    with pytest.raises(Unreachable) as caught:
        kommo.leads.create_many([{"name": str(number)} for number in range(5)], batch=2)
    assert caught.value.__notes__ == ["2 of 5 were done before this: 100, 101"]
    assert len(bulk.calls) == 2


def test_a_failure_at_once_has_no_note(kommo, bulk):
    bulk.fail_at = 1
    with pytest.raises(Unreachable) as caught:
        kommo.leads.create_many([{"name": "A"}])
    assert not hasattr(caught.value, "__notes__")


def test_a_request_id_of_ones_own_is_kept(kommo, send):
    send.answers = [{"_embedded": {"leads": [{"id": 2, "request_id": "b"}, {"id": 1, "request_id": "a"}]}}]
    items = [{"name": "A", "request_id": "a"}, {"name": "B", "request_id": "b"}]
    made = Client(send, account_id=9).leads.create_many(items)
    assert [item["id"] for item in made] == [1, 2]


@pytest.mark.parametrize(
    "answer", [None, {"_embedded": {"leads": []}}, {"_embedded": {"leads": [{"id": "x", "request_id": "0"}]}}, {}]
)
def test_a_creation_that_is_not_answered_is_an_error(send, answer):
    send.answers = [answer]
    with pytest.raises(ServerError):
        Client(send, account_id=9).leads.create_many([{"name": "A"}])


def test_an_update_that_is_not_answered_is_its_id(send):
    send.answers = [{"_embedded": {"leads": [{"request_id": "1", "id": 8, "updated_at": 4}]}}]
    done = Client(send, account_id=9).leads.update_many([{"id": 7, "price": 1}, {"id": 8, "price": 1}])
    assert done == [{"id": 7}, {"request_id": "1", "id": 8, "updated_at": 4}]


@given(st.integers(0, 300), st.integers(1, 250))
def test_every_item_is_sent_once_and_answered_in_its_place(count, batch):
    bulk = Bulk()
    made = send_many(bulk, "POST", f"{API}/leads", "leads", [{"name": str(number)} for number in range(count)], batch)
    assert [item["id"] for item in made] == [100 + number for number in range(count)]
    assert [item["name"] for _, _, items in bulk.calls for item in items] == [str(number) for number in range(count)]
