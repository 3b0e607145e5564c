"""Registering webhooks (https://developers.kommo.com/reference/webhooks)."""

from flask import Blueprint, Response, request

from sandbox.api.answers import definitions, document, hal, nothing, single, world
from sandbox.directory import INTEGRATION_USER
from sandbox.problems import ApiError, not_found

routes = Blueprint("webhooks", __name__, url_prefix="/webhooks")


@routes.get("")
def list_webhooks() -> Response:
    """Answer all webhooks, or the one with `filter[destination]`; there are no pages."""
    wanted = request.args.get("filter[destination]")
    rows = [definitions().webhook(hook) for hook in world().webhooks.all() if wanted in (None, hook.destination)]
    if not rows:
        return nothing()
    return hal({"_total_items": len(rows), "_embedded": {"webhooks": rows}})


@routes.post("")
def register_webhook() -> Response:
    """Register a destination, or change the events of one that is registered."""
    return hal(definitions().webhook(world().webhooks.register(single(), by=INTEGRATION_USER)), status=201)


@routes.delete("")
def remove_webhook() -> Response:
    """Remove the webhook whose `destination` the JSON body names."""
    body = document() if request.get_data() else None
    if not isinstance(body, dict):
        raise ApiError(400, "The body has to name the destination")
    world().webhooks.remove(body.get("destination"))
    return nothing()


@routes.delete("/<int:webhook_id>")
def remove_webhook_by_id(webhook_id: int) -> Response:
    """Remove a webhook by its id: a form that some overviews show and the reference does not have."""
    hook = next((one for one in world().webhooks.all() if one.id == webhook_id), None)
    if hook is None:
        raise not_found("Webhook")
    world().webhooks.remove(hook.destination)
    return nothing()
