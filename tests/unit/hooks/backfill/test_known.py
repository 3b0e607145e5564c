"""A webhook's event and the same change found in the API are known to be one; in doubt they are two."""

from typing import Any

import pytest

from kommo.hooks.backfill import FORM, Found, Known
from kommo.hooks.backfill.journal import told_by, told_by_change, told_by_note
from kommo.hooks.normalise import normalise
from sandbox.payloads.form import encode
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

FACTS = {"name": "Tandem ~ for two", "price": "780", "status_id": 142, "pipeline_id": 9, "responsible_user_id": 81}
SHOWN = [
    {"id": 51, "name": "Colour", "values": [{"value": "Red &amp; green", "enum": 910}]},
    {
        "id": 52,
        "name": "Phone",
        "values": [{"value": "+1 555 01", "enum": 7}, {"value": "+1 555 02"}],
        "code": "PHONE",
    },
    {"id": 53, "name": "Start", "values": [1_790_000_000]},
    {"id": 54, "name": "Birthday", "values": [{"value": "19.04.1980"}]},
    {"id": 55, "name": "Size", "values": {"value": "L", "enum": 3}},
    {"id": 56, "name": "Agreed", "values": [{"value": "1"}]},
]


def update(**given: Any) -> dict[str, Any]:
    """The webhook of the change of which the sample lead is the outcome."""
    tags = [{"id": 2, "name": "spring"}]
    item = {"id": 5, **FACTS, "tags": tags, "custom_fields": SHOWN, "last_modified": CHANGED, **given}
    return {"leads": {"update": [item]}}


def after(*bodies: dict[str, Any], received: int = CHANGED) -> Known:
    """What is known once these webhooks have come."""
    known = Known()
    for number, body in enumerate(bodies):
        learn(known, encode(body), f"00{number}", received)
    return known


def learn(known: Known, body: bytes, name: str, received: int) -> None:
    for event in normalise(body, content_type=FORM, account_id=ACCOUNT, delivery_id=name):
        known.learn(event, received=received)


def has(known: Known, found: Found | None) -> bool:
    assert found is not None
    body, name = found.body(ACCOUNT), found.delivery_id(ACCOUNT)
    (event,) = normalise(body, content_type=FORM, account_id=ACCOUNT, delivery_id=name)
    return known.has(event)


def updated(**given: Any) -> Found:
    return told_by_change("lead", lead(**given), since=MADE + 1)[0]


def test_nothing_is_known_of_an_empty_inbox() -> None:
    assert not has(Known(), updated())


class TestUpdates:
    def test_one_that_shows_the_same_at_the_same_time_is_known(self) -> None:
        assert has(after(update()), updated())

    @pytest.mark.parametrize("late", [-2, -1, 1, 2])
    def test_clocks_may_differ_by_two_seconds(self, late: int) -> None:
        assert has(after(update(last_modified=CHANGED + late)), updated())

    @pytest.mark.parametrize("late", [-3, 3])
    def test_and_no_more(self, late: int) -> None:
        assert not has(after(update(last_modified=CHANGED + late)), updated())

    @pytest.mark.parametrize(
        "given",
        [
            *({"name": "Another"}, {"price": 1}, {"status_id": 143}, {"responsible_user_id": 2}, {"tags": []}),
            {"custom_fields": SHOWN[:5]},
            {"custom_fields": [*SHOWN[:5], {"id": 56, "values": [{"value": "0"}]}]},
        ],
        ids=lambda given: next(iter(given)),
    )
    def test_one_that_shows_something_else_is_in_doubt(self, given: dict[str, Any]) -> None:
        assert not has(after(update(**given)), updated())

    def test_what_is_missing_empty_or_0_is_the_same(self) -> None:
        body = update()
        del body["leads"]["update"][0]["price"]
        assert has(after(body), updated(price=0))

    def test_that_of_another_entity_says_nothing(self) -> None:
        assert not has(after(update(id=6)), updated())

    def test_a_task_that_was_completed_was_not_updated_besides(self) -> None:
        done = {"id": 6, "status": 1, "action_close": 1, "updated_at": CHANGED, "text": "Another"}
        (found,) = told_by_change("task", task(is_completed=True), since=MADE + 1)
        assert has(after({"task": {"update": [done]}}), found)
        assert not has(after({"task": {"update": [{**done, "action_close": 0}]}}), found)

    def test_what_came_back_was_not_updated_besides(self) -> None:
        known = after({"leads": {"restore": [{"id": 5, "name": "Another", "updated_at": CHANGED}]}})
        assert has(known, updated())

    def test_one_that_changed_the_stage_tells_of_both(self) -> None:
        known = after(update(old_status_id=70))
        assert has(known, updated())
        assert has(known, told_by(moved(), lead()))


