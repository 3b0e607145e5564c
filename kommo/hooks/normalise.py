"""Turn the body of a delivery into events. Pure: bytes in, events out, or a DecodeError."""

from collections.abc import Iterator

from kommo.errors import AccountMismatch, DecodeError
from kommo.hooks import kinds, scalars
from kommo.hooks.body import decode_body
from kommo.hooks.classify import classify, entity_id
from kommo.hooks.events import Event
from kommo.hooks.identity import event_id
from kommo.hooks.items import Item, accounts_in, items_in

__all__ = ["LOOKED_INTO_BYTES", "LOOKED_INTO_PARTS", "decode_body", "has_timeless_item", "normalise"]

#: Bytes, and brackets, braces and commas, of a body that is decoded only to be told from its repetition: within a
#: request that is to be answered in 2 s, and costs at most a tenth of one.
LOOKED_INTO_BYTES = 512 * 1024
LOOKED_INTO_PARTS = 20_000
_STRUCTURE = (b"[", b"%5B", b"%5b", b"{", b",", b"&")


def normalise(body: bytes, *, content_type: str | None, account_id: int, delivery_id: str) -> list[Event]:
    """Return the events of a delivery in the order in which they came; none if it reports nothing.

    `account_id` is the account whose proof came with the delivery. Raises DecodeError (or BodyTooLarge, TooManyFields,
    TooDeep) for a body that cannot be decoded and AccountMismatch for one that names another account. Whatever a
    decoded body holds, nothing else is raised: what is not known becomes an `unknown.*` event.
    """
    delivery = decode_body(body, content_type)
    items = list(items_in(delivery))
    others = accounts_in(delivery, items) - {account_id}
    if others:
        raise AccountMismatch(f"The body names account {min(others)}, the proof was that of {account_id}")
    return [
        event
        for position, item in enumerate(items)
        for event in _events(item, account_id=account_id, delivery_id=delivery_id, position=position)
    ]


def has_timeless_item(body: bytes, content_type: str | None) -> bool:
    """Tell whether any item carries no time, so that a repetition of the body may be a second occurrence.

    True as well for a body that cannot be decoded, or that is too much to be looked into while somebody waits: of that,
    nothing is known.
    """
    if len(body) > LOOKED_INTO_BYTES or sum(map(body.count, _STRUCTURE)) > LOOKED_INTO_PARTS:
        return True
    try:
        delivery = decode_body(body, content_type)
    except DecodeError:
        return True
    return any(item.seconds is None for item in items_in(delivery))


def _events(item: Item, *, account_id: int, delivery_id: str, position: int) -> Iterator[Event]:
    entity, types = classify(item)
    if kinds.OWN_TYPES.intersection(types) and not delivery_id.startswith(kinds.OWN_DELIVERY):
        entity, types = item.key, (f"unknown.{item.key}_{item.action}",)
    body, seconds = item.body, item.seconds
    for event_type in types:
        number = entity_id(entity, event_type, body)
        yield Event(
            id=event_id(
                account_id=account_id,
                entity=(entity, number),
                event_type=event_type,
                body=body,
                seconds=seconds,
                delivery_id=delivery_id,
                position=position,
            ),
            type=event_type,
            account_id=account_id,
            entity_type=entity,
            entity_id=number,
            occurred_at=scalars.at(seconds),
            raw=item.raw,
            delivery_id=delivery_id,
        )
