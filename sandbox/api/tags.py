"""Tags of each kind of entity (https://developers.kommo.com/reference/tags)."""

from collections.abc import Iterator

from flask import Blueprint, Response, request

from sandbox.api.answers import document, hal, listing, query, single, world, written
from sandbox.filters import matches
from sandbox.listing import page_of
from sandbox.problems import Fault, missing, not_a_choice, not_found, wrong_type
from sandbox.state import Json
from sandbox.validation import check, echo, items_of, request_id

routes = Blueprint("tags", __name__, url_prefix="/<any(leads, contacts, companies, customers):kind>/tags")


@routes.get("")
def list_tags(kind: str) -> Response:
    """Answer a page of the tags in use."""
    text = request.args.get("query", "").casefold()
    with world().state.lock:
        tags = [tag for tag in world().state.tags[kind].values() if text in tag["name"].casefold()]
    page = page_of([tag for tag in tags if matches(tag, query())], query())
    return listing(page, "tags", page.rows)


@routes.post("")
def create_tags(kind: str) -> Response:
    """Add tags; one of that name stays the one it is."""
    items = items_of(document())
    state = world().state
    with state.lock:
        check(items, _creation_faults)
        made = [(state.tag(kind, item["name"]), item, request_id(item, index)) for index, item in enumerate(items)]
        for tag, item, _ in made:
            tag["color"] = item.get("color", tag["color"])
        return written("tags", [{**tag, "request_id": number} for tag, _, number in made])


def _creation_faults(item: Json) -> Iterator[Fault]:
    if not isinstance(item.get("name"), str):
        yield missing("name") if item.get("name") is None else wrong_type("name", "string")


@routes.patch("")
def update_tags(kind: str) -> Response:
    """Rename or colour tags, each named by its `id`."""
    return written("tags", _update_all(kind, items_of(document())))


@routes.patch("/<int:tag_id>")
def update_tag(kind: str, tag_id: int) -> Response:
    """Rename or colour one tag."""
    item = {**single(), "id": tag_id}
    with world().state.lock:
        if all(tag["id"] != tag_id for tag in world().state.tags[kind].values()):
            raise not_found("Tag")
        return hal(_update_all(kind, [item])[0])


def _update_all(kind: str, items: list[Json]) -> list[Json]:
    state = world().state
    with state.lock:
        known = {tag["id"]: tag for tag in state.tags[kind].values()}
        check(items, lambda item: () if item.get("id") in known else (not_a_choice("id"),))
        for item in items:
            tag = known[item["id"]]
            # Entities hold the same objects, so that a new name shows everywhere.
            tag.update({name: item[name] for name in ("name", "color") if item.get(name) is not None})
        state.tags[kind] = {tag["name"]: tag for tag in known.values()}
        return [{**known[item["id"]], **echo(item)} for item in items]
