import json
from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime
from typing import Any

import pytest

from kommo.hooks import schemas
from kommo.hooks.entities import Author, Contact, Lead, Message, Note, Task
from kommo.hooks.events import ENTITY_CLASSES, ENTITY_TYPES, EVENT_TYPES, Event, fields_of
from tests.unit.hooks.deliveries import body_of, events_in, json_events

TYPED = ["lead", "contact", "company", "customer", "task", "note", "message", "talk", "unsorted", "catalog_element"]


def _one(key: str, action: str, item: dict[str, Any]) -> Event:
    event, *_ = json_events({key: {action: [item]}})
    return event


class TestTypedEntities:
    def test_an_event_has_the_entity_of_its_kind_and_no_other(self) -> None:
        event = _one("leads", "add", {"id": 7, "price": "12"})
        assert event.lead == Lead(id=7, price=12)
        assert [name for name in TYPED if getattr(event, name) is not None] == ["lead"]

    def test_an_added_note_is_typed_as_a_note_of_its_parent(self) -> None:
        (event,) = events_in(body_of("contact_note_of_a_company"))
        assert isinstance(event.note, Note)
        assert (event.company, event.entity_type, event.entity_id) == (None, "company", 8820021)

    def test_an_unknown_event_has_none(self) -> None:
        event = _one("robots", "add", {"id": 7})
        assert [getattr(event, name) for name in TYPED] == [None] * len(TYPED)

    def test_it_is_built_once(self) -> None:
        event = _one("leads", "add", {"id": 7})
        assert event.lead is event.lead

    def test_custom_fields_are_reached_through_the_entity(self) -> None:
        (event,) = events_in(body_of("contact_add"))
        assert event.contact is not None
        assert event.contact.fields["PHONE"].all == ("+3725550101", "+3725550102")
        assert event.contact.fields[791301].value == "smoke"
        assert event.contact.fields["Birthday"].value == "03.07.1984"
        assert event.contact.fields is event.contact.custom_fields

    @pytest.mark.parametrize("name", ["Lead", "Contact", "Company", "Customer", "CatalogElement", "Task", "Note"])
    def test_every_entity_can_be_built_of_nothing(self, name: str) -> None:
        entity_class = next(cls for cls in schemas.ENTITY_CLASSES.values() if cls.__name__ == name)
        assert schemas.load(entity_class, {}) == entity_class()

    @pytest.mark.parametrize("entity_class", schemas.ENTITY_CLASSES.values())
    def test_a_schema_reads_exactly_the_fields_of_its_entity(self, entity_class: type[Any]) -> None:
        schema = getattr(schemas, f"{entity_class.__name__}Schema")()
        assert set(schema.fields) == {field.name for field in fields(entity_class)}

    @pytest.mark.parametrize(("number", "name"), [("1", "follow_up"), ("2", "meeting"), ("70", None), ("", None)])
    def test_task_types_of_every_account_have_names(self, number: str, name: str | None) -> None:
        task = _one("task", "add", {"id": 3, "task_type": number}).task
        assert isinstance(task, Task)
        assert task.task_type == name

    @pytest.mark.parametrize(
        ("sent", "name", "number"),
        [
            *[("4", "common", 4), ("5", "attachment", 5), (10, "call_in", 10), ("11", "call_out", 11)],
            *[("25", "service_message", 25), ("102", "sms_in", 102), ("103", "sms_out", 103), ("3", None, 3)],
            *[(name, name, None) for name in ("mail_message", "extended_service_message", "targeted_message")],
            *[("sms_in", "sms_in", 102), ("telepathy", None, None), ("", None, None), ([], None, None)],
        ],
    )
    def test_the_ten_note_types_have_names(self, sent: Any, name: str | None, number: int | None) -> None:
        note = _one("notes", "update", {"id": 9, "note_type": sent}).note
        assert note is not None
        assert (note.note_type, note.note_type_id) == (name, number)

    def test_only_the_text_of_a_call_is_read_as_json(self) -> None:
        text = json.dumps({"LINK": "https://calls.example/1.mp3"})
        call, common = (_one("notes", "update", {"id": 9, "note_type": kind, "text": text}).note for kind in (10, 4))
        assert call is not None
        assert common is not None
        assert (call.call, common.call) == ({"LINK": "https://calls.example/1.mp3"}, None)

    @pytest.mark.parametrize("item", [{"text": 5, "author": "x"}, {"author": {"name": "Ida", "id": "null"}}])
    def test_a_message_with_odd_parts_is_typed_as_far_as_it_goes(self, item: dict[str, Any]) -> None:
        message = _one("message", "add", item).message
        assert isinstance(message, Message)
        assert message.author == (Author(name="Ida") if isinstance(item["author"], dict) else None)


