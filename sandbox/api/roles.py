"""Roles: sets of rights that users may share (https://developers.kommo.com/reference/roles)."""

from collections.abc import Iterator
from dataclasses import replace

from flask import Blueprint, Response

from sandbox.api.answers import (
    counted,
    definitions,
    document,
    embedding,
    hal,
    nothing,
    one_or_nothing,
    query,
    single,
    world,
    written,
)
from sandbox.directory import Role
from sandbox.listing import page_of
from sandbox.problems import Fault, missing, mistyped, not_a_choice, not_found
from sandbox.state import Json
from sandbox.validation import RequestId, check, echo, items_of, request_id

routes = Blueprint("roles", __name__, url_prefix="/roles")


@routes.get("")
def list_roles() -> Response:
    """Answer a page of roles, with totals."""
    roles = world().state.directory.roles
    page = page_of(roles, query())
    rows = [definitions().role(role, with_=embedding()) for role in page.rows]
    return counted(page, "roles", rows, len(roles))


@routes.get("/<int:role_id>")
def get_role(role_id: int) -> Response:
    """Answer one role."""
    found = world().state.directory.role(role_id)
    return one_or_nothing(definitions().role(found, with_=embedding()) if found else None)


@routes.post("")
def create_roles() -> Response:
    """Add roles."""
    items = items_of(document())
    with world().state.lock:
        check(items, _creation_faults)
        return written("roles", [_add(item, request_id(item, index)) for index, item in enumerate(items)])


def _creation_faults(item: Json) -> Iterator[Fault]:
    if item.get("name") is None:
        yield missing("name")
    yield from _faults(item)


def _faults(item: Json) -> Iterator[Fault]:
    yield from mistyped(item, name=str, rights=dict)


def _add(item: Json, number: RequestId) -> Json:
    role = Role(world().state.next_id("roles"), item["name"], dict(item.get("rights") or {}))
    world().state.directory.roles.append(role)
    return {**definitions().role(role), "request_id": number}


@routes.patch("")
def update_roles() -> Response:
    """Change roles, each named by its `id`."""
    return written("roles", _update_all(items_of(document())))


@routes.patch("/<int:role_id>")
def update_role(role_id: int) -> Response:
    """Change one role."""
    item = {**single(), "id": role_id}
    with world().state.lock:
        _role(role_id)
        return hal(_update_all([item])[0])


def _update_all(items: list[Json]) -> list[Json]:
    directory = world().state.directory
    with world().state.lock:
        check(items, lambda item: (*_faults(item), *([] if directory.role(item.get("id")) else [not_a_choice("id")])))
        return [_update(_role(item["id"]), item) for item in items]


def _update(role: Role, item: Json) -> Json:
    given = {name: item[name] for name in ("name", "rights") if item.get(name) is not None}
    changed = replace(role, **given)
    roles = world().state.directory.roles
    roles[roles.index(role)] = changed
    return {**definitions().role(changed), **echo(item)}


@routes.delete("/<int:role_id>")
def delete_role(role_id: int) -> Response:
    """Delete one role."""
    with world().state.lock:
        world().state.directory.roles.remove(_role(role_id))
    return nothing()


def _role(role_id: int) -> Role:
    found = world().state.directory.role(role_id)
    if found is None:
        raise not_found("Role")
    return found
