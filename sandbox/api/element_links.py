"""Links of an element of a list, seen from the element (https://developers.kommo.com/reference/links)."""

from collections.abc import Iterator

from flask import Blueprint, Response

from sandbox import changes, elements, linking
from sandbox.api.answers import document, nothing, query, whole, world
from sandbox.directory import INTEGRATION_USER
from sandbox.filters import matches
from sandbox.problems import Fault, missing, not_a_choice, not_found
from sandbox.state import CARDS, Json, Record
from sandbox.validation import check, items_of

routes = Blueprint("element_links", __name__, url_prefix="/catalogs/<int:catalog_id>/elements/<int:element_id>")


@routes.get("/links")
def list_links(catalog_id: int, element_id: int) -> Response:
    """Answer the entities that an element is linked to; there are no pages."""
    with world().state.lock:
        _element(catalog_id, element_id)
        found = [_row(element_id, record, link) for record, link in linking.holders_of(world().state, element_id)]
    rows = [row for row in found if matches(row, query())]
    return whole("links", rows) if rows else nothing()


@routes.post("/link")
def link(catalog_id: int, element_id: int) -> Response:
    """Link an element to entities."""
    rows = []
    with world().state.lock:
        for record, item in _targets(catalog_id, element_id):
            linking.connect(world().state, record, item)
            world().announce(changes.touch(world().state, record, by=INTEGRATION_USER))
            rows.append(_row(element_id, record, next(one for one in record.elements if one["id"] == element_id)))
    return whole("links", rows)


@routes.post("/unlink")
def unlink(catalog_id: int, element_id: int) -> Response:
    """End links of an element."""
    with world().state.lock:
        for record, item in _targets(catalog_id, element_id):
            linking.disconnect(world().state, record, item)
            world().announce(changes.touch(world().state, record, by=INTEGRATION_USER))
    return nothing()


def _targets(catalog_id: int, element_id: int) -> list[tuple[Record, Json]]:
    """Return each entity that the request names, with the link as that entity sees it."""
    items = items_of(document())
    _element(catalog_id, element_id)
    check(items, _faults)
    seen = {"to_entity_type": "catalog_elements", "to_entity_id": element_id}
    return [(_record(item), {**seen, "metadata": item.get("metadata")}) for item in items]


def _faults(item: Json) -> Iterator[Fault]:
    yield from (missing(name) for name in ("to_entity_id", "to_entity_type") if item.get(name) is None)
    kind, entity_id = item.get("to_entity_type"), item.get("to_entity_id")
    if kind is not None and kind not in CARDS:
        yield not_a_choice("to_entity_type")
    elif kind is not None and isinstance(entity_id, int) and world().state.find(kind, entity_id) is None:
        yield not_a_choice("to_entity_id")


def _record(item: Json) -> Record:
    return world().state.records[item["to_entity_type"]][item["to_entity_id"]]


def _row(element_id: int, record: Record, link: Json) -> Json:
    metadata = {"quantity": link["quantity"], "catalog_id": link["catalog_id"]}
    told = {"entity_id": element_id, "entity_type": "catalog_elements"}
    return {**told, "to_entity_id": record.id, "to_entity_type": record.kind, "metadata": metadata}


def _element(catalog_id: int, element_id: int) -> None:
    if elements.find(world().state, catalog_id, element_id) is None:
        raise not_found("Element")
