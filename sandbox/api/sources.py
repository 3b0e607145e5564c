"""Sources of leads that the integration brings along (https://developers.kommo.com/reference/sources)."""

from collections.abc import Iterator

from flask import Blueprint, Response

from sandbox.api.answers import (
    definitions,
    document,
    hal,
    nothing,
    one_or_nothing,
    query,
    single,
    whole,
    world,
    written,
)
from sandbox.filters import matches
from sandbox.problems import ApiError, Fault, missing, not_a_choice, not_found
from sandbox.state import Json
from sandbox.validation import RequestId, check, echo, items_of, request_id

routes = Blueprint("sources", __name__, url_prefix="/sources")

#: Sources of one integration (https://developers.kommo.com/docs/limitations).
MAX_SOURCES = 100

_CHANGEABLE = ("name", "pipeline_id", "default", "origin_code", "services")


@routes.get("")
def list_sources() -> Response:
    """Answer all sources; there are no pages."""
    found = [one for one in world().state.sources.values() if matches(one, query())]
    rows = [definitions().source(one) for one in found]
    return whole("sources", rows) if rows else nothing()


@routes.get("/<int:source_id>")
def get_source(source_id: int) -> Response:
    """Answer one source."""
    found = world().state.sources.get(source_id)
    return one_or_nothing(definitions().source(found) if found else None)


@routes.post("")
def create_sources() -> Response:
    """Add sources, each with a name and an `external_id` of its own."""
    items = items_of(document())
    with world().state.lock:
        check(items, _creation_faults)
        if len(world().state.sources) + len(items) > MAX_SOURCES:
            raise ApiError(400, f"An integration has at most {MAX_SOURCES} sources")
        return written("sources", [_add(item, request_id(item, index)) for index, item in enumerate(items)])


def _creation_faults(item: Json) -> Iterator[Fault]:
    yield from (missing(name) for name in ("name", "external_id") if item.get(name) is None)
    if any(one["external_id"] == item.get("external_id") for one in world().state.sources.values()):
        yield not_a_choice("external_id")
    yield from _faults(item)


def _faults(item: Json) -> Iterator[Fault]:
    wanted = item.get("pipeline_id")
    if wanted is not None and world().state.directory.pipeline(wanted) is None:
        yield not_a_choice("pipeline_id")


def _add(item: Json, number: RequestId) -> Json:
    state = world().state
    held: Json = {
        "id": state.next_id("sources"),
        "name": item["name"],
        "pipeline_id": item.get("pipeline_id") or state.directory.main().id,
        "external_id": item["external_id"],
        "default": bool(item.get("default")),
        "origin_code": item.get("origin_code"),
        "services": item.get("services") or [],
    }
    state.sources[held["id"]] = held
    return {**definitions().source(held), "request_id": number}


@routes.patch("")
def update_sources() -> Response:
    """Change sources, each named by its `id`."""
    return written("sources", _update_all(items_of(document())))


@routes.patch("/<int:source_id>")
def update_source(source_id: int) -> Response:
    """Change one source."""
    item = {**single(), "id": source_id}
    _source(source_id)
    return hal(_update_all([item])[0])


def _update_all(items: list[Json]) -> list[Json]:
    sources = world().state.sources
    with world().state.lock:
        check(items, lambda item: (*_faults(item), *(() if item.get("id") in sources else (not_a_choice("id"),))))
        for item in items:
            sources[item["id"]].update({name: item[name] for name in _CHANGEABLE if item.get(name) is not None})
        return [{**definitions().source(sources[item["id"]]), **echo(item)} for item in items]


@routes.delete("")
def delete_sources() -> Response:
    """Delete the sources that an array names by their `id`."""
    for item in items_of(document()):
        delete_source(item.get("id", 0))
    return nothing()


@routes.delete("/<int:source_id>")
def delete_source(source_id: int) -> Response:
    """Delete one source."""
    with world().state.lock:
        del world().state.sources[_source(source_id)["id"]]
    return nothing()


def _source(source_id: int) -> Json:
    found = world().state.sources.get(source_id)
    if found is None:
        raise not_found("Source")
    return found
