"""Notes: adding and changing them. Only a new note is told to webhooks; the service has no event for others."""

from collections.abc import Iterator

from sandbox import history
from sandbox.notices import Notice, notice
from sandbox.payloads import tasks
from sandbox.state import SINGULAR, Json, State


def notes_of(state: State, kind: str, entity_id: int | None = None) -> Iterator[Json]:
    """Yield the notes on entities of a kind, or on one of them."""
    return (
        note
        for note in state.notes.values()
        if note["kind"] == kind and (entity_id is None or note["entity_id"] == entity_id)
    )


def find(state: State, kind: str, note_id: object, entity_id: int | None = None) -> Json | None:
    """Return a note on an entity of that kind."""
    note = state.notes.get(note_id) if isinstance(note_id, int) else None
    if note is None or note["kind"] != kind or entity_id not in (None, note["entity_id"]):
        return None
    return note


def add(state: State, kind: str, item: Json, *, by: int) -> tuple[Json, list[Notice]]:
    """Add a checked note. One with a file is told twice, as the vendor's page says."""
    now = state.now()
    note = {
        "id": state.next_id("notes"),
        "entity_id": item["entity_id"],
        "created_by": _given(item, "created_by", by),
        "updated_by": by,
        "created_at": _given(item, "created_at", now),
        "updated_at": now,
        "responsible_user_id": _given(item, "responsible_user_id", by),
        "group_id": 0,
        "note_type": item["note_type"],
        "params": dict(item.get("params") or {}),
        "kind": kind,
    }
    state.notes[note["id"]] = note
    if note["note_type"] == "common":
        history.write(state, kind, note["entity_id"], "common_note_added", by=by, after={"note": {"id": note["id"]}})
    entity = kind if kind in ("leads", "customers") else "contacts"
    told = notice(entity, "note", tasks.note(state, note, kind), f"note_{SINGULAR[kind]}")
    return note, [told, told] if note["note_type"] == "attachment" else [told]


def _given(item: Json, name: str, otherwise: int) -> int:
    """Return what an item says, a null being as good as nothing."""
    return otherwise if item.get(name) is None else int(item[name])


def change(state: State, note: Json, item: Json, *, by: int) -> None:
    """Change the text or other parameters of a note."""
    note["params"].update(item.get("params") or {})
    note.update(updated_by=by, updated_at=state.now())
