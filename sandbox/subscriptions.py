"""The webhooks that are registered, and which events they asked for.

Source: https://developers.kommo.com/reference/webhooks and https://www.amocrm.ru/developers/content/crm_platform/webhooks-api
"""

from collections.abc import Iterator
from dataclasses import dataclass
from threading import RLock
from urllib.parse import urlsplit

from sandbox.ladder import BadAnswers
from sandbox.problems import ApiError, Fault, invalid, missing, not_a_choice, not_found, wrong_type
from sandbox.state import Json, State

#: Webhooks of one account (https://developers.kommo.com/docs/limitations).
MAX_WEBHOOKS = 100

#: The code that the service gives to an address it cannot use.
INVALID_URL = "57c2f299-1154-4870-89bb-ef3b1f5ad229"


def _names(entity: str, *actions: str) -> set[str]:
    return {f"{action}_{entity}" for action in actions}


_CHANGES = ("add", "update", "delete", "restore", "responsible", "note")

#: Events that are documented. Nothing here sends customers or template reviews yet.
SETTINGS = (
    _names("lead", *_CHANGES, "status")
    | _names("contact", *_CHANGES)
    | _names("company", *_CHANGES)
    | _names("customer", "add", "update", "delete", "responsible", "note")
    | _names("task", "add", "update", "delete", "responsible")
    | _names("talk", "add", "update")
    | {"add_message", "add_outgoing_message", "add_chat_template_review"}
)

#: Names for incoming leads and list elements. The service offers them in its pages, but their names in the
#: API are unconfirmed: these are ours, and their likeliest spellings are taken, too.
UNCONFIRMED = {
    spelling: f"{action}_{canonical}"
    for canonical, spellings in {
        "unsorted": ("unsorted",),
        "catalog_element": ("catalog_element", "catalog", "catalogs", "catalog_elements"),
    }.items()
    for action in ("add", "update", "delete")
    for spelling in (f"{action}_{name}" for name in spellings)
}


@dataclass
class Webhook:
    """A registered destination."""

    id: int
    destination: str
    settings: list[str]
    sort: int
    created_at: int
    updated_at: int
    created_by: int
    bad_answers: BadAnswers
    disabled: bool = False
    #: Whether only a person can enable it again.
    firmly: bool = False

    def wants(self, settings: frozenset[str]) -> bool:
        """Tell whether it asked for any of these events."""
        return any(UNCONFIRMED.get(name, name) in settings for name in self.settings)

    def enable(self) -> None:
        """Let it have deliveries again, its bad answers forgotten."""
        self.disabled = self.firmly = False
        self.bad_answers.forget()


class Subscriptions:
    """Keep the webhooks of the account, by destination."""

    def __init__(self, state: State, *, time_scale: float) -> None:
        self._state = state
        self._time_scale = time_scale
        self._lock = RLock()
        self._hooks: dict[str, Webhook] = {}

    def all(self) -> list[Webhook]:
        """Return all webhooks in the order of their registration."""
        with self._lock:
            return list(self._hooks.values())

    def find(self, destination: str) -> Webhook | None:
        """Return the webhook with that destination."""
        with self._lock:
            return self._hooks.get(destination)

    def wanting(self, settings: frozenset[str]) -> Iterator[Webhook]:
        """Yield the enabled webhooks that asked for any of these events."""
        return (hook for hook in self.all() if not hook.disabled and hook.wants(settings))

    def register(self, item: Json, *, by: int) -> Webhook:
        """Add a webhook, or replace settings and sort of the one with the same destination.

        A second registration also enables a hook that was switched off, unless firmly: unconfirmed, as is that the
        new settings replace the old ones. Raises ApiError 400 for what the service would refuse.
        """
        faults = list(_faults(item))
        if faults:
            raise invalid({"0": faults})
        with self._lock:
            hook = self._hooks.get(item["destination"]) or self._add(item["destination"], by)
            hook.settings = list(dict.fromkeys(item["settings"]))
            hook.sort = item.get("sort") or hook.sort
            hook.updated_at = self._state.now()
            if not hook.firmly:
                hook.enable()
            return hook

    def remove(self, destination: object) -> Webhook:
        """Forget a webhook and drop its pending deliveries; raises ApiError 404 if there is none."""
        with self._lock:
            hook = self._hooks.pop(destination, None) if isinstance(destination, str) else None
        if hook is None:
            raise not_found("Webhook")
        hook.disabled = True  # what is still on its way there is dropped
        return hook

    def _add(self, destination: str, by: int) -> Webhook:
        if len(self._hooks) >= MAX_WEBHOOKS:
            raise ApiError(400, f"An account has at most {MAX_WEBHOOKS} webhooks")
        now = self._state.now()
        number = self._state.next_id("webhooks")
        hook = Webhook(number, destination, [], 10, now, now, by, BadAnswers(self._time_scale))
        self._hooks[destination] = hook
        return hook


def _faults(item: Json) -> Iterator[Fault]:
    destination, settings = item.get("destination"), item.get("settings")
    if not isinstance(destination, str) or not is_address(destination):
        yield Fault("destination.destination", INVALID_URL, "Invalid URL")
    if settings is None:
        yield missing("settings")
    elif not isinstance(settings, list):
        yield wrong_type("settings", "array")
    else:
        yield from (not_a_choice(f"settings.{index}") for index, name in enumerate(settings) if not _known(name))
    if not isinstance(item.get("sort", 0), int):
        yield wrong_type("sort", "int")


def _known(name: object) -> bool:
    return name in SETTINGS or name in UNCONFIRMED


def is_address(text: str) -> bool:
    """Tell whether a delivery could be sent to that URL."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
