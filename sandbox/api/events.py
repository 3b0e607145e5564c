"""What happened in the account (https://developers.kommo.com/reference/events)."""

from flask import Blueprint, Response

from sandbox import history
from sandbox.api.answers import listing, one_or_nothing, query, shapes, whole, world
from sandbox.filters import Query, matches
from sandbox.listing import page_of
from sandbox.problems import ApiError

routes = Blueprint("events", __name__, url_prefix="/events")

#: Ids that one filter may name.
MOST_IDS = 10

_EQUAL = {"type": "type", "entity": "entity_type", "entity_id": "entity_id", "created_by": "created_by", "id": "id"}


@routes.get("")
def list_events() -> Response:
    """Answer a page of events, the newest first: their order is not documented."""
    wanted = _wanted(query())
    times = [(name, text) for name, text in query() if name.startswith("filter[created_at]")]
    with world().state.lock:
        found = [
            event
            for event in reversed(world().state.events)
            if all(str(event[_EQUAL[name]]) in values for name, values in wanted.items()) and matches(event, times)
        ]
    page = page_of(found, query())
    return listing(page, "events", [shapes().event(event) for event in page.rows])


def _wanted(asked: Query) -> dict[str, set[str]]:
    wanted: dict[str, set[str]] = {}
    for key, text in asked:
        name = key.removeprefix("filter[").partition("]")[0]
        if key.startswith("filter[") and name in _EQUAL:
            wanted.setdefault(name, set()).update(text.split(","))
    for name in ("entity_id", "created_by"):
        if len(wanted.get(name, ())) > MOST_IDS:
            raise ApiError(400, f"filter[{name}] takes at most {MOST_IDS} ids")
    if "entity_id" in wanted and len(wanted.get("entity", ())) != 1:
        raise ApiError(400, "filter[entity_id] needs one filter[entity]")
    return wanted


@routes.get("/types")
def list_types() -> Response:
    """Answer the types of events that there are."""
    return whole("events_types", [{"key": name, "type": 0, "lang": name.replace("_", " ")} for name in history.TYPES])


@routes.get("/<event_id>")
def get_event(event_id: str) -> Response:
    """Answer one event."""
    with world().state.lock:
        found = next((event for event in world().state.events if event["id"] == event_id), None)
    return one_or_nothing(shapes().event(found) if found else None)
