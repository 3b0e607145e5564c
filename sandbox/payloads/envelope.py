"""The whole body of an account's delivery."""

from collections.abc import Sequence

from sandbox.notices import Notice
from sandbox.state import Json, State


def envelope(state: State, notices: Sequence[Notice]) -> Json:
    """Return the account block, which opens every delivery since 2023, and the items by entity and action."""
    body: Json = {"account": account(state)}
    for one in notices:
        body.setdefault(one.entity, {}).setdefault(one.action, []).append(one.item)
    return body


def account(state: State) -> Json:
    """Return the block that tells the account."""
    host = f"https://{state.subdomain}.kommo.com"
    return {"subdomain": state.subdomain, "id": state.account_id, "_links": {"self": host}}
