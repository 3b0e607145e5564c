import json
from typing import Any

import pytest

from tests.unit.hooks.deliveries import events_in, json_events

MOVED = {"id": 7, "status_id": 5, "old_status_id": 4, "pipeline_id": 3, "updated_at": 1767258000, "name": "Stove"}


def _ids(delivery: dict[str, Any], wanted: str | None = None, *, delivery_id: str = "d-1") -> list[str]:
    events = json_events(delivery, delivery_id=delivery_id)
    return [event.id for event in events if wanted in (None, event.type)]


def test_an_id_is_sixteen_bytes_in_hexadecimal() -> None:
    (one,) = _ids({"leads": {"add": [MOVED]}})
    assert len(bytes.fromhex(one)) == 16


def test_a_status_change_has_one_id_under_both_keys() -> None:
    as_status = _ids({"leads": {"status": [MOVED]}})
    as_update = _ids({"leads": {"update": [{**MOVED, "price": "12"}]}}, "lead.status_changed", delivery_id="d-2")
    assert as_status == as_update


def test_an_old_pipeline_that_is_left_out_is_the_present_one() -> None:
    assert _ids({"leads": {"status": [MOVED]}}) == _ids({"leads": {"status": [{**MOVED, "old_pipeline_id": 3}]}})
    assert _ids({"leads": {"status": [MOVED]}}) != _ids({"leads": {"status": [{**MOVED, "old_pipeline_id": 2}]}})


def test_a_change_of_hands_has_one_id_under_both_keys() -> None:
    item = {"id": 7, "responsible_user_id": 2, "old_responsible_user_id": 1, "updated_at": 1767258000}
    as_responsible = _ids({"leads": {"responsible": [{**item, "old_status_id": 9}]}})
    assert as_responsible == _ids({"leads": {"update": [item]}}, "lead.responsible_changed")


def test_a_form_and_json_of_the_same_change_agree() -> None:
    form = "&".join(f"leads[status][0][{name}]={value}" for name, value in MOVED.items())
    assert [event.id for event in events_in(form)] == _ids({"leads": {"status": [MOVED]}})


@pytest.mark.parametrize(
    "other",
    [
        {**MOVED, "id": 8},
        {**MOVED, "status_id": 6},
        {**MOVED, "old_status_id": 3},
        {**MOVED, "pipeline_id": 4},
        {**MOVED, "updated_at": 1767258001},
    ],
)
def test_another_lead_stage_or_time_is_another_status_change(other: dict[str, Any]) -> None:
    assert _ids({"leads": {"status": [MOVED]}}) != _ids({"leads": {"status": [other]}})


def test_two_different_updates_within_one_second_are_two_events() -> None:
    plain = {"id": 7, "updated_at": 1767258000}
    first, second = ({**plain, "name": name} for name in ("Stove", "Stove, large"))
    assert _ids({"leads": {"update": [first]}}) != _ids({"leads": {"update": [second]}})


def test_the_order_of_keys_does_not_matter() -> None:
    turned = dict(reversed(MOVED.items()))
    assert json.dumps(turned) != json.dumps(MOVED)
    assert _ids({"leads": {"update": [MOVED]}}) == _ids({"leads": {"update": [turned]}})


def test_the_events_of_one_item_have_different_ids() -> None:
    assert len(set(_ids({"leads": {"update": [MOVED]}}))) == 2


def test_the_same_item_as_another_action_or_entity_is_another_event() -> None:
    item = {"id": 7, "updated_at": 1767258000}
    places = [("leads", "add"), ("leads", "update"), ("leads", "restore"), ("contacts", "add"), ("customers", "add")]
    assert len({_ids({key: {action: [item]}})[0] for key, action in places}) == len(places)


def test_without_a_time_the_delivery_and_the_place_in_it_decide() -> None:
    delivery = {"leads": {"delete": [{"id": 7}, {"id": 7}]}}
    first, again, other = _ids(delivery), _ids(delivery), _ids(delivery, delivery_id="d-2")

    assert first == again
    assert len(set(first) | set(other)) == 4
