"""Reading requests and writing answers in the forms of the service."""

import json
from collections.abc import Sequence
from typing import Any, cast

from flask import Response, current_app, request

from sandbox.definitions import Definitions
from sandbox.entities import Shapes
from sandbox.filters import Query
from sandbox.listing import Page, page_body
from sandbox.pages import Page as ErrorPage
from sandbox.problems import ApiError
from sandbox.state import Json
from sandbox.world import World

HAL_TYPE = "application/hal+json"


def world() -> World:
    """Return the world that the running application belongs to."""
    return cast(World, current_app.extensions["sandbox"])


def shapes() -> Shapes:
    """Return the renderer with links to where this request came in."""
    return Shapes(world().state, f"{request.host_url}api/v4")


def definitions() -> Definitions:
    """Return the renderer of what the account is made of."""
    return Definitions(world().state, f"{request.host_url}api/v4")


def query() -> Query:
    """Return the query parameters as they came."""
    return list(request.args.items(multi=True))


def embedding() -> frozenset[str]:
    """Return what `with` asks for."""
    return frozenset(request.args.get("with", "").split(",")) - {""}


def document() -> Any:
    """Return the JSON body; raises ApiError 400 for anything else, whatever its declared type."""
    try:
        return json.loads(request.get_data())
    except ValueError:
        raise ApiError(400, "The body is not JSON") from None


def single() -> Json:
    """Return the JSON body that has to be one object."""
    body = document()
    if not isinstance(body, dict):
        raise ApiError(400, "The body has to be a JSON object")
    return body


def hal(body: Any, status: int = 200) -> Response:
    """Answer with a document."""
    return Response(json.dumps(body, ensure_ascii=False), status, mimetype=HAL_TYPE)


def nothing() -> Response:
    """Answer an empty list or a missing entity: 204 without a body."""
    return Response(status=204, mimetype=HAL_TYPE)


def one_or_nothing(body: Json | None) -> Response:
    """Answer with an entity, or with nothing if there is none."""
    return nothing() if body is None else hal(body)


def listing(page: Page, plural: str, rows: Sequence[Json]) -> Response:
    """Answer with a page of a list, or with nothing if it is empty."""
    return hal(page_body(page, plural, rows, url=request.base_url, query=query())) if rows else nothing()


def whole(plural: str, rows: Sequence[Json]) -> Response:
    """Answer with a list that has no pages."""
    links = {"self": {"href": request.base_url}}
    return hal({"_total_items": len(rows), "_links": links, "_embedded": {plural: list(rows)}})


def counted(page: Page, plural: str, rows: Sequence[Json], total: int) -> Response:
    """Answer with a page of a list that tells how much there is in all."""
    if not rows:
        return nothing()
    body = page_body(page, plural, rows, url=request.base_url, query=query())
    number = body.pop("_page")
    return hal({"_total_items": total, "_page": number, "_page_count": -(-total // page.limit), **body})


def written(plural: str, rows: Sequence[Json]) -> Response:
    """Answer a write with what was written."""
    return hal({"_links": {"self": {"href": request.base_url}}, "_embedded": {plural: list(rows)}})


def paged(page: ErrorPage) -> Response:
    """Answer with a ready-made page."""
    answer = Response(page.body, page.status, content_type=page.content_type)
    answer.headers.update(page.headers or {})
    return answer
