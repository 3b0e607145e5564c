"""From a stored delivery to the steps it makes: its events, and the handlers that want each. Does no I/O."""

import json

from kommo.hooks.events import Event
from kommo.hooks.normalise import normalise
from kommo.router import Handler, Router
from kommo.store.inbox import Delivery, Step
from kommo.store.lanes import Lanes


def events_of(delivery: Delivery) -> list[Event]:
    """Give the events of a delivery; raises DecodeError for bytes that cannot be decoded."""
    return normalise(
        delivery.body,
        content_type=delivery.content_type,
        account_id=delivery.account_id,
        delivery_id=delivery.id,
    )


def handlers_for(router: Router, event: Event) -> list[Handler]:
    """Give the handlers that an event goes to: of those that want it, an echo only to those that want echoes."""
    return [handler for handler in router.matching(event) if handler.echoes or not event.is_echo]


def steps_of(router: Router, event: Event, stream_id: str) -> list[Step]:
    """Make one step per handler that an event goes to; the event itself is written once and shared."""
    record = json.dumps(event.to_record(), separators=(",", ":"), ensure_ascii=False)
    return [
        Step(
            lane_of(event, handler.name),
            f'{{"handler":{json.dumps(handler.name)},"stream":"{stream_id}","event":{record}}}'.encode(),
        )
        for handler in handlers_for(router, event)
    ]


def lane_of(event: Event, handler: str) -> str:
    """Name the lane in which a handler gets an event."""
    return Lanes.name(*event.lane_entity, handler)
