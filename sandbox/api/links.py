"""Links between entities (https://developers.kommo.com/reference/links)."""

from flask import Blueprint, Response

from sandbox import changes, history, linking
from sandbox.api.answers import document, nothing, query, whole, world
from sandbox.directory import INTEGRATION_USER
from sandbox.filters import matches
from sandbox.problems import Fault, missing, not_a_choice, not_found
from sandbox.state import Json, Record
from sandbox.validation import check, items_of

routes = Blueprint("links", __name__, url_prefix="/<any(leads, contacts, companies, customers):kind>")


@routes.get("/<int:entity_id>/links")
def list_links(kind: str, entity_id: int) -> Response:
    """Answer the links of an entity; there are no pages."""
    with world().state.lock:
        record = world().state.find(kind, entity_id)
        return _answered(kind, [record] if record else [])


@routes.get("/links")
def list_all_links(kind: str) -> Response:
    """Answer the links of the entities that `filter[entity_id]` names."""
    with world().state.lock:
        asked = [(name, text) for name, text in query() if name.startswith("filter[entity_id]")]
        wanted = [one for one in world().state.visible(kind) if matches({"entity_id": one.id}, asked)]
        return _answered(kind, wanted)


def _answered(kind: str, records: list[Record]) -> Response:
    state = world().state
    rows = [
        {"entity_id": record.id, "entity_type": kind, **link}
        for record in records
        for link in linking.links_of(state, record)
    ]
    asked = [(name, text) for name, text in query() if name.startswith("filter[to_")]
    kept = [row for row in rows if matches({**row, "to_catalog_id": _catalog(row)}, asked)]
    return whole("links", kept) if kept else nothing()


def _catalog(row: Json) -> int | None:
    return (row["metadata"] or {}).get("catalog_id")


@routes.post("/<int:entity_id>/link")
@routes.post("/link")
def link(kind: str, entity_id: int | None = None) -> Response:
    """Make links; without an entity in the path each item names its `entity_id`."""
    items = _checked(kind, entity_id)
    state = world().state
    with state.lock:
        for item in items:
            linking.connect(state, state.records[kind][item["entity_id"]], item)
        _tell(kind, items, "entity_linked")
    return whole("links", [_row(kind, item) for item in items])


@routes.post("/<int:entity_id>/unlink")
@routes.post("/unlink")
def unlink(kind: str, entity_id: int | None = None) -> Response:
    """End links."""
    items = _checked(kind, entity_id)
    state = world().state
    with state.lock:
        for item in items:
            linking.disconnect(state, state.records[kind][item["entity_id"]], item)
        _tell(kind, items, "entity_unlinked")
    return nothing()


def _checked(kind: str, entity_id: int | None) -> list[Json]:
    own = {} if entity_id is None else {"entity_id": entity_id}
    items = [{**item, **own} for item in items_of(document())]
    state = world().state
    with state.lock:
        if entity_id is not None and state.find(kind, entity_id) is None:
            raise not_found("Entity")
        check(items, lambda item: (*_faults(kind, item), *linking.faults(state, kind, item)))
    return items


def _faults(kind: str, item: Json) -> tuple[Fault, ...]:
    entity_id = item.get("entity_id")
    if entity_id is None:
        return (missing("entity_id"),)
    known = isinstance(entity_id, int) and world().state.find(kind, entity_id) is not None
    return () if known else (not_a_choice("entity_id"),)


def _tell(kind: str, items: list[Json], event: str) -> None:
    state = world().state
    for item in items:
        about = {"link": {"entity": {"type": item["to_entity_type"], "id": item["to_entity_id"]}}}
        history.write(state, kind, item["entity_id"], event, by=INTEGRATION_USER, after=about)
    for entity_id in dict.fromkeys(item["entity_id"] for item in items):
        world().announce(changes.touch(state, state.records[kind][entity_id], by=INTEGRATION_USER))


def _row(kind: str, item: Json) -> Json:
    told = {name: item.get(name) for name in ("entity_id", "to_entity_id", "to_entity_type", "metadata")}
    return {**told, "entity_type": kind}