class TestPlaces:
    @pytest.mark.parametrize(
        ("key", "item", "parent", "lane"),
        [
            ("task", {"id": 3, "element_type": 2, "element_id": 7}, ("lead", 7), ("task", 3)),
            ("message", {"id": "m", "entity_type": "lead", "entity_id": 7}, ("lead", 7), ("lead", 7)),
            ("message", {"id": "m", "contact_id": 8}, ("contact", 8), ("contact", 8)),
            ("message", {"id": "m"}, None, ("message", "m")),
            ("talk", {"talk_id": 4, "entity_type": "customers", "entity_id": "66"}, ("customer", 66), ("customer", 66)),
            ("talk", {"talk_id": 4}, None, ("talk", 4)),
            ("leads", {"id": 7, "element_type": 1, "element_id": 8}, None, ("lead", 7)),
            ("unsorted", {"uid": "u", "lead_id": 7}, None, ("unsorted", "u")),
            ("catalogs", {"id": 5}, None, ("catalog_element", 5)),
            ("robots", {"id": 5}, None, ("robots", 5)),
        ],
    )
    def test_events_ride_with_what_they_belong_to_but_tasks_alone(
        self, key: str, item: dict[str, Any], parent: Any, lane: Any
    ) -> None:
        event = _one(key, "add", item)
        assert (event.parent, event.lane_entity) == (parent, lane)

    @pytest.mark.parametrize(("action", "kind"), [("update", "note.updated"), ("delete", "note.deleted")])
    def test_notes_ride_with_their_parent(self, action: str, kind: str) -> None:
        event = _one("notes", action, {"id": 9, "element_type": "3", "element_id": "8"})
        assert (event.type, event.entity_id, event.lane_entity) == (kind, 9, ("company", 8))

    def test_an_added_note_is_about_its_parent(self) -> None:
        event = _one("leads", "note", {"note": {"id": 9, "element_type": "2", "element_id": "7"}})
        assert (event.entity_id, event.parent, event.lane_entity) == (7, ("lead", 7), ("lead", 7))
        assert _one("leads", "note", {"note": {"id": 9}}).parent is None


class TestPrevious:
    def test_old_values_are_typed_under_their_present_names(self) -> None:
        old = {"old_status_id": "4", "old_price": "10.50", "old_text": "x", "old_updated_at": "1767258000", "old_": "y"}
        assert _one("leads", "update", {"id": 7, **old}).previous == {
            "status_id": 4,
            "price": 10.5,
            "text": "x",
            "updated_at": datetime(2026, 1, 1, 9, tzinfo=UTC),
        }

    def test_without_old_values_it_is_empty(self) -> None:
        assert _one("leads", "add", {"id": 7}).previous == {}


class TestImmutability:
    def test_nothing_of_an_event_can_be_replaced(self) -> None:
        event = _one("leads", "update", {"id": 7, "old_status_id": 4})
        with pytest.raises(FrozenInstanceError):
            event.type = "lead.added"  # type: ignore[misc] # the point of the test
        with pytest.raises(TypeError):
            event.raw["id"] = 8  # type: ignore[index] # the point of the test
        with pytest.raises(TypeError):
            event.previous["status_id"] = 5  # type: ignore[index] # the point of the test
        with pytest.raises(FrozenInstanceError):
            event.lead.price = 0  # type: ignore[misc, union-attr] # the point of the test

    def test_events_can_be_keys(self) -> None:
        event = _one("leads", "add", {"id": 7})
        assert {event: 1}[Event.from_record(event.to_record())] == 1


class TestStoring:
    def test_a_record_holds_no_attempt_and_gets_one_when_it_is_loaded(self) -> None:
        event = _one("leads", "add", {"id": 7, "updated_at": 1767258000})
        later = Event.from_record(event.to_record(), attempt=3)

        assert (event.attempt, later.attempt) == (1, 3)
        assert later != event
        assert later.to_record() == event.to_record()

    def test_what_is_no_record_is_refused(self) -> None:
        with pytest.raises(KeyError):
            Event.from_record({"id": "x"})

    def test_as_dict_names_the_typed_entity_and_can_be_written_as_json(self) -> None:
        (event,) = events_in(body_of("lead_note_text"))
        told = json.loads(json.dumps(event.as_dict()))

        assert told["occurred_at"] == "2026-01-01T09:01:00+00:00"
        assert told["note"]["created_at"] == "2026-01-01T09:00:00+00:00"
        assert told["raw"] == dict(event.raw)
        assert told["attempt"] == 1
        assert "lead" not in told


class TestNames:
    def test_the_types_are_exactly_the_documented_ones(self) -> None:
        card = "added updated deleted restored responsible_changed note_added"
        documented = {
            "lead": f"{card} status_changed mail_received call_received chat_received site_visited period_elapsed",
            "contact": card,
            "company": card,
            "customer": card,
            "task": "added updated completed deleted responsible_changed",
            "note": "updated deleted",
            "unsorted": "added updated accepted declined",
            "message": "received sent",
            "talk": "added updated closed",
            "catalog_element": "added updated deleted",
            "account": "disconnected",
        }
        wanted = {f"{entity}.{action}" for entity, actions in documented.items() for action in actions.split()}
        assert wanted == EVENT_TYPES
        assert set(documented) == ENTITY_TYPES

    def test_the_fields_of_a_type_are_those_of_its_typed_entity(self) -> None:
        lead, note = fields_of("lead.status_changed"), fields_of("lead.note_added")
        assert lead is not None
        assert note is not None
        assert {"pipeline_id", "status_id", "price", "custom_fields"} <= lead
        assert {"note_type", "text", "entity_id"} <= note
        assert "price" not in note

    def test_a_type_that_is_not_known_has_no_fields_to_tell(self) -> None:
        assert fields_of("unknown.robots_add") is None
        assert fields_of("lead.teleported") is None
        assert fields_of("account.disconnected") == frozenset()

    def test_every_known_type_but_the_accounts_has_a_class(self) -> None:
        assert set(ENTITY_CLASSES) == EVENT_TYPES - {"account.disconnected"}
        assert ENTITY_CLASSES["contact.updated"] is Contact
