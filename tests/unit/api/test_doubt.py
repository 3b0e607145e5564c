"""Looking for what a lost answer may have told: what is asked for, and what counts as found."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kommo.api.doubt import Search, search_for
from kommo.api.later import Later, Step
from kommo.api.writes import Write

ASKED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ASKED_AT = int(ASKED.timestamp())
LEAD = ("lead", 31)


def write(kind: str, **given: Any) -> Write:
    """One creation, asked for at that moment."""
    later = Later(Step(9, "e-3", "shop.won", "d-3"), clock=lambda: ASKED)
    getattr(later, kind).create(**given)
    return later.writes[0]


def search(kind: str, **given: Any) -> Search:
    found = search_for(write(kind, **given))
    assert found is not None
    return found


def task(**given: Any) -> Search:
    return search("tasks", **{"entity": LEAD, "text": "Call", "due_in": timedelta(hours=1), **given})


def listed(kind: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {"_embedded": {kind: [{"created_at": ASKED_AT, **item} for item in items]}}


class TestWhatIsAskedFor:
    def test_a_task_by_its_entity_newest_first(self) -> None:
        asked = task()
        assert asked.path == "/api/v4/tasks"
        assert asked.params == {
            "filter": {"entity_id": [31], "entity_type": "leads"},
            "order": {"created_at": "desc"},
            "limit": 50,
        }

    def test_a_note_among_those_of_its_entity(self) -> None:
        asked = search("notes", entity=("contact", 62), text="Rang")
        assert asked.path == "/api/v4/contacts/62/notes"
        assert asked.params == {"order": {"id": "desc"}, "limit": 50}

    @pytest.mark.parametrize(("kind", "given"), [("leads", {}), ("contacts", {}), ("companies", {})])
    def test_others_by_the_marker_that_they_were_given(self, kind: str, given: dict[str, Any]) -> None:
        asked = search(kind, name="Order 77", marker="name", **given)
        assert asked.path == f"/api/v4/{kind}"
        assert asked.params == {"query": "Order 77", "order": {"id": "desc"}, "limit": 50}

    def test_a_task_of_nobody_and_what_has_no_marker_cannot_be_looked_for(self) -> None:
        assert search_for(write("tasks", text="Call", due_in=timedelta(hours=1))) is None
        assert search_for(write("leads", name="Order 77")) is None


SAME = {"text": "Call", "complete_till": ASKED_AT + 3600, "task_type_id": 1}


class TestATaskIsFound:
    def test_by_text_deadline_and_type(self) -> None:
        assert task().found(listed("tasks", {"id": 5, **SAME})) == 5

    @pytest.mark.parametrize("other", [{"text": "Write"}, {"complete_till": 1}, {"task_type_id": 2}])
    def test_not_when_one_of_them_is_another(self, other: dict[str, Any]) -> None:
        assert task().found(listed("tasks", {"id": 5, **SAME, **other})) is None

    def test_not_when_it_was_there_long_before(self) -> None:
        old = {**SAME, "created_at": ASKED_AT - 121}
        assert task().found(listed("tasks", {"id": 5, **old})) is None
        assert task().found(listed("tasks", {"id": 5, **old, "created_at": ASKED_AT - 119})) == 5, "clocks differ"

    def test_and_of_several_the_newest(self) -> None:
        assert task().found(listed("tasks", *({"id": id_, **SAME} for id_ in (5, 9, 7)))) == 9


class TestANoteIsFound:
    def test_by_its_text(self) -> None:
        note = {"note_type": "common", "params": {"text": "Rang", "service": None}}
        wanted = search("notes", entity=LEAD, text="Rang")
        assert wanted.found(listed("notes", {"id": 5, **note})) == 5
        assert wanted.found(listed("notes", {"id": 5, **note, "params": {"text": "Rang twice"}})) is None
        assert wanted.found(listed("notes", {"id": 5, **note, "note_type": "sms_in"})) is None

    def test_by_all_of_its_params_where_it_has_no_text(self) -> None:
        params = {"uniq": "c-1", "duration": 60, "phone": "+5511"}
        wanted = search("notes", entity=LEAD, note_type="call_in", params=params)
        assert wanted.found(listed("notes", {"id": 5, "note_type": "call_in", "params": params})) == 5
        other = {**params, "uniq": "c-2"}
        assert wanted.found(listed("notes", {"id": 5, "note_type": "call_in", "params": other})) is None


class TestAMarkerIsFound:
    def test_in_the_name_as_a_whole(self) -> None:
        wanted = search("leads", name=" Order 77 ", marker="name")
        assert wanted.found(listed("leads", {"id": 5, "name": " Order 77 "})) == 5
        assert wanted.found(listed("leads", {"id": 5, "name": "Order 778"})) is None

    @pytest.mark.parametrize(
        ("key", "named"),
        [(701, {"field_id": 701, "field_code": None}), ("ORDER", {"field_id": 9, "field_code": "ORDER"})],
    )
    def test_in_the_custom_field_by_its_id_or_code(self, key: object, named: dict[str, Any]) -> None:
        wanted = search("leads", name="Order", fields={key: 4711, 702: "x"}, marker=key)
        values = [{"value": "4711"}]
        assert wanted.found(listed("leads", {"id": 5, "custom_fields_values": [{**named, "values": values}]})) == 5
        other = [{"field_id": 702, "field_code": "X", "values": values}]
        assert wanted.found(listed("leads", {"id": 5, "custom_fields_values": other})) is None

    def test_not_in_an_entity_without_custom_fields(self) -> None:
        wanted = search("leads", name="Order", fields={701: "o-1"}, marker=701)
        assert wanted.found(listed("leads", {"id": 5, "name": "o-1", "custom_fields_values": None})) is None
        empty = [{"field_id": 701, "values": None}]
        assert wanted.found(listed("leads", {"id": 5, "custom_fields_values": empty})) is None


@pytest.mark.parametrize(
    "answer",
    [None, [], "text", {}, {"_embedded": None}, {"_embedded": {"tasks": None}}, {"_embedded": {"tasks": ["x", {}]}}],
)
def test_an_answer_that_lists_nothing_finds_nothing(answer: object) -> None:
    assert task().found(answer) is None


def test_an_item_without_time_or_number_is_not_it() -> None:
    for odd in ({"created_at": None}, {"created_at": "yesterday"}, {"id": "5"}):
        assert task().found(listed("tasks", {"id": 5, **SAME, **odd})) is None
