import json
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kommo.errors import AccountMismatch, DecodeError
from kommo.hooks.events import Event
from kommo.hooks.kinds import ENTITY_OF_KEY, EVENT_TYPES, PAST_OF_ACTION
from kommo.hooks.normalise import has_timeless_item, normalise
from tests.unit.hooks.deliveries import ACCOUNT, events_in, json_events, types_in
from tests.unit.hooks.test_scalars import anything

LEAD = "leads[update][0][id]=7&leads[update][0][updated_at]=1767258000"


class TestTypes:
    @pytest.mark.parametrize("entity", ["leads", "contacts", "companies", "customers", "task"])
    def test_old_values_that_equal_the_present_ones_are_no_change(self, entity: str) -> None:
        item = {"id": 7, "status_id": 5, "old_status_id": "5", "responsible_user_id": 9, "old_responsible_user_id": 9}
        (event,) = json_events({entity: {"update": [item]}})
        assert event.type.endswith(".updated")

    def test_one_update_may_be_three_events(self) -> None:
        item = "&leads[update][0][old_status_id]=1&leads[update][0][status_id]=2"
        user = "&leads[update][0][old_responsible_user_id]=1&leads[update][0][responsible_user_id]=2"
        assert types_in(LEAD + item + user) == ["lead.updated", "lead.status_changed", "lead.responsible_changed"]

    @pytest.mark.parametrize("entity", ["contacts", "customers", "task"])
    def test_only_leads_change_their_status(self, entity: str) -> None:
        (event,) = json_events({entity: {"update": [{"id": 7, "status_id": 5, "old_status_id": 4}]}})
        assert event.type.endswith(".updated")

    @pytest.mark.parametrize(
        ("status", "action_close", "types"),
        [("1", "1", ["task.completed"]), ("1", "0", ["task.updated"]), ("0", "1", ["task.updated"])],
    )
    def test_a_task_is_completed_by_the_update_that_closes_it(
        self, status: str, action_close: str, types: list[str]
    ) -> None:
        place = "task[update][0]"
        assert types_in(f"{place}[id]=3&{place}[status]={status}&{place}[action_close]={action_close}") == types

    def test_a_task_that_is_completed_and_changes_hands_is_two_events(self) -> None:
        item = {"id": 3, "status": 1, "action_close": 1, "old_responsible_user_id": 1, "responsible_user_id": 2}
        types = [event.type for event in json_events({"task": {"update": [item]}})]
        assert types == ["task.completed", "task.responsible_changed"]

    def test_a_status_hook_is_only_a_status_change(self) -> None:
        item = {"id": 7, "status_id": 5, "old_status_id": 4, "responsible_user_id": 2, "old_responsible_user_id": 1}
        assert [event.type for event in json_events({"leads": {"status": [item]}})] == ["lead.status_changed"]

    @pytest.mark.parametrize(
        ("item", "wanted"),
        [
            ({"accept_result": {"leads": [5]}}, "unsorted.accepted"),
            ({"decline_result": {"leads": [5]}}, "unsorted.declined"),
            ({"action": "decline", "accept_result": {}}, "unsorted.declined"),
            ({"action": "evaporate"}, "unknown.unsorted_delete"),
        ],
    )
    def test_an_incoming_lead_is_deleted_by_a_verdict(self, item: dict[str, Any], wanted: str) -> None:
        (event,) = json_events({"unsorted": {"delete": [{"uid": "u-1", **item}]}})
        assert (event.type, event.entity_id) == (wanted, "u-1")

    @pytest.mark.parametrize(("key", "action"), [(key, action) for key in ENTITY_OF_KEY for action in PAST_OF_ACTION])
    def test_every_entity_and_action_gives_a_known_type_or_says_that_it_is_unknown(self, key: str, action: str) -> None:
        (event,) = json_events({key: {action: [{"id": 7, "element_type": 2, "element_id": 8}]}})
        if event.type in EVENT_TYPES:
            assert event.type.partition(".")[0] == event.entity_type
        else:
            assert (event.type, event.entity_type) == (f"unknown.{key}_{action}", key)


