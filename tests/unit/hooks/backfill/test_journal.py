"""What the API knows becomes deliveries of which the same events come as of a webhook's own."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.hooks.backfill import DELIVERY, FORM, Found
from kommo.hooks.backfill.journal import TYPES, looked_up, told_by, told_by_change, told_by_note
from kommo.hooks.events import Event
from kommo.hooks.normalise import normalise
from sandbox.payloads.form import encode as as_kommo_encodes
from tests.unit.hooks.backfill.samples import (
    ACCOUNT,
    CHANGED,
    MADE,
    card,
    entry,
    handed_over,
    lead,
    moved,
    note,
    task,
)


def events(found: Found | None) -> list[Event]:
    assert found is not None
    return normalise(found.body(ACCOUNT), content_type=FORM, account_id=ACCOUNT, delivery_id=found.delivery_id(ACCOUNT))


def only(found: Found | None) -> Event:
    (event,) = events(found)
    return event


def of_webhook(body: dict[str, Any]) -> list[Event]:
    return normalise(as_kommo_encodes(body), content_type=FORM, account_id=ACCOUNT, delivery_id="0123")


class TestCards:
    def test_a_lead_shows_what_a_webhook_shows(self) -> None:
        shown = only(told_by(entry("lead_added", at=MADE), lead())).lead
        assert shown is not None
        assert (shown.id, shown.name, shown.price, shown.status_id, shown.pipeline_id) == (
            5, "Tandem ~ for two", 780, 142, 9,
        )  # fmt: skip
        assert (shown.responsible_user_id, shown.created_user_id, shown.account_id) == (81, 81, ACCOUNT)
        assert [tag.name for tag in shown.tags] == ["spring"]

    def test_custom_fields_come_in_the_shapes_that_webhooks_have(self) -> None:
        (event,) = events(told_by(entry("lead_added"), lead()))
        fields = {field["id"]: field for field in event.raw["custom_fields"]}
        assert fields["53"]["values"] == ["1790000000"]
        assert fields["54"]["values"] == [{"value": "19.04.1980"}]
        assert fields["55"]["values"] == {"value": "L", "enum": "3"}
        assert fields["56"]["values"] == [{"value": "1"}]
        assert (fields["52"]["code"], fields["52"]["values"][1]) == ("PHONE", {"value": "+1 555 02", "enum": "8"})
        assert event.lead is not None
        assert event.lead.fields["Colour"].value == "Red & green"

    def test_a_contact_and_a_company_travel_under_one_key(self) -> None:
        contact = only(told_by(entry("contact_added", "contact"), card(first_name="Ida")))
        assert contact.type == "contact.added"
        assert contact.contact is not None
        assert (contact.contact.first_name, contact.contact.linked_company_id) == ("Ida", 44)
        assert only(told_by(entry("company_added", "company"), card())).type == "company.added"

    def test_links_to_leads_are_keyed_by_the_lead(self) -> None:
        linked = card(_embedded={"leads": [{"id": 31}, {"id": 90_000_000}]})
        event = only(told_by(entry("contact_added", "contact"), linked))
        assert event.contact is not None
        assert event.contact.linked_leads == (31, 90_000_000)

    def test_a_customer_has_its_next_purchase(self) -> None:
        event = only(told_by(entry("customer_added", "customer"), card(next_price=90, next_date=MADE)))
        assert event.customer is not None
        assert (event.customer.next_price, event.type) == (90, "customer.added")

    def test_a_task_has_its_deadline_twice_and_what_it_hangs_on(self) -> None:
        event = only(told_by(entry("task_added", "task", 6), task()))
        assert event.task is not None
        assert event.parent == ("lead", 5)
        assert event.task.complete_till is not None
        assert int(event.task.complete_till.timestamp()) == 1_794_100_000
        assert event.raw["complete_till"] == "2026-11-08 01:06:40"
        assert (event.task.task_type, event.task.is_completed) == ("meeting", False)

    @pytest.mark.parametrize("kind", ["lead", "contact", "company", "customer"])
    def test_a_note_belongs_to_what_it_hangs_on(self, kind: str) -> None:
        event = only(told_by_note(kind, note(), since=MADE))
        assert (event.type, event.entity_id, event.occurred_at and int(event.occurred_at.timestamp())) == (
            f"{kind}.note_added", 5, MADE,
        )  # fmt: skip
        assert event.note is not None
        assert (event.note.text, event.note.note_type, event.note.id) == ("Wants mudguards", "common", 8)

    def test_a_call_is_a_note_whose_text_is_json(self) -> None:
        call = note(note_type="call_in", params={"link": "https://pbx.example/9.mp3", "duration": 71})
        event = only(told_by_note("contact", call, since=MADE))
        assert event.note is not None
        assert event.note.call == {"LINK": "https://pbx.example/9.mp3", "DURATION": 71}


class TestJournal:
    def test_a_change_of_stage_has_the_id_that_it_has_as_a_webhook(self) -> None:
        found = only(told_by(moved(), lead()))
        item = {"id": 5, "status_id": 142, "pipeline_id": 9, "old_status_id": 70, "last_modified": CHANGED}
        (status,) = of_webhook({"leads": {"status": [item]}})
        assert (found.type, found.id) == ("lead.status_changed", status.id)
        assert found.previous["status_id"] == 70

    def test_so_it_has_when_the_webhook_is_an_update(self) -> None:
        item = {"id": 5, "status_id": 142, "pipeline_id": 9, "old_status_id": 70, "updated_at": CHANGED, "name": "x"}
        assert only(told_by(moved(), None)).id in {event.id for event in of_webhook({"leads": {"update": [item]}})}

    @pytest.mark.parametrize(
        ("entity", "key", "more"),
        [
            ("lead", "leads", {}),
            ("contact", "contacts", {"type": "contact"}),
            ("company", "contacts", {"type": "company"}),
            ("customer", "customers", {}),
            ("task", "task", {}),
        ],
    )
    def test_a_new_owner_has_the_id_that_it_has_as_a_webhook(self, entity: str, key: str, more: dict[str, Any]) -> None:
        found = only(told_by(handed_over(entity), task() if entity == "task" else card()))
        item = {"id": 5, "responsible_user_id": 83, "old_responsible_user_id": 81, "updated_at": CHANGED, **more}
        action = "responsible" if key == "leads" else "update"
        assert found.type == f"{entity}.responsible_changed"
        assert found.id in {event.id for event in of_webhook({key: {action: [item]}})}

    @pytest.mark.parametrize("entity", ["lead", "contact", "company", "customer", "task"])
    def test_a_deletion_is_told_with_its_time_which_no_webhook_has(self, entity: str) -> None:
        found = told_by(entry(f"{entity}_deleted", entity), None)
        event = only(found)
        assert (event.type, event.entity_id) == (f"{entity}.deleted", 5)
        assert event.occurred_at is not None
        assert int(event.occurred_at.timestamp()) == CHANGED
        assert event.id == only(found).id

    @pytest.mark.parametrize("entity", ["lead", "contact", "company"])
    def test_a_return_is_told_with_what_came_back(self, entity: str) -> None:
        event = only(told_by(entry(f"{entity}_restored", entity), card()))
        assert (event.type, event.raw["name"]) == (f"{entity}.restored", "Tandem ~ for two")

    def test_a_finished_task_is_completed_and_not_updated(self) -> None:
        assert only(told_by(entry("task_completed", "task", 6), task(is_completed=True))).type == "task.completed"

    def test_a_talk_begins_and_ends(self) -> None:
        talk = {"talk_id": 71, "contact_id": 4, "chat_id": "c-1", "entity_type": "lead", "entity_id": 5, "_links": {}}
        said = [{"talk": {"id": 71}}]
        began = only(told_by(entry("talk_created", value_after=said), talk))
        ended = only(told_by(entry("talk_closed", value_after=said), None))
        assert [began.type, ended.type] == ["talk.added", "talk.closed"]
        assert began.talk is not None
        assert (began.talk.id, began.talk.contact_id, began.parent) == (71, 4, ("lead", 5))
        assert ended.parent == ("lead", 5)

    @pytest.mark.parametrize(("way", "past"), [("incoming", "received"), ("outgoing", "sent")])
    def test_of_a_message_it_is_told_that_it_came(self, way: str, past: str) -> None:
        said = [{"message": {"id": "0b5f3c0e-11", "origin": "telegram"}}]
        event = only(told_by(entry(f"{way}_chat_message", value_after=said), None))
        assert (event.type, event.entity_id, event.parent) == (f"message.{past}", "0b5f3c0e-11", ("lead", 5))
        assert event.message is not None
        assert event.message.text is None

    @pytest.mark.parametrize("what", ["lead_added", "lead_restored"])
    def test_what_is_gone_again_is_not_said_to_be_new(self, what: str) -> None:
        assert told_by(entry(what), None) is None

    def test_what_no_webhook_tells_is_left_out(self) -> None:
        assert told_by(entry("entity_linked"), lead()) is None
        assert told_by(entry("nps_rate_added"), lead()) is None

    def test_every_type_that_is_asked_for_is_understood(self) -> None:
        said: dict[str, Any] = {"value_after": [{"talk": {"id": 1}}, {"message": {"id": "m"}}]}
        for name in TYPES:
            entity = name.partition("_")[0]
            entity = entity if entity in {"lead", "contact", "company", "customer", "task"} else "lead"
            found = told_by(entry(name, entity, **said), task() if entity == "task" else card())
            assert not only(found).type.startswith("unknown"), name

    @pytest.mark.parametrize(
        ("asked", "named"),
        [
            (entry("lead_added"), ("lead", 5)),
            (entry("task_completed", "task", 6), ("task", 6)),
            (entry("talk_created", value_after=[{"talk": {"id": 71}}]), ("talk", 71)),
            (entry("lead_deleted"), None),
            (entry("incoming_chat_message"), None),
            (entry("lead_added", "robot"), None),
        ],
    )
    def test_it_is_named_what_has_to_be_asked_for(self, asked: dict[str, Any], named: tuple[str, int] | None) -> None:
        assert looked_up(asked) == named

    @given(
        st.dictionaries(
            st.sampled_from(["type", "entity_id", "entity_type", "created_at", "value_after", "value_before"]),
            st.one_of(st.none(), st.integers(), st.text(max_size=5), st.sampled_from(TYPES), st.just([{"talk": 1}])),
        ),
        st.one_of(st.none(), st.just({}), st.just({"custom_fields_values": [1], "_embedded": []})),
    )
    def test_whatever_an_entry_holds_it_tells_something_or_nothing(
        self, given_entry: dict[str, Any], about: dict[str, Any] | None
    ) -> None:
        looked_up(given_entry)
        if found := told_by(given_entry, about):
            assert events(found)


class TestLists:
    def test_a_change_is_told_at_the_time_of_the_change(self) -> None:
        (found,) = told_by_change("lead", lead(), since=MADE + 1)
        assert (only(found).type, found.seconds) == ("lead.updated", CHANGED)

    def test_what_was_made_in_the_gap_is_told_as_added_and_then_as_updated(self) -> None:
        added, updated = told_by_change("lead", lead(), since=MADE)
        assert [(only(one).type, one.seconds) for one in (added, updated)] == [
            ("lead.added", MADE), ("lead.updated", CHANGED),
        ]  # fmt: skip

    @pytest.mark.parametrize("after", [0, 2])
    def test_what_was_made_and_not_touched_since_is_added_alone(self, after: int) -> None:
        (found,) = told_by_change("task", task(updated_at=MADE + after), since=MADE)
        assert only(found).type == "task.added"

    def test_what_has_no_time_tells_nothing(self) -> None:
        assert told_by_change("lead", lead(updated_at=None), since=MADE) == []

    def test_an_old_note_that_was_changed_is_nothing_new(self) -> None:
        assert told_by_note("lead", note(updated_at=CHANGED), since=MADE + 1) is None


class TestBodies:
    def test_a_form_is_what_kommo_would_have_written(self) -> None:
        found = Found("leads", "add", {"id": 1, "name": "~ä&=", "none": None, "no": [], "yes": True, "x": {"7": 1}}, 9)
        body = {"account": {"id": ACCOUNT}, "timestamp": 9, "leads": {"add": [dict(found.item)]}}
        assert found.body(ACCOUNT) == as_kommo_encodes(body)

    def test_whole_amounts_have_no_fraction(self) -> None:
        assert b"=450&" in Found("leads", "add", {"price": 450.0, "updated_at": 1}, 1).body(1)

    def test_half_a_surrogate_pair_does_no_harm(self) -> None:
        assert b"name%5D=%3F" in Found("leads", "add", {"name": "\ud800", "updated_at": 1}, 1).body(1)

    def test_the_name_of_a_delivery_tells_what_it_is_and_is_the_same_again(self) -> None:
        found, again, other = (Found("leads", "delete", {"id": number}, 9) for number in (1, 1, 2))
        assert found.delivery_id(7).startswith(DELIVERY)
        assert found.delivery_id(7) == again.delivery_id(7) != other.delivery_id(7)

    def test_within_a_second_what_makes_comes_first_and_what_a_list_shows_last(self) -> None:
        given_order = [Found("leads", action, {}, 5) for action in ("update", "delete", "status", "add")]
        found = [*given_order, Found("leads", "delete", {}, 4)]
        assert [(one.seconds, one.action) for one in sorted(found, key=lambda one: one.order)] == [
            (4, "delete"), (5, "add"), (5, "status"), (5, "delete"), (5, "update"),
        ]  # fmt: skip

    def test_an_end_and_a_return_within_a_second_keep_the_order_of_the_journal(self) -> None:
        entries = [entry("lead_restored", id="01b"), entry("lead_deleted", id="01c"), entry("lead_deleted", id="01a")]
        found = [one for told in entries if (one := told_by(told, lead()))]
        assert [one.action for one in sorted(found, key=lambda one: one.order)] == ["delete", "restore", "delete"]

    def test_what_journal_and_list_tell_alike_is_one_change(self) -> None:
        told = told_by(entry("lead_added", at=MADE), lead())
        listed, updated = told_by_change("lead", lead(), since=MADE)
        assert told is not None
        assert told.change == listed.change != updated.change

    def test_notes_and_talks_of_one_second_are_several(self) -> None:
        notes = [told_by_note("lead", note(number), since=MADE) for number in (8, 9)]
        said = [[{"talk": {"id": number}}] for number in (71, 72)]
        talks = [told_by(entry("talk_created", value_after=after), None) for after in said]
        assert len({one.change for one in (*notes, *talks) if one}) == 4
