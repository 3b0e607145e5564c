"""The names of events and entities, and Kommo's codes for them.

https://developers.kommo.com/docs/webhooks-general · https://developers.kommo.com/docs/webhooks-dp
"""

from collections.abc import Mapping

from kommo.hooks import scalars

_CARD_ACTIONS = ("added", "updated", "deleted", "restored", "responsible_changed", "note_added")
_PIPELINE_ACTIONS = ("mail_received", "call_received", "chat_received", "site_visited", "period_elapsed")

_ACTIONS: Mapping[str, tuple[str, ...]] = {
    "lead": (*_CARD_ACTIONS, "status_changed", *_PIPELINE_ACTIONS),
    "contact": _CARD_ACTIONS,
    "company": _CARD_ACTIONS,
    "customer": _CARD_ACTIONS,
    "task": ("added", "updated", "completed", "deleted", "responsible_changed"),
    "note": ("updated", "deleted"),
    "message": ("received", "sent"),
    "talk": ("added", "updated", "closed"),
    "unsorted": ("added", "updated", "accepted", "declined"),
    "catalog_element": ("added", "updated", "deleted"),
    "account": ("disconnected",),
}

#: The first part of an event's type.
ENTITY_TYPES = frozenset(_ACTIONS)
#: Every type of event that is known; any other begins with `unknown.`.
EVENT_TYPES = frozenset(f"{entity}.{action}" for entity, actions in _ACTIONS.items() for action in actions)

#: Top-level keys of a delivery; the singular ones and `companies`, `tasks`, `notes` are those of other descriptions.
ENTITY_OF_KEY: Mapping[str, str] = {
    "leads": "lead",
    "lead": "lead",
    "contacts": "contact",
    "contact": "contact",
    "companies": "company",
    "company": "company",
    "customers": "customer",
    "customer": "customer",
    "task": "task",
    "tasks": "task",
    "note": "note",
    "notes": "note",
    "message": "message",
    "messages": "message",
    "outgoing_message": "message",
    "talk": "talk",
    "talks": "talk",
    "unsorted": "unsorted",
    "catalogs": "catalog_element",
    "catalog_elements": "catalog_element",
    # Of our own making only: see `OWN_DELIVERY`.
    "installation": "account",
}

#: How the id of a delivery begins that the receiver made itself. Those of the doors are hexadecimal digits, so that
#: nobody outside can report what only the receiver may.
OWN_DELIVERY = "own-"
OWN_TYPES = frozenset(("account.disconnected",))

#: Kommo's actions, in the past.
PAST_OF_ACTION: Mapping[str, str] = {
    "add": "added",
    "update": "updated",
    "delete": "deleted",
    "restore": "restored",
    "status": "status_changed",
    "responsible": "responsible_changed",
    "note": "note_added",
    "complete": "completed",
    "accept": "accepted",
    "decline": "declined",
    "disconnect": "disconnected",
    "mail_in": "mail_received",
    "call_in": "call_received",
    "chat": "chat_received",
    "site_visit": "site_visited",
    "period": "period_elapsed",
}

#: Entities that others belong to, by `element_type`.
_ENTITY_OF_CODE: Mapping[int, str] = {1: "contact", 2: "lead", 3: "company", 12: "customer"}
_ENTITY_OF_NAME: Mapping[str, str] = {
    name: entity for name, entity in ENTITY_OF_KEY.items() if entity in _ENTITY_OF_CODE.values()
}

#: Task types that every account has.
TASK_TYPES: Mapping[int, str] = {1: "follow_up", 2: "meeting"}

#: Note types whose number is documented.
NOTE_TYPES: Mapping[int, str] = {
    4: "common",
    5: "attachment",
    10: "call_in",
    11: "call_out",
    25: "service_message",
    102: "sms_in",
    103: "sms_out",
}
NOTE_TYPE_NAMES = frozenset((*NOTE_TYPES.values(), "mail_message", "extended_service_message", "targeted_message"))
NOTE_TYPE_IDS: Mapping[str, int] = {name: number for number, name in NOTE_TYPES.items()}
CALL_NOTES = frozenset(("call_in", "call_out"))


def entity_named(value: object) -> str | None:
    """Return the entity type of a code ("2") or a name ("lead", "leads")."""
    code = scalars.whole(value)
    if code is not None:
        return _ENTITY_OF_CODE.get(code)
    return _ENTITY_OF_NAME.get(value.lower()) if isinstance(value, str) else None
