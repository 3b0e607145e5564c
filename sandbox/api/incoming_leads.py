"""Incoming leads (https://developers.kommo.com/reference/incoming-leads)."""

from flask import Blueprint, Response

from sandbox import unsorted
from sandbox.api.answers import (
    definitions,
    document,
    hal,
    listing,
    one_or_nothing,
    query,
    whole,
    world,
)
from sandbox.directory import INTEGRATION_USER
from sandbox.filters import matches
from sandbox.listing import ordered, page_of
from sandbox.problems import ApiError, invalid, not_a_choice, not_found
from sandbox.state import SINGULAR, Json
from sandbox.validation import RequestId, check, items_of, request_id

routes = Blueprint("incoming_leads", __name__, url_prefix="/leads/unsorted")

#: What can be linked instead of accepted; forms and calls cannot.
_LINKABLE = ("chats", "mail")


@routes.get("")
def list_unsorted() -> Response:
    """Answer a page of the incoming leads that wait."""
    with world().state.lock:
        found = [held for held in world().state.unsorted.values() if matches(held, query())]
        page = page_of(ordered(found, query(), lambda held: held), query())
        return listing(page, "unsorted", [definitions().unsorted(held) for held in page.rows])


@routes.get("/summary")
def summarise() -> Response:
    """Answer the counts, of all or of those that the filters name."""
    state = world().state
    with state.lock:
        waiting = [held for held in state.unsorted.values() if matches(held, query())]
        sorted_out = [held for held in state.sorted_out if matches(held, query())]
        counts = unsorted.summary(waiting, sorted_out)
    return hal({**counts, "_links": definitions().links("leads/unsorted/summary")})


@routes.get("/<uid>")
def get_unsorted(uid: str) -> Response:
    """Answer one incoming lead."""
    with world().state.lock:
        held = world().state.unsorted.get(uid)
        return one_or_nothing(definitions().unsorted(held) if held else None)


@routes.post("/<any(forms, sip):category>")
def create_unsorted(category: str) -> Response:
    """Let leads come in through a form or a call."""
    items = items_of(document())
    state = world().state
    with state.lock:
        check(items, lambda item: unsorted.faults(state, item))
        rows = [_add(category, item, request_id(item, index)) for index, item in enumerate(items)]
    return whole("unsorted", rows)


def _add(category: str, item: Json, number: RequestId) -> Json:
    held, notices = unsorted.add(world().state, category, item)
    world().announce(notices)
    shown = definitions().unsorted(held)
    return {**{name: shown[name] for name in ("uid", "account_id", "_links", "_embedded")}, "request_id": number}


@routes.post("/<uid>/accept")
def accept(uid: str) -> Response:
    """Take an incoming lead; `user_id` and `status_id` may say for whom and into which stage."""
    said, state = _said(), world().state
    with state.lock:
        held = _waiting(uid)
        pipeline = state.directory.pipeline(held["pipeline_id"])
        if said.get("status_id") is not None and pipeline is not None and not pipeline.has(said["status_id"]):
            raise invalid({"0": [not_a_choice("status_id")]})
        shown = _short(definitions().unsorted(held))
        world().announce(unsorted.accept(state, held, by=_who(said), status_id=said.get("status_id")))
    return hal(shown)


@routes.delete("/<uid>/decline")
def decline(uid: str) -> Response:
    """Refuse an incoming lead in the name of `user_id`."""
    said = _said()
    with world().state.lock:
        held = _waiting(uid)
        shown = _short(definitions().unsorted(held))
        world().announce(unsorted.decline(world().state, held, by=_who(said)))
    return hal(shown)


@routes.post("/<uid>/link")
def link(uid: str) -> Response:
    """Bring an incoming chat or letter to the lead or customer that `link` names."""
    said, state = _said(), world().state
    with state.lock:
        held = _waiting(uid)
        target = said.get("link") or {}
        kind, entity_id = target.get("entity_type"), target.get("entity_id")
        if held["category"] not in _LINKABLE:
            raise ApiError(400, "Only chats and mail can be linked")
        if kind not in SINGULAR or not isinstance(entity_id, int) or state.find(kind, entity_id) is None:
            raise invalid({"0": [not_a_choice("link.entity_id")]})
        shown = _short(definitions().unsorted(held))
        world().announce(unsorted.link(state, held, by=_who(said)))
    found = [{"id": entity_id, "_links": definitions().links(f"{kind}/{entity_id}")}]
    return hal({**shown, "_embedded": {**shown["_embedded"], "leads": [], kind: found}})


def _said() -> Json:
    """Return what the body says; PHP writes an empty object as an empty array."""
    body = document()
    if not isinstance(body, dict) and body != []:
        raise ApiError(400, "The body has to be a JSON object")
    return body or {}


def _who(said: Json) -> int:
    user_id = said.get("user_id") or INTEGRATION_USER
    if world().state.directory.user(user_id) is None:
        raise invalid({"0": [not_a_choice("user_id")]})
    return int(user_id)


def _short(shown: Json) -> Json:
    return {name: shown[name] for name in ("uid", "category", "pipeline_id", "created_at", "_links", "_embedded")}


def _waiting(uid: str) -> Json:
    held = world().state.unsorted.get(uid)
    if held is None:
        raise not_found("Incoming lead")
    return held
