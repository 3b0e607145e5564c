"""The consent page, the token endpoint, and the question where an account lives now.

Source: https://developers.kommo.com/docs/oauth-20
"""

import json

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox.api.answers import document, world
from sandbox.directory import INTEGRATION_USER
from sandbox.pages import problem_page
from sandbox.problems import ApiError, Refusal, unauthorized
from sandbox.tokens import refused

routes = Blueprint("oauth", __name__)


@routes.get("/oauth")
def consent() -> AnyResponse:
    """Agree at once and lead back; `deny=1` refuses, `referer` replaces the host of the account."""
    integration, state = world().integration, request.args.get("state", "")
    if request.args.get("client_id") != integration.client_id:
        raise ApiError(400, "There is no such integration")
    known = {"state": state, "client_id": integration.client_id}
    if request.args.get("deny") == "1":
        return redirect(integration.redirection(error="access_denied", **known))
    referer = request.args.get("referer", world().host)
    return redirect(integration.redirection(code=integration.code(), referer=referer, **known))


@routes.post("/oauth2/access_token")
def access_token() -> Response:
    """Change a code or a refresh token into tokens."""
    asked = dict(request.form) if "grant_type" in request.form else document()
    if not isinstance(asked, dict):
        raise refused("Check the request", status=400, detail="The body has to be a JSON object.")
    return Response(json.dumps(world().integration.answer(asked)), mimetype="application/json")


@routes.get("/oauth2/account/current/subdomain")
def current_subdomain() -> Response:
    """Tell the account's present name to who has one of its refresh tokens."""
    token = request.headers.get("X-Refresh-Token", "")
    if not world().integration.book.is_live(token):
        raise Refusal(problem_page(401, "Invalid refresh token"))
    return _domain()


@routes.get("/oauth2/account/subdomain")
def subdomain() -> Response:
    """Tell the same to who has an access token; the service's common host answers this for every account."""
    _, _, token = request.headers.get("Authorization", "").partition(" ")
    if not world().integration.book.admits(token.strip()):
        raise unauthorized()
    return _domain()


@routes.get("/v3/user")
def owner() -> Response:
    """Tell who the owner of an access token is, in the older form that OAuth clients ask for: unconfirmed."""
    user = world().state.directory.user(INTEGRATION_USER)
    name, email = (user.name, user.email) if user else ("", "")
    told = {"id": INTEGRATION_USER, "name": name, "email": email, "account_id": world().options.account_id}
    return Response(json.dumps(told), mimetype="application/json")


def _domain() -> Response:
    host = world().host
    told = {"id": world().options.account_id, "subdomain": world().state.subdomain, "domain": host}
    body = {**told, "top_level_domain": host.rpartition(".")[2]}
    return Response(json.dumps(body), mimetype="application/json")
