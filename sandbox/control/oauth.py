"""The integration from outside: install it, take its tokens away, switch it off, rename the account."""

from flask import Blueprint, Response

from sandbox.api.answers import world
from sandbox.calling import call
from sandbox.control.speech import given, told
from sandbox.problems import ApiError

oauth = Blueprint("oauth_control", __name__, url_prefix="/_sandbox")


@oauth.post("/oauth/install")
def install() -> Response:
    """Give a code; with `call` bring it to the redirect address, as the install of a widget does.

    `referer` replaces the account's host, `state` is only told if given: a widget's call has none.
    """
    arguments, integration = given(), world().integration
    code, referer = integration.code(), str(arguments.get("referer", world().host))
    body = {"ok": True, "code": code, "referer": referer, "client_id": integration.client_id}
    if not arguments.get("call"):
        return told(body)
    state = {"state": str(arguments["state"])} if "state" in arguments else {}
    told_there = {"code": code, "referer": referer, "client_id": integration.client_id, "from_widget": "1", **state}
    return told({**body, "status": call(integration.redirection(**told_there))})


@oauth.post("/oauth/long_lived")
def long_lived() -> Response:
    """Give a token that lasts so many `seconds` and cannot be renewed."""
    seconds = given().get("seconds", 86_400)
    if not isinstance(seconds, int | float) or seconds <= 0:
        raise ApiError(400, "seconds has to be a positive number")
    return told({"ok": True, "access_token": world().integration.book.long_lived(seconds)})


@oauth.post("/oauth/revoke")
def revoke() -> Response:
    """End all tokens that OAuth gave, and with `long_lived` the others, too."""
    world().integration.book.revoke(long_lived=bool(given().get("long_lived")))
    return told({"ok": True})


@oauth.post("/oauth/rotate_secret")
def rotate_secret() -> Response:
    """Give the integration a new secret; the tokens end."""
    return told({"ok": True, "client_secret": world().integration.rotate_secret()})


@oauth.post("/oauth/disconnect")
def disconnect() -> Response:
    """Switch the integration off: its tokens end, and its disconnect address is called.

    `revoke` false calls without switching off, which is what somebody can do who knows the signature;
    `name` is the parameter with the client's id: `client_uuid`, or `client_id` as some overviews have it.
    """
    arguments, integration = given(), world().integration
    if arguments.get("revoke", True):
        integration.book.revoke(long_lived=True)
    status = call(integration.disconnection(str(arguments.get("name", "client_uuid"))))
    return told({"ok": True, "status": status})


@oauth.post("/rename")
def rename() -> Response:
    """Give the account another `subdomain`; under its former host it is not found any more."""
    subdomain = str(given().get("subdomain", ""))
    if not subdomain.replace("-", "").isalnum():
        raise ApiError(400, "subdomain has to be a name of letters, digits and hyphens")
    with world().state.lock:
        world().state.subdomain = subdomain
    return told({"ok": True, "subdomain": subdomain, "host": world().host})
