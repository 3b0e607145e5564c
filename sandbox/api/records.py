"""Leads, contacts, companies and tasks (https://developers.kommo.com/reference/leads and its siblings)."""

from flask import Blueprint, Response, request

from sandbox import changes
from sandbox.api.answers import (
    document,
    embedding,
    hal,
    listing,
    nothing,
    one_or_nothing,
    query,
    shapes,
    single,
    world,
    written,
)
from sandbox.directory import INTEGRATION_USER
from sandbox.listing import page_of, select
from sandbox.problems import not_found
from sandbox.state import Json, Record
from sandbox.validation import RequestId, check, creation_faults, echo, items_of, request_id, update_faults

routes = Blueprint("records", __name__, url_prefix="/<any(leads, contacts, companies, customers, tasks):kind>")


@routes.get("")
def list_records(kind: str) -> Response:
    """Answer a page of entities; `If-Modified-Since` leaves those that changed later, 304 if there is none.

    An older overview recommends that header and the present one does not name it: unconfirmed.
    """
    since = request.if_modified_since
    with world().state.lock:
        visible = world().state.visible(kind, deleted="only_deleted" in embedding())
        found = select(visible, query())
        if since is not None:
            found = [record for record in found if record.fields["updated_at"] > since.timestamp()]
            if not found:
                return Response(status=304)
        page = page_of(found, query())
        rows = [shapes().record(record, with_=embedding()) for record in page.rows]
    return listing(page, kind, rows)


@routes.get("/<int:entity_id>")
def get_record(kind: str, entity_id: int) -> Response:
    """Answer one entity."""
    with world().state.lock:
        record = world().state.find(kind, entity_id)
        return one_or_nothing(shapes().record(record, with_=embedding()) if record else None)


@routes.get("/<int:entity_id>/subscriptions")
def list_subscriptions(kind: str, entity_id: int) -> Response:
    """Answer who follows an entity: nobody does here."""
    if world().state.find(kind, entity_id) is None:
        raise not_found("Entity")
    return nothing()


@routes.post("")
def create_records(kind: str) -> Response:
    """Add entities, all or none; posting again adds them again."""
    items = items_of(document())
    state = world().state
    with state.lock:
        check(items, lambda item: creation_faults(state, kind, item))
        rows = [_create(kind, item, request_id(item, index)) for index, item in enumerate(items)]
    return written(kind, rows)


def _create(kind: str, item: Json, number: RequestId) -> Json:
    record, notices = changes.create(world().state, kind, item, by=INTEGRATION_USER)
    world().announce(notices)
    row = {"id": record.id, "request_id": number, "_links": shapes().links(f"{kind}/{record.id}")}
    return {**row, "is_deleted": False, "is_unsorted": False} if kind == "contacts" else row


@routes.patch("")
def update_records(kind: str) -> Response:
    """Change entities, each named by its `id`, all or none."""
    return written(kind, _update_all(kind, items_of(document())))


@routes.patch("/<int:entity_id>")
def update_record(kind: str, entity_id: int) -> Response:
    """Change one entity; for contacts and tasks the answer is wrapped as for a list.

    The vendor's own PHP client reads `id` and `updated_at` beside the wrapping, so they stand there, too.
    """
    item = {**single(), "id": entity_id}
    with world().state.lock:
        if world().state.find(kind, entity_id) is None:
            raise not_found("Entity")
        rows = _update_all(kind, [item])
    return hal({**rows[0], "_embedded": {kind: rows}} if kind in ("contacts", "tasks") else rows[0])


def _update_all(kind: str, items: list[Json]) -> list[Json]:
    state = world().state
    with state.lock:
        check(items, lambda item: update_faults(state, kind, item))
        return [_update(state.records[kind][item["id"]], item) for item in items]


def _update(record: Record, item: Json) -> Json:
    world().announce(changes.update(world().state, record, item, by=INTEGRATION_USER))
    links = shapes().links(f"{record.kind}/{record.id}")
    return {"id": record.id, "updated_at": record.fields["updated_at"], **echo(item), "_links": links}
