"""What a user may do: A for all, G for the own group, M for the own entities, D for nothing."""

from collections.abc import Mapping
from typing import Any

from sandbox.state import Json

_ACTIONS = {
    **dict.fromkeys(("leads", "contacts", "companies"), ("view", "edit", "add", "delete", "export")),
    "tasks": ("edit", "delete"),
}


def complete(given: Mapping[str, Any]) -> Json:
    """Return all rights: those given, and everything where nothing was said; lists that hold none are empty."""
    everything = {kind: dict.fromkeys(actions, "A") for kind, actions in _ACTIONS.items()}
    kinds = {kind: {**all_, **(given.get(kind) or {})} for kind, all_ in everything.items()}
    plain = {"mail_access": False, "catalog_access": True, "status_rights": [], "catalog_rights": []}
    said = {name: value for name, value in given.items() if name not in kinds and value is not None}
    return {**kinds, **plain, **said}
