"""What holds for every request of the API: the limit, the token, the journal, the form of errors."""

import time
import uuid

from flask import Blueprint, Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from sandbox.api import account, notes, records, webhooks
from sandbox.api.answers import problem, world
from sandbox.limits import Verdict
from sandbox.problems import BLOCK_PAGE, ApiError, too_many, unauthorized

api = Blueprint("api", __name__, url_prefix="/api/v4")


def arrive() -> Response | None:
    """Count the request on arrival, before anything is known of it, and refuse what is too much."""
    g.arrived_at = time.time()
    g.in_second = 0
    if not _is_api():
        return None
    judged = world().gate.arrive(time.monotonic())
    g.in_second = judged.in_second
    if judged.verdict is Verdict.BLOCKED:
        return Response(BLOCK_PAGE, 403, mimetype="text/html")
    if judged.verdict is Verdict.LIMITED:
        return problem(too_many(world().options.retry_after))
    return None


def authorize() -> None:
    """Refuse a request without one of the account's tokens."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if _is_api() and (scheme.lower() != "bearer" or token.strip() not in world().options.tokens):
        raise unauthorized()


def leave(response: Response) -> Response:
    """Write the request down and give it an id."""
    if _is_api():
        response.headers["X-Request-Id"] = uuid.uuid4().hex
        world().journal.write(
            method=request.method,
            path=request.full_path.rstrip("?"),
            status=response.status_code,
            at=g.arrived_at,
            in_second=g.in_second,
            body=request.get_data(),
        )
    return response


def catch_errors(app: Flask) -> None:
    """Count every request below the API, also one to no route, and answer errors as the service does."""
    app.before_request(arrive)
    app.before_request(authorize)
    app.after_request(leave)
    app.register_error_handler(ApiError, problem)
    app.register_error_handler(HTTPException, _http_problem)


def _http_problem(error: HTTPException) -> Response:
    answer = problem(ApiError(error.code or 500, error.description or error.name))
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        answer.headers["Allow"] = ", ".join(sorted(allowed))
    return answer


def _is_api() -> bool:
    return request.path == "/api" or request.path.startswith("/api/")


for _part in (account.routes, webhooks.routes, notes.routes, records.routes):
    api.register_blueprint(_part)
