"""The control page, the commands and the logs over HTTP. Nothing here counts against the API's limit."""

import json
from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox.api.answers import single, world
from sandbox.control import chats, crm, incoming
from sandbox.control.commands import COMMANDS, run, run_together
from sandbox.delivery import masked
from sandbox.directory import PIPELINES, stage_name
from sandbox.problems import ApiError, not_found
from sandbox.state import Json

control = Blueprint("control", __name__)

#: Modules that bring commands; naming them here is what makes them known.
COMMAND_MODULES = (crm, chats, incoming)

#: Rows of each table of the page.
SHOWN = 15


def _json(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body, ensure_ascii=False), status, mimetype="application/json")


def _given() -> Json:
    return dict(request.form) if request.form else single() if request.get_data() else {}


def _done(result: Json) -> AnyResponse:
    """Send a browser back to the page, tell a program what was done."""
    return redirect("/", 303) if request.form else _json({"ok": True, **result})


def _since() -> int:
    text = request.args.get("since", "0")
    if not text.isdigit():
        raise ApiError(400, "since has to be a number")
    return int(text)


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
            pipelines=PIPELINES,
            stage_name=stage_name,
            webhooks=[(masked(hook.destination), hook) for hook in here.webhooks.all()],
            deliveries=here.sender.latest(SHOWN),
            states=here.sender.by_state(),
            requests=_newest(here.journal.since(0)),
            peak=here.gate.peak,
        )


def _newest(rows: Sequence[Any]) -> list[Any]:
    return list(reversed(rows[-SHOWN:]))


@control.get("/_sandbox/health")
def health() -> Response:
    """Tell that it runs, and whose account it plays."""
    options = world().options
    return _json({"ok": True, "account_id": options.account_id, "subdomain": options.subdomain})


@control.get("/_sandbox/requests")
def requests() -> Response:
    """Give the API requests after number `since`, the counts by status, and the peak."""
    rows = world().journal.since(_since())
    last = rows[-1]["number"] if rows else _since()
    counts = {"peak": world().gate.peak, "by_status": world().journal.by_status()}
    return _json({"requests": rows, "last": last, **counts})


@control.get("/_sandbox/deliveries")
def deliveries() -> Response:
    """Give the deliveries after id `since`, and the counts by state."""
    rows = world().sender.since(_since())
    last = rows[-1]["id"] if rows else _since()
    return _json({"deliveries": rows, "last": last, "by_state": world().sender.by_state()})


@control.post("/_sandbox/redeliver")
def redeliver() -> AnyResponse:
    """Send a delivery (`id`) once more, byte for byte."""
    given = str(_given().get("id", ""))
    found = world().sender.find(int(given)) if given.isdigit() else None
    if found is None:
        raise not_found("Delivery")
    return _done({"deliveries": [world().sender.again(found).id]})


@control.post("/_sandbox/webhooks/enable")
def enable_webhook() -> AnyResponse:
    """Enable a webhook (`destination` or `id`), as an administrator does after it was switched off."""
    given = _given()
    wanted = (given.get("destination"), str(given.get("id")))
    found = [hook for hook in world().webhooks.all() if hook.destination == wanted[0] or str(hook.id) == wanted[1]]
    if not found:
        raise not_found("Webhook")
    found[0].enable()
    return _done({"id": found[0].id})


@control.post("/_sandbox/batch")
def batch() -> Response:
    """Run several changes (`changes`: a list of `{command, args}`) and tell them in one delivery."""
    changes = single().get("changes")
    if not isinstance(changes, list) or not all(isinstance(one, dict) for one in changes):
        raise ApiError(400, "changes has to be a list of objects")
    return _json({"ok": True, **run_together(world(), changes)})


@control.get("/_sandbox/commands")
def commands() -> Response:
    """Name the commands."""
    return _json({"commands": sorted(COMMANDS)})


@control.post("/_sandbox/<name>")
def run_command(name: str) -> AnyResponse:
    """Run a command with its arguments, as JSON or as a form."""
    return _done(run(world(), name, _given()))
