"""The account and what belongs to it: users, pipelines, definitions of custom fields, tags. Read only."""

from collections.abc import Sequence

from flask import Blueprint, Response, request

from sandbox.api.answers import embedding, hal, listing, one_or_nothing, query, shapes, world
from sandbox.custom_fields import CUSTOM_FIELDS
from sandbox.directory import PIPELINES, USERS, pipeline
from sandbox.listing import page_of
from sandbox.state import Json

routes = Blueprint("account", __name__)


@routes.get("/account")
def get_account() -> Response:
    """Answer the account."""
    return hal(shapes().account(with_=embedding()))


@routes.get("/users")
def list_users() -> Response:
    """Answer a page of users, with totals."""
    page = page_of(USERS, query())
    answer = listing(page, "users", [shapes().user(user) for user in page.rows])
    return _with_totals(answer, len(USERS), page.limit)


@routes.get("/users/<int:user_id>")
def get_user(user_id: int) -> Response:
    """Answer one user."""
    found = next((user for user in USERS if user.id == user_id), None)
    return one_or_nothing(shapes().user(found) if found else None)


@routes.get("/leads/pipelines")
def list_pipelines() -> Response:
    """Answer all pipelines; there are no pages."""
    return _whole("pipelines", [shapes().pipeline(one) for one in PIPELINES])


@routes.get("/leads/pipelines/<int:pipeline_id>")
def get_pipeline(pipeline_id: int) -> Response:
    """Answer one pipeline."""
    found = pipeline(pipeline_id)
    return one_or_nothing(shapes().pipeline(found) if found else None)


@routes.get("/leads/pipelines/<int:pipeline_id>/statuses")
def list_stages(pipeline_id: int) -> Response:
    """Answer the stages of a pipeline."""
    found = pipeline(pipeline_id)
    if found is None:
        return one_or_nothing(None)
    return _whole("statuses", [shapes().stage(found, stage) for stage in found.stages])


@routes.get("/<any(leads, contacts, companies):kind>/custom_fields")
def list_custom_fields(kind: str) -> Response:
    """Answer a page of definitions, with totals."""
    page = page_of(CUSTOM_FIELDS[kind], query())
    rows = [shapes().custom_field(field, kind, sort) for sort, field in enumerate(page.rows)]
    return _with_totals(listing(page, "custom_fields", rows), len(CUSTOM_FIELDS[kind]), page.limit)


@routes.get("/<any(leads, contacts, companies):kind>/custom_fields/<int:field_id>")
def get_custom_field(kind: str, field_id: int) -> Response:
    """Answer one definition."""
    found = [(sort, field) for sort, field in enumerate(CUSTOM_FIELDS[kind]) if field.id == field_id]
    return one_or_nothing(shapes().custom_field(found[0][1], kind, found[0][0]) if found else None)


@routes.get("/<any(leads, contacts, companies):kind>/tags")
def list_tags(kind: str) -> Response:
    """Answer a page of the tags in use."""
    with world().state.lock:
        tags = list(world().state.tags[kind].values())
    page = page_of(tags, query())
    return listing(page, "tags", page.rows)


def _whole(plural: str, rows: Sequence[Json]) -> Response:
    links = {"self": {"href": request.base_url}}
    return hal({"_total_items": len(rows), "_links": links, "_embedded": {plural: list(rows)}})


def _with_totals(answer: Response, total: int, limit: int) -> Response:
    if answer.status_code == 204:
        return answer
    body = answer.get_json(force=True)
    return hal({"_total_items": total, "_page": body.pop("_page"), "_page_count": -(-total // limit), **body})
