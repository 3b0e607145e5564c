"""Reading what is sent to the control side and answering it: JSON for programs, the way back for a browser."""

import json
from typing import Any

from flask import Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox.api.answers import single
from sandbox.problems import ApiError
from sandbox.state import Json


def told(body: Any, status: int = 200) -> Response:
    """Answer with JSON."""
    return Response(json.dumps(body, ensure_ascii=False), status, mimetype="application/json")


def given() -> Json:
    """Return the arguments, from JSON or from a form; none at all is fine."""
    if _is_form():
        return dict(request.form)
    return single() if request.get_data() else {}


def done(result: Json) -> AnyResponse:
    """Send a browser back to the page, tell a program what was done."""
    return redirect("/", 303) if _is_form() else told({"ok": True, **result})


def _is_form() -> bool:
    # curl calls everything a form unless told otherwise; reading the form first would leave no bytes to look at.
    body = request.get_data()
    return not body.lstrip().startswith(b"{") and bool(request.form)


def number_asked(name: str) -> int | None:
    """Return a number of the query, None if it is not there; raises ApiError 400."""
    text = request.args.get(name)
    if text is None:
        return None
    if not text.isdigit():
        raise ApiError(400, f"{name} has to be a number")
    return int(text)
