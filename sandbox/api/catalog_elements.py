"""The elements of a list (https://developers.kommo.com/reference/lists)."""

from collections.abc import Iterator

from flask import Blueprint, Response, request

from sandbox import elements
from sandbox.api.answers import (
    definitions,
    document,
    hal,
    listing,
    one_or_nothing,
    query,
    single,
    world,
    written,
)
from sandbox.directory import INTEGRATION_USER
from sandbox.filters import matches
from sandbox.listing import ordered, page_of
from sandbox.problems import Fault, not_a_choice, not_found
from sandbox.state import Json
from sandbox.validation import RequestId, check, echo, items_of, request_id

routes = Blueprint("elements", __name__, url_prefix="/catalogs/<int:catalog_id>/elements")


@routes.get("")
def list_elements(catalog_id: int) -> Response:
    """Answer a page of the elements of a list."""
    text = request.args.get("query", "").casefold()
    with world().state.lock:
        own = [one for one in world().state.catalog_elements.values() if one["catalog_id"] == catalog_id]
        found = [one for one in own if text in one["name"].casefold() and matches(one, query())]
        page = page_of(ordered(found, query(), lambda one: one), query())
        return listing(page, "elements", [definitions().element(one) for one in page.rows])


@routes.get("/<int:element_id>")
def get_element(catalog_id: int, element_id: int) -> Response:
    """Answer one element."""
    with world().state.lock:
        found = elements.find(world().state, catalog_id, element_id)
        return one_or_nothing(definitions().element(found) if found else None)


@routes.post("")
def create_elements(catalog_id: int) -> Response:
    """Add elements to a list."""
    items = items_of(document())
    state = world().state
    with state.lock:
        if catalog_id not in state.catalogs:
            raise not_found("List")
        check(items, lambda item: elements.creation_faults(state, catalog_id, item))
        rows = [_add_element(catalog_id, item, request_id(item, index)) for index, item in enumerate(items)]
    return written("elements", rows)


def _add_element(catalog_id: int, item: Json, number: RequestId) -> Json:
    held, notices = elements.create(world().state, catalog_id, item, by=INTEGRATION_USER)
    world().announce(notices)
    return {**definitions().element(held), "request_id": number}


@routes.patch("")
def update_elements(catalog_id: int) -> Response:
    """Change elements, each named by its `id`."""
    return written("elements", _update_all(catalog_id, items_of(document())))


@routes.patch("/<int:element_id>")
def update_element(catalog_id: int, element_id: int) -> Response:
    """Change one element."""
    item = {**single(), "id": element_id}
    if elements.find(world().state, catalog_id, element_id) is None:
        raise not_found("Element")
    return hal(_update_all(catalog_id, [item])[0])


def _update_all(catalog_id: int, items: list[Json]) -> list[Json]:
    with world().state.lock:
        check(items, lambda item: _element_faults(catalog_id, item))
        return [_update(item) for item in items]


def _element_faults(catalog_id: int, item: Json) -> Iterator[Fault]:
    if elements.find(world().state, catalog_id, item.get("id")) is None:
        yield not_a_choice("id")
    yield from elements.faults(world().state, catalog_id, item)


def _update(item: Json) -> Json:
    held = world().state.catalog_elements[item["id"]]
    world().announce(elements.change(world().state, held, item, by=INTEGRATION_USER))
    return {**definitions().element(held), **echo(item)}
