"""Read the account's journal: what its entries and its lists say, as webhooks would have said it.

The journal knows what no list does: deletions, stages, owners, talks. Of a message it has the id and nothing else.
https://developers.kommo.com/reference (events)
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from kommo.hooks import scalars
from kommo.hooks.backfill.cards import KEYS, Json, card_of, note_on
from kommo.hooks.backfill.found import Found

#: Seconds up to which an entity counts as not touched since it was made.
SLACK: Final = 2
_CARDS: Final = ("lead", "contact", "company", "customer")

#: The types of entries that are asked for.
TYPES: Final = (
    *(f"{kind}_{what}" for kind in (*_CARDS, "task") for what in ("added", "deleted")),
    *("lead_restored", "contact_restored", "company_restored"),
    *("lead_status_changed", "entity_responsible_changed", "task_completed"),
    *("talk_created", "talk_closed", "incoming_chat_message", "outgoing_chat_message"),
)
#: Those that need nothing but what they say.
_ENOUGH: Final = ("deleted", "chat_message")


def looked_up(entry: Json) -> tuple[str, int] | None:
    """Name what an entry is about and has to be asked for: a kind of entity, or "talk", and its id; None for none."""
    what = str(entry.get("type"))
    if what.endswith(_ENOUGH):
        return None
    if what.startswith("talk_"):
        kind, number = "talk", scalars.whole(_after(entry, "talk").get("id"))
    else:
        kind, number = str(entry.get("entity_type")), scalars.whole(entry.get("entity_id"))
    return (kind, number) if number is not None and (kind in KEYS or kind == "talk") else None


def told_by(entry: Json, about: Json | None) -> Found | None:
    """Return what an entry tells; `about` is what `looked_up` named, None when there is no such thing any more.

    None for what no webhook tells, and for an addition or a return of what is gone again: its deletion is told.
    """
    what, seconds = str(entry.get("type")), scalars.epoch(entry.get("created_at"))
    if what not in TYPES or seconds is None:
        return None
    read = next(read for end, read in _READERS.items() if what.endswith(end))
    found = read(entry, about, seconds)
    return replace(found, place=str(entry.get("id"))) if found else None


def _added(entry: Json, about: Json | None, seconds: int) -> Found | None:
    return None if about is None else _card(entry, "add", about, seconds)


def _restored(entry: Json, about: Json | None, seconds: int) -> Found | None:
    return None if about is None else _card(entry, "restore", about, seconds)


def _deleted(entry: Json, _about: Json | None, seconds: int) -> Found | None:
    kind, number = str(entry.get("entity_type")), scalars.whole(entry.get("entity_id"))
    if kind not in KEYS or number is None:
        return None
    named = {"type": kind} if KEYS[kind] == "contacts" else {}
    return Found(KEYS[kind], "delete", {"id": number, **named}, seconds)


def _moved(entry: Json, about: Json | None, seconds: int) -> Found | None:
    new, old = _after(entry, "lead_status"), _before(entry, "lead_status")
    stages = {
        "status_id": new.get("id"),
        "pipeline_id": new.get("pipeline_id"),
        "old_status_id": old.get("id"),
        "old_pipeline_id": old.get("pipeline_id"),
    }
    return _card(entry, "status", about or {}, seconds, **stages)


def _handed_over(entry: Json, about: Json | None, seconds: int) -> Found | None:
    new, old = (side(entry, "responsible_user").get("id") for side in (_after, _before))
    return _card(entry, "responsible", about or {}, seconds, responsible_user_id=new, old_responsible_user_id=old)


def _completed(entry: Json, about: Json | None, seconds: int) -> Found | None:
    return _card(entry, "update", about or {}, seconds, status=True, action_close=True)


def _talk(entry: Json, about: Json | None, seconds: int) -> Found | None:
    number = scalars.whole(_after(entry, "talk").get("id"))
    if number is None:
        return None
    closes = str(entry.get("type")) == "talk_closed"
    known = about or {"entity_type": entry.get("entity_type"), "entity_id": entry.get("entity_id")}
    item = {
        **{name: value for name, value in known.items() if not name.startswith("_")},
        "talk_id": number,
        "is_in_work": not closes,
        "updated_at": seconds,
    }
    return Found("talk", "update" if closes else "add", item, seconds)


def _message(entry: Json, _about: Json | None, seconds: int) -> Found | None:
    message = _after(entry, "message")
    if scalars.uid(message.get("id")) is None:
        return None
    incoming = str(entry.get("type")).startswith("incoming")
    item = {
        **{name: message.get(name) for name in ("id", "talk_id", "origin")},
        "entity_type": entry.get("entity_type"),
        "entity_id": entry.get("entity_id"),
        "type": "incoming" if incoming else "outgoing",
        "created_at": seconds,
    }
    return Found("message" if incoming else "outgoing_message", "add", item, seconds)


#: By the end of an entry's type.
_READERS: Final[Mapping[str, Callable[[Json, Json | None, int], Found | None]]] = {
    "_added": _added,
    "_restored": _restored,
    "_deleted": _deleted,
    "_status_changed": _moved,
    "_responsible_changed": _handed_over,
    "task_completed": _completed,
    "talk_created": _talk,
    "talk_closed": _talk,
    "_chat_message": _message,
}


def told_by_change(kind: str, entity: Json, *, since: int) -> list[Found]:
    """Return what an entity of a list tells: that it was changed, and, when made in the gap, that it was added."""
    created, updated = (scalars.epoch(entity.get(name)) for name in ("created_at", "updated_at"))
    if updated is None:
        return []
    found = []
    if created is not None and created >= since:
        found.append(_at(kind, "add", entity, created))
    if created is None or updated > created + SLACK:
        found.append(_at(kind, "update", entity, updated))
    return found


def told_by_note(kind: str, note: Json, *, since: int) -> Found | None:
    """Return what a note tells when it was written in the gap; of a later change no webhook tells."""
    created = scalars.epoch(note.get("created_at"))
    if created is None or created < since or scalars.whole(note.get("entity_id")) is None:
        return None
    return Found(KEYS[kind], "note", note_on(kind, note), created)


def _card(entry: Json, action: str, about: Json, seconds: int, **changed: Any) -> Found | None:
    kind, number = str(entry.get("entity_type")), scalars.whole(entry.get("entity_id"))
    if kind not in KEYS or number is None:
        return None
    known = about or {"updated_by": entry.get("created_by")}
    return _at(kind, action, {**known, "id": number}, seconds, **changed)


def _at(kind: str, action: str, entity: Json, seconds: int, **changed: Any) -> Found:
    """Show an entity as it is now, at the time of one change: what it was then, nobody knows any more."""
    item = {**card_of(kind, {**entity, "updated_at": seconds}), **changed}
    return Found(KEYS[kind], action, item, seconds)


def _after(entry: Json, name: str) -> Json:
    return _said(entry.get("value_after"), name)


def _before(entry: Json, name: str) -> Json:
    return _said(entry.get("value_before"), name)


def _said(values: object, name: str) -> Json:
    """Find one value of an entry: each is an object in a list, under the name of what it is."""
    for value in values if isinstance(values, list) else []:
        inner = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(inner, Mapping):
            return inner
    return {}
