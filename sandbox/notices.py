"""What happened, in the form in which the account tells it: an item, and the subscriptions that want it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.state import Json


@dataclass(frozen=True)
class Notice:
    """One item of a delivery: `entity[action][] = item`, for hooks that subscribed to any of `settings`."""

    entity: str
    action: str
    item: Json
    settings: frozenset[str]

    @property
    def kind(self) -> str:
        """Its short name, for logs."""
        return f"{self.entity}.{self.action}"


def notice(entity: str, action: str, item: Json, *settings: str) -> Notice:
    """Return a notice; several settings bring one delivery, not several."""
    return Notice(entity, action, item, frozenset(settings))


def kind_of(notices: Sequence[Notice]) -> str:
    """Return the names of what a delivery holds, each once."""
    return "+".join(dict.fromkeys(one.kind for one in notices))
