"""Definitions of custom fields, of entities and of lists (https://developers.kommo.com/reference/custom-fields)."""

from flask import Blueprint, Response

from sandbox import field_definitions
from sandbox.api.answers import (
    counted,
    definitions,
    document,
    hal,
    nothing,
    one_or_nothing,
    query,
    single,
    world,
    written,
)
from sandbox.filters import matches
from sandbox.listing import page_of
from sandbox.problems import not_a_choice, not_found
from sandbox.state import Json
from sandbox.validation import check, echo, items_of, request_id

routes = Blueprint("custom_fields", __name__)

_CARDS = "/<any(leads, contacts, companies, customers):kind>/custom_fields"
_LISTS = "/catalogs/<int:catalog_id>/custom_fields"


def _key(kind: str, catalog_id: int) -> str:
    """Return under which name the definitions are kept; raises ApiError 404 for a list that is not there."""
    if catalog_id and catalog_id not in world().state.catalogs:
        raise not_found("List")
    return f"catalogs/{catalog_id}" if catalog_id else kind


@routes.get(_CARDS)
@routes.get(_LISTS)
def list_fields(kind: str = "", catalog_id: int = 0) -> Response:
    """Answer a page of definitions, with totals."""
    key = _key(kind, catalog_id)
    fields = [one for one in world().state.fields(key) if matches({"id": one.id, "type": one.type}, query())]
    page = page_of(fields, query())
    return counted(page, "custom_fields", [definitions().custom_field(one, key) for one in page.rows], len(fields))


@routes.get(f"{_CARDS}/<int:field_id>")
@routes.get(f"{_LISTS}/<int:field_id>")
def get_field(field_id: int, kind: str = "", catalog_id: int = 0) -> Response:
    """Answer one definition."""
    key = _key(kind, catalog_id)
    found = next((one for one in world().state.fields(key) if one.id == field_id), None)
    return one_or_nothing(definitions().custom_field(found, key) if found else None)


@routes.post(_CARDS)
@routes.post(_LISTS)
def create_fields(kind: str = "", catalog_id: int = 0) -> Response:
    """Add definitions; 201, unlike other creations."""
    items, key = items_of(document()), _key(kind, catalog_id)
    with world().state.lock:
        check(items, field_definitions.creation_faults)
        made = [
            (field_definitions.new(world().state, item), request_id(item, index)) for index, item in enumerate(items)
        ]
        world().state.fields(key).extend(field for field, _ in made)
        rows = [{**definitions().custom_field(field, key), "request_id": number} for field, number in made]
    answer = written("custom_fields", rows)
    answer.status_code = 201
    return answer


@routes.patch(_CARDS)
@routes.patch(_LISTS)
def update_fields(kind: str = "", catalog_id: int = 0) -> Response:
    """Change definitions, each named by its `id`."""
    return written("custom_fields", _update_all(_key(kind, catalog_id), items_of(document())))


@routes.patch(f"{_CARDS}/<int:field_id>")
@routes.patch(f"{_LISTS}/<int:field_id>")
def update_field(field_id: int, kind: str = "", catalog_id: int = 0) -> Response:
    """Change one definition."""
    key, item = _key(kind, catalog_id), {**single(), "id": field_id}
    _place(key, field_id)
    return hal(_update_all(key, [item])[0])


def _update_all(key: str, items: list[Json]) -> list[Json]:
    with world().state.lock:
        known = {field.id for field in world().state.fields(key)}
        check(
            items,
            lambda item: (*field_definitions.faults(item), *([] if item.get("id") in known else [not_a_choice("id")])),
        )
        return [_update(key, item) for item in items]


def _update(key: str, item: Json) -> Json:
    fields, place = world().state.fields(key), _place(key, item["id"])
    fields[place] = field_definitions.changed(world().state, fields[place], item)
    return {**definitions().custom_field(fields[place], key), **echo(item)}


@routes.delete(f"{_CARDS}/<int:field_id>")
@routes.delete(f"{_LISTS}/<int:field_id>")
def delete_field(field_id: int, kind: str = "", catalog_id: int = 0) -> Response:
    """Delete one definition."""
    key = _key(kind, catalog_id)
    with world().state.lock:
        del world().state.fields(key)[_place(key, field_id)]
    return nothing()


def _place(key: str, field_id: int) -> int:
    found = [place for place, field in enumerate(world().state.fields(key)) if field.id == field_id]
    if not found:
        raise not_found("Custom field")
    return found[0]
