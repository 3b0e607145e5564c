"""Name what an item reports: the type of its entity and the types of its events.

https://developers.kommo.com/docs/webhooks-general · https://developers.kommo.com/docs/webhooks-dp
"""

import re
from collections.abc import Mapping
from typing import Any

from kommo.hooks import kinds, scalars
from kommo.hooks.items import Item

#: Characters that a key or an action gives to the name of an unknown event.
_MAX_NAME = 40
_NOT_A_NAME = re.compile("[^a-z0-9_]+")
_HAS_STATUS = ("lead",)
_HAS_RESPONSIBLE = ("lead", "contact", "company", "customer", "task")


def classify(item: Item) -> tuple[str, tuple[str, ...]]:
    """Return the type of an item's entity and the types of its events, at least one."""
    entity = None if item.is_bare else _entity(item)
    if entity is not None:
        types = tuple(f"{entity}.{past}" for past in _pasts(entity, item))
        if kinds.EVENT_TYPES.issuperset(types):
            return entity, types
    key = _name(item.key)
    return key, (f"unknown.{key}_{_name(item.action)}" if item.action else f"unknown.{key}",)


def entity_id(entity: str, event_type: str, body: Mapping[str, Any]) -> int | str | None:
    """Return the id of an event's entity from the item's fields; of the parent for a note that was added."""
    if event_type.endswith(".note_added"):
        parent_id = scalars.whole(body.get("element_id"))
        return scalars.whole(body.get("entity_id")) if parent_id is None else parent_id
    if entity == "message":
        return scalars.uid(body.get("id"))
    if entity == "unsorted":
        return scalars.uid(body.get("uid"))
    if entity == "talk":
        talk_id = scalars.whole(body.get("talk_id"))
        return scalars.whole(body.get("id")) if talk_id is None else talk_id
    return scalars.whole(body.get("id")) if entity in kinds.ENTITY_TYPES else scalars.any_id(body.get("id"))


def parent_of(body: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return the lead, contact, company or customer that a task, note, message or talk belongs to."""
    entity = kinds.entity_named(body.get("element_type")) or kinds.entity_named(body.get("entity_type"))
    for name in ("element_id", "entity_id"):
        number = scalars.whole(body.get(name))
        if entity is not None and number is not None:
            return entity, number
    contact_id = scalars.whole(body.get("contact_id"))
    return None if contact_id is None else ("contact", contact_id)


def _entity(item: Item) -> str | None:
    entity = kinds.ENTITY_OF_KEY.get(item.key)
    if entity == "contact":
        return _contact_or_company(item)
    if entity == "note" and item.action == "add":
        parent = parent_of(item.body)
        return parent[0] if parent else entity
    return entity


def _contact_or_company(item: Item) -> str:
    kind = item.raw.get("type")
    if kind not in ("contact", "company") and item.action == "note":
        kind = kinds.entity_named(item.body.get("element_type"))
    return "company" if kind == "company" else "contact"


def _pasts(entity: str, item: Item) -> list[str]:
    past = kinds.PAST_OF_ACTION.get(item.action, "")
    if entity == "message" and past == "added":
        return [_message_past(item)]
    if entity == "unsorted" and past == "deleted":
        return [_verdict(item.raw)]
    if past == "updated":
        return _update_pasts(entity, item.raw)
    if past == "added" and kinds.ENTITY_OF_KEY[item.key] == "note":
        return ["note_added"]
    return [past]


def _message_past(item: Item) -> str:
    return "sent" if item.key == "outgoing_message" or item.raw.get("type") == "outgoing" else "received"


def _verdict(raw: Mapping[str, Any]) -> str:
    """Read what became of an incoming lead: it is deleted from the list by being accepted or declined."""
    action = raw.get("action")
    if action not in ("accept", "decline"):
        action = next((verdict for verdict in ("accept", "decline") if f"{verdict}_result" in raw), "delete")
    return kinds.PAST_OF_ACTION[action]


def _update_pasts(entity: str, raw: Mapping[str, Any]) -> list[str]:
    pasts = ["updated"]
    # An edit of a task that is already finished has status 1 too; only finishing it closes.
    if entity == "task" and scalars.flag(raw.get("status")) and scalars.flag(raw.get("action_close")):
        pasts = ["completed"]
    if entity == "talk" and scalars.flag(raw.get("is_in_work")) is False:
        pasts = ["closed"]
    if entity in _HAS_STATUS and (_changed(raw, "status_id") or _changed(raw, "pipeline_id")):
        pasts.append("status_changed")
    if entity in _HAS_RESPONSIBLE and _changed(raw, "responsible_user_id"):
        pasts.append("responsible_changed")
    return pasts


def _changed(raw: Mapping[str, Any], name: str) -> bool:
    # Kommo also sends old values that equal the present ones.
    old = scalars.whole(raw.get(f"old_{name}"))
    return old is not None and old != scalars.whole(raw.get(name))


def _name(key: str) -> str:
    return _NOT_A_NAME.sub("_", key[:_MAX_NAME].lower())[:_MAX_NAME].strip("_") or "unknown"
