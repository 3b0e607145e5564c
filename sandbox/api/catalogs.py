"""Lists (https://developers.kommo.com/reference/lists)."""

from collections.abc import Iterator

from flask import Blueprint, Response

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
from sandbox.listing import page_of
from sandbox.problems import ApiError, Fault, missing, not_a_choice, not_found, wrong_type
from sandbox.state import Json
from sandbox.validation import RequestId, check, echo, items_of, request_id

routes = Blueprint("catalogs", __name__, url_prefix="/catalogs")

#: Lists of one account (https://developers.kommo.com/docs/limitations).
MAX_CATALOGS = 10

_CHANGEABLE = ("name", "sort", "can_add_elements", "can_show_in_cards", "can_link_multiple")


@routes.get("")
def list_catalogs() -> Response:
    """Answer a page of lists."""
    page = page_of([one for one in world().state.catalogs.values() if matches(one, query())], query())
    return listing(page, "catalogs", [definitions().catalog(one) for one in page.rows])


@routes.get("/<int:catalog_id>")
def get_catalog(catalog_id: int) -> Response:
    """Answer one list."""
    found = world().state.catalogs.get(catalog_id)
    return one_or_nothing(definitions().catalog(found) if found else None)


@routes.post("")
def create_catalogs() -> Response:
    """Add lists."""
    items = items_of(document())
    with world().state.lock:
        check(items, _catalog_faults)
        if len(world().state.catalogs) + len(items) > MAX_CATALOGS:
            raise ApiError(400, f"An account has at most {MAX_CATALOGS} lists")
        return written("catalogs", [_add_catalog(item, request_id(item, index)) for index, item in enumerate(items)])


def _catalog_faults(item: Json) -> Iterator[Fault]:
    if not isinstance(item.get("name"), str):
        yield missing("name") if item.get("name") is None else wrong_type("name", "string")


def _add_catalog(item: Json, number: RequestId) -> Json:
    state = world().state
    now = state.now()
    stamps = {"created_by": INTEGRATION_USER, "updated_by": INTEGRATION_USER, "created_at": now, "updated_at": now}
    rules = {name: bool(item.get(name, name != "can_link_multiple")) for name in _CHANGEABLE[2:]}
    held: Json = {"id": state.next_id("catalogs"), "name": item["name"], **stamps, "sort": item.get("sort") or 20}
    held |= {"type": item.get("type", "regular"), **rules}
    state.catalogs[held["id"]] = held
    return {**definitions().catalog(held), "request_id": number}


@routes.patch("")
def update_catalogs() -> Response:
    """Change lists, each named by its `id`."""
    items = items_of(document())
    with world().state.lock:
        known = world().state.catalogs
        check(items, lambda item: () if item.get("id") in known else (not_a_choice("id"),))
        return written("catalogs", [_update_catalog(item["id"], item) for item in items])


@routes.patch("/<int:catalog_id>")
def update_catalog(catalog_id: int) -> Response:
    """Change one list."""
    item = single()
    with world().state.lock:
        return hal(_update_catalog(catalog_id, item))


def _update_catalog(catalog_id: int, item: Json) -> Json:
    held = _catalog(catalog_id)
    held.update({name: item[name] for name in _CHANGEABLE if item.get(name) is not None})
    held.update(updated_by=INTEGRATION_USER, updated_at=world().state.now())
    return {**definitions().catalog(held), **echo(item)}


def _catalog(catalog_id: int) -> Json:
    found = world().state.catalogs.get(catalog_id)
    if found is None:
        raise not_found("List")
    return found
