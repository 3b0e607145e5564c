"""The control page, the commands and the logs over HTTP. Nothing here counts against the API's limit."""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, render_template
from werkzeug.wrappers import Response as AnyResponse

from sandbox.api.answers import single, world
from sandbox.control import chats, crm, incoming
from sandbox.control.commands import COMMANDS, run, run_together
from sandbox.control.speech import done, given, number_asked, told
from sandbox.delivery import masked
from sandbox.journal import Wanted
from sandbox.problems import ApiError, not_found
from sandbox.state import Json
from sandbox.subscriptions import Webhook

control = Blueprint("control", __name__)

#: Modules that bring commands; naming them here is what makes them known.
COMMAND_MODULES = (crm, chats, incoming)

#: Rows of each table of the page.
SHOWN = 15


@control.get("/")
def page() -> str:
    """Show what the account holds and what went in and out."""
    here = world()
    with here.state.lock:
        newest = {kind: _newest(list(here.state.records[kind].values())) for kind in here.state.records}
        return render_template(
            "page.html",
            options=here.options,
            records=newest,
            unsorted=_newest(list(here.state.unsorted.values())),
            talks=_newest(list(here.state.talks.values())),
            pipelines=here.state.directory.pipelines,
            stage_name=here.state.directory.stage_name,
            webhooks=[(masked(hook.destination), hook) for hook in here.webhooks.all()],
            deliveries=here.sender.latest(SHOWN),
            states=here.sender.by_state(),
            requests=_newest(here.journal.find(Wanted())),
            peak=here.gate.peak,
        )


def _newest(rows: Sequence[Any]) -> list[Any]:
    return list(reversed(rows[-SHOWN:]))


@control.get("/_sandbox/health")
def health() -> Response:
    """Tell that it runs, and whose account it plays."""
    options = world().options
    return told({"ok": True, "account_id": options.account_id, "subdomain": world().state.subdomain})


@control.get("/_sandbox/deliveries")
def deliveries() -> Response:
    """Give the deliveries after id `since`, and the counts by state."""
    since = number_asked("since") or 0
    rows = world().sender.since(since)
    last = rows[-1]["id"] if rows else since
    return told({"deliveries": rows, "last": last, "by_state": world().sender.by_state()})


@control.post("/_sandbox/redeliver")
def redeliver() -> AnyResponse:
    """Send a delivery (`id`) once more, byte for byte."""
    number = str(given().get("id", ""))
    found = world().sender.find(int(number)) if number.isdigit() else None
    if found is None:
        raise not_found("Delivery")
    return done({"deliveries": [world().sender.again(found).id]})


@control.post("/_sandbox/webhooks/enable")
def enable_webhook() -> AnyResponse:
    """Enable a webhook (`destination` or `id`), as an administrator does after it was switched off."""
    hook = _named_hook(given())
    hook.enable()
    return done({"id": hook.id})


@control.post("/_sandbox/webhooks/disable")
def disable_webhook() -> AnyResponse:
    """Switch a webhook (`destination` or `id`) off, as the service does; `firmly`, only a person can enable it."""
    arguments = given()
    hook = _named_hook(arguments)
    hook.disabled, hook.firmly = True, bool(arguments.get("firmly"))
    return done({"id": hook.id})


def _named_hook(arguments: Json) -> Webhook:
    wanted = (arguments.get("destination"), str(arguments.get("id")))
    found = [hook for hook in world().webhooks.all() if hook.destination == wanted[0] or str(hook.id) == wanted[1]]
    if not found:
        raise not_found("Webhook")
    return found[0]


@control.post("/_sandbox/batch")
def batch() -> Response:
    """Run several changes (`changes`: a list of `{command, args}`) and tell them in one delivery."""
    changes = single().get("changes")
    if not isinstance(changes, list) or not all(isinstance(one, dict) for one in changes):
        raise ApiError(400, "changes has to be a list of objects")
    return told({"ok": True, **run_together(world(), changes)})


@control.get("/_sandbox/commands")
def commands() -> Response:
    """Name the commands."""
    return told({"commands": sorted(COMMANDS)})


@control.post("/_sandbox/<name>")
def run_command(name: str) -> AnyResponse:
    """Run a command with its arguments, as JSON or as a form."""
    return done(run(world(), name, given()))
