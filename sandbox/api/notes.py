"""Notes on leads, contacts and companies (https://developers.kommo.com/reference/notes)."""

from collections.abc import Iterator

from flask import Blueprint, Response

from sandbox import noting
from sandbox.api.answers import document, hal, listing, one_or_nothing, query, shapes, single, world, written
from sandbox.directory import INTEGRATION_USER
from sandbox.filters import matches
from sandbox.listing import ordered, page_of
from sandbox.note_rules import note_faults, note_text_faults
from sandbox.problems import Fault, not_a_choice, not_found
from sandbox.state import Json
from sandbox.validation import RequestId, check, echo, items_of, request_id

routes = Blueprint("notes", __name__, url_prefix="/<any(leads, contacts, companies, customers):kind>")


@routes.get("/notes")
@routes.get("/<int:entity_id>/notes")
def list_notes(kind: str, entity_id: int | None = None) -> Response:
    """Answer a page of notes, of one entity or of all."""
    with world().state.lock:
        found = [note for note in noting.notes_of(world().state, kind, entity_id) if matches(note, query())]
        page = page_of(ordered(found, query(), lambda note: note), query())
        rows = [shapes().note(note, kind) for note in page.rows]
    return listing(page, "notes", rows)


@routes.get("/notes/<int:note_id>")
@routes.get("/<int:entity_id>/notes/<int:note_id>")
def get_note(kind: str, note_id: int, entity_id: int | None = None) -> Response:
    """Answer one note."""
    with world().state.lock:
        note = noting.find(world().state, kind, note_id, entity_id)
        return one_or_nothing(shapes().note(note, kind) if note else None)


@routes.post("/notes")
@routes.post("/<int:entity_id>/notes")
def create_notes(kind: str, entity_id: int | None = None) -> Response:
    """Add notes; without an entity in the path each item names its `entity_id`."""
    own = {} if entity_id is None else {"entity_id": entity_id}
    items = [{**item, **own} for item in items_of(document())]
    state = world().state
    with state.lock:
        check(items, lambda item: note_faults(state, kind, item))
        rows = [_create(kind, item, request_id(item, index)) for index, item in enumerate(items)]
    return written("notes", rows)


def _create(kind: str, item: Json, number: RequestId) -> Json:
    note, notices = noting.add(world().state, kind, item, by=INTEGRATION_USER)
    world().announce(notices)
    links = shapes().links(f"{kind}/{note['entity_id']}/notes/{note['id']}")
    return {"id": note["id"], "entity_id": note["entity_id"], "request_id": number, "_links": links}


@routes.patch("/notes")
@routes.patch("/<int:entity_id>/notes")
def update_notes(kind: str, entity_id: int | None = None) -> Response:
    """Change notes, each named by its `id`."""
    return written("notes", _update_all(kind, items_of(document()), entity_id))


@routes.patch("/notes/<int:note_id>")
@routes.patch("/<int:entity_id>/notes/<int:note_id>")
def update_note(kind: str, note_id: int, entity_id: int | None = None) -> Response:
    """Change one note."""
    if noting.find(world().state, kind, note_id, entity_id) is None:
        raise not_found("Note")
    return hal(_update_all(kind, [{**single(), "id": note_id}], entity_id)[0])


def _update_all(kind: str, items: list[Json], entity_id: int | None) -> list[Json]:
    state = world().state
    with state.lock:
        check(items, lambda item: _faults(kind, item, entity_id))
        return [_update(state.notes[item["id"]], item, kind) for item in items]


def _faults(kind: str, item: Json, entity_id: int | None) -> Iterator[Fault]:
    if noting.find(world().state, kind, item.get("id"), entity_id) is None:
        yield not_a_choice("id")
    yield from note_text_faults(item)


def _update(note: Json, item: Json, kind: str) -> Json:
    noting.change(world().state, note, item, by=INTEGRATION_USER)
    shown = shapes().note(note, kind)
    return {**{name: shown[name] for name in ("id", "entity_id", "updated_at", "_links")}, **echo(item)}