class TestItems:
    @pytest.mark.parametrize(
        "items",
        [[{"id": 7}, {"id": 8}], {"0": {"id": 7}, "1": {"id": 8}}, {"4": {"id": 7}, "9": {"id": 8}}],
    )
    def test_items_come_as_a_list_or_keyed_by_numbers(self, items: Any) -> None:
        assert [event.entity_id for event in json_events({"leads": {"add": items}})] == [7, 8]

    @pytest.mark.parametrize("items", [7, "7", [7], ["7"], {"0": "7"}, {"0": {"id": "7"}}, {"id": 7}])
    def test_a_deletion_may_be_a_bare_id(self, items: Any) -> None:
        (event,) = json_events({"leads": {"delete": items}})
        assert (event.type, event.entity_id) == ("lead.deleted", 7)

    @pytest.mark.parametrize("nothing", [None, "", [], {}, [None], [{}]])
    def test_an_action_without_items_is_no_event(self, nothing: Any) -> None:
        assert json_events({"leads": {"add": nothing}}) == []

    @pytest.mark.parametrize("nothing", [None, "", [], {}])
    def test_a_key_without_actions_is_no_event(self, nothing: Any) -> None:
        assert json_events({"robots": nothing}) == []

    @pytest.mark.parametrize("odd", ["text", 7, True, [["x"]]])
    def test_an_item_that_is_no_object_is_kept_as_an_unknown_event(self, odd: Any) -> None:
        (event,) = json_events({"leads": {"add": odd}})
        assert event.type == "unknown.leads_add"
        assert event.raw == {"value": odd[0] if isinstance(odd, list) else odd}

    def test_a_key_that_holds_no_actions_is_kept_as_an_unknown_event(self) -> None:
        (event,) = events_in("Weather Report=sunny")
        assert (event.type, event.entity_type, dict(event.raw)) == (
            "unknown.weather_report",
            "weather_report",
            {"value": "sunny"},
        )

    @pytest.mark.parametrize("name", ["ж", "*", "", "Ünïcode", "x" * 500, "a.b:c{d}", "İ" * 40])
    def test_unknown_names_are_short_and_plain(self, name: str) -> None:
        (event,) = json_events({name: {name: [{"id": 7}]}})
        assert len(event.type) <= 100
        assert set(event.type) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.")
        assert event.entity_type

    def test_events_come_in_the_order_of_the_delivery(self) -> None:
        body = "contacts[add][0][id]=1&leads[add][0][id]=2&contacts[delete][0][id]=3&leads[add][1][id]=4"
        assert [event.entity_id for event in events_in(body)] == [1, 3, 2, 4]

    @pytest.mark.parametrize("step", [{"type": 15}, {"type": "15"}, {"type_code": "lead_appeared_in_status"}])
    def test_a_widgets_step_is_known_by_its_number_or_its_name(self, step: dict[str, Any]) -> None:
        (event,) = json_events({"event": {**step, "data": {"id": 7}, "time": 1767258000}, "action": {"settings": {}}})
        assert (event.type, event.entity_id, event.raw) == ("lead.status_changed", 7, {"id": 7})

    def test_a_note_in_a_leads_own_fields_is_no_wrapper(self) -> None:
        (event,) = json_events({"leads": {"update": [{"id": 7, "note": {"id": 8}}]}})
        assert event.entity_id == 7


class TestAccounts:
    @pytest.mark.parametrize(
        "body",
        [
            f"account[id]={ACCOUNT}&account_id=1&{LEAD}&leads[update][0][account_id]=2",
            f"account_id={ACCOUNT}&{LEAD}&leads[update][0][account_id]=2",
            f"account[subdomain]=x&{LEAD}&leads[update][0][account_id]={ACCOUNT}",
            f"account[id]=XXX&account_id=&{LEAD}&leads[update][0][account_id]=XXX",
            f"account=5&{LEAD}",
            LEAD,
        ],
    )
    def test_only_the_first_place_that_names_an_account_counts(self, body: str) -> None:
        assert types_in(body) == ["lead.updated"]

    @pytest.mark.parametrize(
        "body",
        [
            f"account[id]=1&account_id={ACCOUNT}&{LEAD}",
            f"account_id=1&{LEAD}&leads[update][0][account_id]={ACCOUNT}",
            f"account[id]=XXX&{LEAD}&leads[update][0][account_id]=1",
            f"{LEAD}&leads[update][0][account_id]={ACCOUNT}&leads[add][0][account_id]=1",
            "leads[note][0][note][account_id]=1&leads[note][0][note][id]=2",
            "account[id]=1",
        ],
    )
    def test_another_account_is_a_mismatch_with_its_own_reason(self, body: str) -> None:
        with pytest.raises(AccountMismatch) as caught:
            events_in(body)
        assert caught.value.reason == "account_mismatch"


