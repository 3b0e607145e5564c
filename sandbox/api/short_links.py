"""Short links, which tell when somebody follows them (https://developers.kommo.com/reference/short-links)."""

import secrets
from collections.abc import Iterator

from flask import Blueprint, Response

from sandbox.api.answers import document, whole, world
from sandbox.problems import Fault, missing, not_a_choice
from sandbox.state import CARDS, Json
from sandbox.validation import check, items_of

routes = Blueprint("short_links", __name__, url_prefix="/short_links")


@routes.post("")
def create_short_links() -> Response:
    """Shorten addresses; the answers come in the order of the items."""
    items = items_of(document())
    with world().state.lock:
        check(items, _faults)
    return whole("short_links", [_shortened(item) for item in items])


def _faults(item: Json) -> Iterator[Fault]:
    metadata = item.get("metadata") or {}
    if not item.get("url"):
        yield missing("url")
    kind, entity_id = metadata.get("entity_type"), metadata.get("entity_id")
    if kind not in CARDS:
        yield not_a_choice("metadata.entity_type")
    elif not isinstance(entity_id, int) or world().state.find(kind, entity_id) is None:
        yield not_a_choice("metadata.entity_id")


def _shortened(item: Json) -> Json:
    metadata = {name: item["metadata"][name] for name in ("entity_id", "entity_type")}
    return {"url": f"https://go.sandbox.example/{secrets.token_urlsafe(6)}", "metadata": metadata}
