"""Reasons for which leads are lost (https://developers.kommo.com/reference/loss-reasons)."""

from collections.abc import Iterator

from flask import Blueprint, Response

from sandbox.api.answers import (
    definitions,
    document,
    hal,
    listing,
    nothing,
    one_or_nothing,
    query,
    single,
    world,
    written,
)
from sandbox.listing import page_of
from sandbox.problems import Fault, missing, mistyped, not_found
from sandbox.state import Json
from sandbox.validation import RequestId, check, items_of, request_id

routes = Blueprint("loss_reasons", __name__, url_prefix="/leads/loss_reasons")

#: The place of a reason that names none.
_LAST = 100_000


@routes.get("")
def list_reasons() -> Response:
    """Answer a page of reasons, in their order."""
    held = sorted(world().state.loss_reasons.values(), key=lambda one: (one["sort"], one["id"]))
    page = page_of(held, query())
    return listing(page, "loss_reasons", [definitions().loss_reason(one) for one in page.rows])


@routes.get("/<int:reason_id>")
def get_reason(reason_id: int) -> Response:
    """Answer one reason."""
    found = world().state.loss_reasons.get(reason_id)
    return one_or_nothing(definitions().loss_reason(found) if found else None)


@routes.post("")
def create_reasons() -> Response:
    """Add reasons."""
    items = items_of(document())
    with world().state.lock:
        check(items, _creation_faults)
        rows = [_add(item, request_id(item, index)) for index, item in enumerate(items)]
    return written("loss_reasons", rows)


def _creation_faults(item: Json) -> Iterator[Fault]:
    if item.get("name") is None:
        yield missing("name")
    yield from _faults(item)


def _faults(item: Json) -> Iterator[Fault]:
    yield from mistyped(item, name=str, sort=int)


def _add(item: Json, number: RequestId) -> Json:
    state = world().state
    now = state.now()
    sort = _LAST if item.get("sort") is None else item["sort"]
    held: Json = {"id": state.next_id("loss_reasons"), "name": item["name"], "sort": sort}
    held |= {"created_at": now, "updated_at": now}
    state.loss_reasons[held["id"]] = held
    return {**definitions().loss_reason(held), "request_id": number}


@routes.patch("/<int:reason_id>")
def update_reason(reason_id: int) -> Response:
    """Change one reason."""
    item = single()
    with world().state.lock:
        held = _reason(reason_id)
        check([item], _faults)
        held.update({name: item[name] for name in ("name", "sort") if item.get(name) is not None})
        held.update(updated_at=world().state.now())
        return hal(definitions().loss_reason(held))


@routes.delete("/<int:reason_id>")
def delete_reason(reason_id: int) -> Response:
    """Delete one reason; leads that were lost for it keep its number."""
    with world().state.lock:
        del world().state.loss_reasons[_reason(reason_id)["id"]]
    return nothing()


def _reason(reason_id: int) -> Json:
    found = world().state.loss_reasons.get(reason_id)
    if found is None:
        raise not_found("Loss reason")
    return found
