"""Users (https://developers.kommo.com/reference/users)."""

from collections.abc import Iterator

from flask import Blueprint, Response

from sandbox.api.answers import (
    counted,
    definitions,
    document,
    embedding,
    one_or_nothing,
    query,
    world,
    written,
)
from sandbox.directory import User
from sandbox.listing import page_of
from sandbox.problems import Fault, missing, not_a_choice, wrong_type
from sandbox.state import Json
from sandbox.validation import RequestId, check, items_of, request_id

routes = Blueprint("users", __name__)


@routes.get("/users")
def list_users() -> Response:
    """Answer a page of users, with totals."""
    users = world().state.directory.users
    page = page_of(users, query())
    return counted(page, "users", [definitions().user(user, with_=embedding()) for user in page.rows], len(users))


@routes.get("/users/<int:user_id>")
def get_user(user_id: int) -> Response:
    """Answer one user."""
    found = world().state.directory.user(user_id)
    return one_or_nothing(definitions().user(found, with_=embedding()) if found else None)


@routes.post("/users")
def create_users() -> Response:
    """Add users."""
    items = items_of(document())
    with world().state.lock:
        check(items, _user_faults)
        return written("users", [_add_user(item, request_id(item, index)) for index, item in enumerate(items)])


def _user_faults(item: Json) -> Iterator[Fault]:
    for name in ("name", "email"):
        if item.get(name) is None:
            yield missing(name)
        elif not isinstance(item[name], str):
            yield wrong_type(name, "string")
    if any(user.email == item.get("email") for user in world().state.directory.users):
        yield not_a_choice("email")


def _add_user(item: Json, number: RequestId) -> Json:
    state = world().state
    rights = item.get("rights") or {}
    user = User(
        state.next_id("users"),
        item["name"],
        item["email"],
        is_admin=bool(rights.get("is_admin")),
        role_id=rights.get("role_id"),
        group_id=rights.get("group_id"),
    )
    state.directory.users.append(user)
    return {**definitions().user(user), "request_id": number}
