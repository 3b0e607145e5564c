"""Talks with customers (https://developers.kommo.com/reference/talks)."""

from flask import Blueprint, Response

from sandbox import talking
from sandbox.api.answers import definitions, one_or_nothing, world
from sandbox.directory import INTEGRATION_USER
from sandbox.payloads import chats
from sandbox.problems import not_found

routes = Blueprint("talks", __name__, url_prefix="/talks/<int:talk_id>")


@routes.get("")
def get_talk(talk_id: int) -> Response:
    """Answer one talk."""
    with world().state.lock:
        held = world().state.talks.get(talk_id)
        if held is None:
            return one_or_nothing(None)
        beside = {"account_id": world().state.account_id, "_links": definitions().links(f"talks/{talk_id}")}
        return one_or_nothing({**chats.talk(held), "missed_at": None, **beside})


@routes.post("/close")
def close_talk(talk_id: int) -> Response:
    """Close a talk: 202 without a body, since a bot may still have its say."""
    with world().state.lock:
        held = world().state.talks.get(talk_id)
        if held is None:
            raise not_found("Talk")
        world().announce(talking.close(world().state, held, by=INTEGRATION_USER))
    return Response(status=202)
