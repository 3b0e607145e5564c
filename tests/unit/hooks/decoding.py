"""Take a body the whole way from bytes to everything that a handler can ask of its events."""

import json

from kommo.errors import DecodeError
from kommo.hooks.accounts import MAX_ACCOUNTS, accounts_named
from kommo.hooks.events import ENTITY_TYPES, Event
from kommo.hooks.normalise import has_timeless_item, normalise
from tests.unit.hooks.deliveries import ACCOUNT


def go_the_whole_way(body: bytes, content_type: str | None) -> list[Event]:
    """Decode, normalise and read everything; whatever is wrong with a body is a DecodeError, and gives no event."""
    assert len(accounts_named(body)) <= MAX_ACCOUNTS
    has_timeless_item(body, content_type)
    try:
        events = normalise(body, content_type=content_type, account_id=ACCOUNT, delivery_id="d-1")
    except DecodeError as error:
        assert error.reason
        return []
    for event in events:
        _read(event)
    return events


def _read(event: Event) -> None:
    assert hash(event) == hash(event)
    assert len(event.lane_entity) == 2
    typed = [getattr(event, name) for name in ENTITY_TYPES if hasattr(event, name)]
    assert all(one is None or one is event.entity for one in typed)
    for fields in filter(None, (getattr(event.entity, "custom_fields", None),)):
        for field in fields:
            assert (field.value, field.all, field.enum_id) is not None
            assert fields.get(field.id or field.name or "", field) is not None
    told = event.as_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) is not None
    record = json.dumps(event.to_record(), allow_nan=False).encode()
    again = Event.from_record(json.loads(record))
    assert again == event
    assert again.lane_entity == event.lane_entity
