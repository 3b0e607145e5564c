"""Leads together with their contact and company (https://developers.kommo.com/reference/complex-leads)."""

from collections.abc import Iterator

from flask import Blueprint, Response

from sandbox import changes
from sandbox.api.answers import document, hal, world
from sandbox.directory import INTEGRATION_USER
from sandbox.problems import Fault, wrong_type
from sandbox.state import Json
from sandbox.validation import RequestId, check, creation_faults, embedded, items_of, request_id

routes = Blueprint("complex_leads", __name__, url_prefix="/leads/complex")

#: Leads of one request.
LIMIT = 50
#: Custom field values of one entity (https://developers.kommo.com/docs/limitations).
FIELD_LIMIT = 40

_PARTS = ("contacts", "companies")


@routes.post("")
def create_complex() -> Response:
    """Add leads with at most one contact and one company each, new ones or, by `id`, some that are there.

    The answer is a bare array. Nothing is looked for and merged: that is an option of the real account.
    """
    items = items_of(document(), LIMIT)
    with world().state.lock:
        check(items, _faults)
        return hal([_create(item, request_id(item, index)) for index, item in enumerate(items)])


def _faults(item: Json) -> Iterator[Fault]:
    yield from _field_faults(item, "")
    for kind in _PARTS:
        given = embedded(item).get(kind) or []
        if not isinstance(given, list) or len(given) > 1 or not all(isinstance(one, dict) for one in given):
            yield wrong_type(f"_embedded.{kind}", "array of one")
            return
        for one in given:
            path = f"_embedded.{kind}.0."
            yield from _field_faults(one, path)
            if one.get("id") is None:
                found = creation_faults(world().state, kind, one)
                yield from (fault._replace(path=path + fault.path) for fault in found)
    yield from creation_faults(world().state, "leads", _with_links(item, _known(item)))


def _field_faults(item: Json, path: str) -> Iterator[Fault]:
    values = item.get("custom_fields_values") or []
    if isinstance(values, list) and len(values) > FIELD_LIMIT:
        detail = f"This collection should contain {FIELD_LIMIT} elements or less."
        yield Fault(f"{path}custom_fields_values", "TooMany", detail)


def _known(item: Json) -> Json:
    return {kind: [one for one in embedded(item).get(kind) or () if one.get("id") is not None] for kind in _PARTS}


def _with_links(item: Json, links: Json) -> Json:
    plain = {name: value for name, value in item.items() if name not in _PARTS}
    return {**plain, "_embedded": {**(item.get("_embedded") or {}), **links}}


def _create(item: Json, number: RequestId) -> Json:
    links = {kind: [_made(kind, one) for one in embedded(item).get(kind) or ()] for kind in _PARTS}
    lead, notices = changes.create(world().state, "leads", _with_links(item, links), by=INTEGRATION_USER)
    world().announce(notices)
    contact, company = (links[kind][0]["id"] if links[kind] else None for kind in _PARTS)
    return {"id": lead.id, "contact_id": contact, "company_id": company, "request_id": [number], "merged": False}


def _made(kind: str, given: Json) -> Json:
    if given.get("id") is not None:
        return given
    record, notices = changes.create(world().state, kind, given, by=INTEGRATION_USER)
    world().announce(notices)
    return {"id": record.id}