class TestOnce:
    def test_an_addition_is_known_whatever_it_shows_and_whenever_it_was_told(self) -> None:
        known = after({"leads": {"add": [{"id": 5, "last_modified": MADE + 900}]}})
        assert has(known, told_by(entry("lead_added", at=MADE), lead()))
        assert not has(known, told_by(entry("lead_added", number=6), lead(6)))

    def test_a_note_is_known_by_its_own_number(self) -> None:
        item = {"note": {"id": 8, "element_id": 5, "element_type": 2, "created_at": MADE}}
        known = after({"leads": {"note": [item]}})
        assert has(known, told_by_note("lead", note(), since=MADE))
        assert not has(known, told_by_note("lead", note(9), since=MADE))

    def test_a_message_is_known_by_its_id(self) -> None:
        said = [{"message": {"id": "m-1"}}]
        message = told_by(entry("incoming_chat_message", value_after=said), None)
        assert has(after({"message": {"add": [{"id": "m-1", "text": "Hi", "created_at": 1}]}}), message)
        assert not has(after({"message": {"add": [{"id": "m-2", "created_at": CHANGED}]}}), message)


class TestStagesAndOwners:
    def test_a_change_of_stage_is_known_within_two_seconds(self) -> None:
        item = {"id": 5, "status_id": 142, "pipeline_id": 9, "old_status_id": 70, "last_modified": CHANGED + 2}
        assert has(after({"leads": {"status": [item]}}), told_by(moved(), lead()))

    @pytest.mark.parametrize("given", [{"old_status_id": 71}, {"status_id": 143}, {"last_modified": CHANGED + 9}])
    def test_another_one_is_not(self, given: dict[str, Any]) -> None:
        item = {"id": 5, "status_id": 142, "pipeline_id": 9, "old_status_id": 70, "last_modified": CHANGED, **given}
        assert not has(after({"leads": {"status": [item]}}), told_by(moved(), lead()))

    def test_a_new_owner_is_known_by_who_it_was_and_is(self) -> None:
        item = {"id": 5, "responsible_user_id": 83, "old_responsible_user_id": 81, "last_modified": CHANGED + 1}
        known = after({"contacts": {"update": [{**item, "type": "contact"}]}})
        assert has(known, told_by(handed_over("contact"), card()))
        assert not has(known, told_by(handed_over("company"), card()))


class TestWhatIsToldByItsTime:
    def test_a_return_a_finished_task_and_the_end_of_a_talk(self) -> None:
        known = after(
            {"leads": {"restore": [{"id": 5, "last_modified": CHANGED}]}},
            {"task": {"update": [{"id": 6, "status": 1, "action_close": 1, "updated_at": CHANGED}]}},
            {"talk": {"update": [{"talk_id": 71, "is_in_work": 0, "updated_at": CHANGED}]}},
        )
        for late, told in ((0, True), (2, True), (3, False)):
            at = CHANGED + late
            assert has(known, told_by(entry("lead_restored", at=at), lead())) is told
            assert has(known, told_by(entry("task_completed", "task", 6, at=at), task())) is told
            ended = entry("talk_closed", at=at, value_after=[{"talk": {"id": 71}}])
            assert has(known, told_by(ended, None)) is told


GONE = {"leads": {"delete": [{"id": 5, "status_id": 142, "pipeline_id": 9}]}}


class TestDeletions:
    @pytest.mark.parametrize(("late", "told"), [(-121, False), (-120, True), (0, True), (7200, True), (7201, False)])
    def test_a_webhook_without_a_time_is_matched_by_when_it_was_received(self, late: int, told: bool) -> None:
        assert has(after(GONE, received=CHANGED + late), told_by(entry("lead_deleted"), None)) is told

    def test_one_webhook_accounts_for_one_deletion(self) -> None:
        known = after(GONE, received=CHANGED + 60)
        deleted = [told_by(entry("lead_deleted", at=at), None) for at in (CHANGED, CHANGED + 30)]
        assert [has(known, one) for one in deleted] == [True, False]

    def test_one_that_was_found_before_is_known_by_its_time(self) -> None:
        known, found = Known(), told_by(entry("lead_deleted"), None)
        assert found is not None
        learn(known, found.body(ACCOUNT), found.delivery_id(ACCOUNT), received=CHANGED + 9_000_000)
        assert [has(known, found), has(known, found)] == [True, True]
        assert not has(known, told_by(entry("lead_deleted", at=CHANGED + 3), None))
