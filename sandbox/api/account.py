"""The account itself (https://developers.kommo.com/reference/account-info)."""

from flask import Blueprint, Response

from sandbox.api.answers import definitions, embedding, hal

routes = Blueprint("account", __name__)


@routes.get("/account")
def get_account() -> Response:
    """Answer the account."""
    return hal(definitions().account(with_=embedding()))