class TestTimes:
    @pytest.mark.parametrize(
        ("body", "timeless"),
        [
            (LEAD, False),
            (LEAD + "&leads[delete][0][id]=7", True),
            (LEAD + "&leads[update][0][updated_at]=never", True),
            ("account[id]=1", False),
            ("", False),
            ("a" + "[b]" * 40, True),
            ("leads[note][0][note][date_create]=1767258000", True),
            ("task[update][0][last_modified]=2026-01-01+09:00:00", False),
            ("leads[update][0][last_modified]=2026-01-01+09:00:00", True),
            ('{"timestamp":1767258000,"leads":{"delete":[{"id":7}]}}', False),
            ("robots=1", True),
        ],
    )
    def test_a_body_is_timeless_if_any_item_is(self, body: str, timeless: bool) -> None:
        assert has_timeless_item(body.encode(), None) is timeless

    def test_the_latest_time_of_an_item_is_when_it_happened(self) -> None:
        place = "leads[add][0]"
        (event,) = events_in(f"{place}[created_at]=1767250000&{place}[last_modified]=1767258000")
        assert event.occurred_at is not None
        assert event.occurred_at.timestamp() == 1767258000


_keys = st.sampled_from(["leads", "contacts", "task", "notes", "unsorted", "talk", "message", "account", "event", "x"])
_actions = st.sampled_from(["add", "update", "delete", "note", "status", "responsible", "mail_in", "data", "id", "y"])
_IDS = ["id", "uid", "element_type", "element_id", "status_id", "old_status_id", "linked_leads_id", "old_price"]
_PARTS = ["note", "type", "custom_fields", "tags", "metadata", "data", "result", "author", "values"]
_names = st.sampled_from([*_IDS, *_PARTS, "updated_at", "complete_till"])
_items = st.dictionaries(_names, anything, max_size=5)
_deliveries = st.dictionaries(
    _keys | st.text(max_size=5),
    anything | st.dictionaries(_actions, anything | st.lists(_items, max_size=2) | _items, max_size=3),
    max_size=3,
)


@settings(deadline=None)
@given(_deliveries)
def test_no_decoded_delivery_raises_whatever_it_holds(delivery: dict[str, Any]) -> None:
    try:
        events = json_events(delivery)
    except DecodeError:
        return
    for event in events:
        assert event.type in EVENT_TYPES or event.type.startswith("unknown.")
        assert Event.from_record(json.loads(json.dumps(event.to_record()))) == event
        json.dumps(event.as_dict(), allow_nan=False)
        assert event.lane_entity


@given(st.binary(max_size=300), st.sampled_from([None, "application/json", "application/x-www-form-urlencoded"]))
def test_arbitrary_bytes_raise_nothing_but_decode_errors(body: bytes, content_type: str | None) -> None:
    try:
        normalise(body, content_type=content_type, account_id=ACCOUNT, delivery_id="d-1")
    except DecodeError:
        assert has_timeless_item(body, content_type) in (True, False)


@given(st.lists(st.tuples(st.sampled_from(["leads", "contacts[note][0]", "account"]), st.text(max_size=8)), max_size=8))
def test_arbitrary_forms_raise_nothing_but_decode_errors(fields: list[tuple[str, str]]) -> None:
    body = "&".join(f"{start}[{quote_plus(rest)}][0][id]={quote_plus(rest)}" for start, rest in fields)
    try:
        events_in(body)
    except DecodeError as error:
        assert isinstance(error, AccountMismatch)
