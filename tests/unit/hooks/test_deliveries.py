import json

import pytest

from kommo.hooks.accounts import accounts_named
from kommo.hooks.events import Event
from kommo.hooks.normalise import has_timeless_item
from tests.unit.hooks.deliveries import ACCOUNT, CASES, body_of, events_in, expected_of


def _comparable(event: Event) -> dict[str, object]:
    told = event.as_dict()
    parent = event.parent
    return {
        **{name: told[name] for name in ("type", "entity_type", "entity_id", "occurred_at", "previous")},
        "parent": list(parent) if parent else None,
    }


@pytest.mark.parametrize("case", CASES)
def test_each_recorded_delivery_gives_its_events(case: str) -> None:
    events, expected = events_in(body_of(case)), expected_of(case)

    entities = [wanted.pop("entity") for wanted in expected]
    assert [_comparable(event) for event in events] == expected
    for event, wanted in zip(events, entities, strict=True):
        if wanted is None:
            continue
        name = "note" if event.type.endswith(".note_added") else event.entity_type
        typed = event.as_dict()[name]
        assert {key: typed[key] for key in wanted} == wanted


@pytest.mark.parametrize("case", CASES)
def test_each_event_survives_being_stored_as_json(case: str) -> None:
    for event in events_in(body_of(case)):
        again = Event.from_record(json.loads(json.dumps(event.to_record())))
        assert again == event
        assert again.as_dict() == event.as_dict()
        assert json.loads(json.dumps(event.as_dict())) == event.as_dict()


@pytest.mark.parametrize("case", CASES)
def test_a_repeated_delivery_gives_the_same_ids_exactly_where_every_item_carries_a_time(case: str) -> None:
    body = body_of(case)
    first, again = ([event.id for event in events_in(body, delivery_id=name)] for name in ("d-1", "d-2"))

    assert (first == again) is not has_timeless_item(body, None)
    assert len(set(first)) == len(first)


@pytest.mark.parametrize("case", CASES)
def test_no_recorded_delivery_names_another_account(case: str) -> None:
    assert accounts_named(body_of(case)) <= {ACCOUNT}
