"""Groups of custom fields, the tabs of a card (https://developers.kommo.com/reference/custom-fields-groups)."""

from collections.abc import Iterator

from flask import Blueprint, Response

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
from sandbox.listing import page_of
from sandbox.problems import ApiError, Fault, missing, mistyped, not_found
from sandbox.state import Json
from sandbox.validation import RequestId, check, items_of, request_id

routes = Blueprint(
    "field_groups", __name__, url_prefix="/<any(leads, contacts, companies, customers):kind>/custom_fields/groups"
)

#: What every account has: its ids are words.
_PREDEFINED = {"default": "Main", "statistic": "Statistics"}


def _groups(kind: str) -> dict[str, Json]:
    names = _PREDEFINED if kind == "leads" else {"default": "Main"}
    predefined = {
        code: {"id": code, "name": name, "is_predefined": True, "type": "default", "sort": sort}
        for sort, (code, name) in enumerate(names.items())
    }
    return {**predefined, **world().state.field_groups[kind]}


@routes.get("")
def list_groups(kind: str) -> Response:
    """Answer a page of groups, with totals."""
    groups = list(_groups(kind).values())
    page = page_of(groups, query())
    rows = [definitions().field_group(one, kind) for one in page.rows]
    return counted(page, "custom_field_groups", rows, len(groups))


@routes.get("/<group_id>")
def get_group(kind: str, group_id: str) -> Response:
    """Answer one group."""
    found = _groups(kind).get(group_id)
    return one_or_nothing(definitions().field_group(found, kind) if found else None)


@routes.post("")
def create_groups(kind: str) -> Response:
    """Add groups; a group may take in fields that are there."""
    items = items_of(document())
    with world().state.lock:
        check(items, _creation_faults)
        rows = [_add(kind, item, request_id(item, index)) for index, item in enumerate(items)]
    return written("custom_field_groups", rows)


def _creation_faults(item: Json) -> Iterator[Fault]:
    if item.get("name") is None:
        yield missing("name")
    yield from _faults(item)


def _faults(item: Json) -> Iterator[Fault]:
    yield from mistyped(item, name=str, sort=int, fields=list)


def _add(kind: str, item: Json, number: RequestId) -> Json:
    state = world().state
    code = f"{kind}_{state.next_id('field_groups')}"
    plain = {"id": code, "name": item["name"], "is_predefined": False, "type": "custom", "sort": item.get("sort") or 5}
    state.field_groups[kind][code] = plain
    state.regroup(kind, code, item.get("fields") or ())
    return {**definitions().field_group(plain, kind), "request_id": number}


@routes.patch("/<group_id>")
def update_group(kind: str, group_id: str) -> Response:
    """Change one group."""
    item = single()
    with world().state.lock:
        held = _own(kind, group_id)
        check([item], _faults)
        held.update({name: item[name] for name in ("name", "sort") if item.get(name) is not None})
        world().state.regroup(kind, group_id, item.get("fields") or ())
        return hal(definitions().field_group(held, kind))


@routes.delete("/<group_id>")
def delete_group(kind: str, group_id: str) -> Response:
    """Delete one group; its fields go back to the main one."""
    with world().state.lock:
        _own(kind, group_id)
        fields = definitions().field_group(world().state.field_groups[kind].pop(group_id), kind)["fields"]
        world().state.regroup(kind, None, fields)
    return nothing()


def _own(kind: str, group_id: str) -> Json:
    if group_id not in _groups(kind):
        raise not_found("Group")
    if group_id not in world().state.field_groups[kind]:
        raise ApiError(400, "A group that every account has cannot be changed")
    return world().state.field_groups[kind][group_id]
