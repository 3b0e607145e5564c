"""The account's webhooks, for administrators: https://developers.kommo.com/docs/webhooks-general"""

from collections.abc import Mapping, Sequence

from kommo.api.bounds import WEBHOOK_LIMIT, check_room
from kommo.api.pages import Json, Send
from kommo.api.resources.records import listed_once
from kommo.api.writes import API
from kommo.errors import RequestError


class Webhooks:
    """Webhooks; a subscription is known by its URL, there is no work by id."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._path = f"{API}/webhooks"
        self._seen: frozenset[object] | None = None

    def list(self, destination: str | None = None) -> Sequence[Json]:
        """Return all webhooks, or the one with this destination; Kommo gives no pages here."""
        params = {"filter": {"destination": destination}} if destination else None
        found = listed_once(self._send, self._path, "webhooks", params)
        if destination is None:
            self._seen = frozenset(webhook.get("destination") for webhook in found)
        return found

    def register(self, destination: str, settings: Sequence[str], sort: int | None = None) -> Json:
        """Subscribe a URL to events such as `add_lead`; a URL that is known already is changed.

        An account has 100 at most: RequestError if the last `list()` has shown as many.
        """
        if isinstance(settings, str) or not settings:
            raise RequestError("settings= is a list of event names such as ['add_lead'], and not empty")
        body: Json = {"destination": _destination(destination), "settings": [*settings]}
        if self._seen is not None and destination not in self._seen:
            check_room(len(self._seen), [destination], WEBHOOK_LIMIT, "webhooks")
        if sort is not None:
            body["sort"] = sort
        answer = self._send("POST", self._path, None, body)
        self._seen = None if self._seen is None else self._seen | {destination}
        return dict(answer) if isinstance(answer, Mapping) else {}

    def remove(self, destination: str) -> None:
        """Unsubscribe a URL. It goes in the body of the DELETE: there is none by id. Raises NotFound."""
        self._send("DELETE", self._path, None, {"destination": _destination(destination)})
        self._seen = None if self._seen is None else self._seen - {destination}


def _destination(url: object) -> str:
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise RequestError("destination= is the full URL that Kommo will call")
    return url
