"""The log of the requests that came in: who asks what, how fast, and with which answer."""

import json
from collections import Counter, deque
from threading import Lock
from typing import Any, NamedTuple

from sandbox.faults import matches_path

#: Requests kept; older ones are forgotten, the counts are not.
KEPT = 10_000
#: Bodies kept, of the latest requests.
BODIES_KEPT = 2_000
#: Ids and field names shown of one body.
SHOWN = 50
#: Fields of a body whose values are never shown.
SECRETS = frozenset({"client_secret", "code", "refresh_token", "access_token"})


class Wanted(NamedTuple):
    """Which requests are asked for: `path` is a beginning or a pattern with wildcards."""

    since: int = 0
    method: str | None = None
    path: str | None = None
    status: int | None = None

    def fits(self, entry: dict[str, Any]) -> bool:
        """Tell whether an entry is one of them."""
        return (
            entry["number"] > self.since
            and self.method in (None, entry["method"])
            and matches_path(self.path, entry["path"])
            and self.status in (None, entry["status"])
        )


class Journal:
    """Keep the last requests and count all of them by status."""

    def __init__(self, account_id: int) -> None:
        self._account_id = account_id
        self._lock = Lock()
        self._entries: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._bodies: deque[tuple[int, bytes]] = deque(maxlen=BODIES_KEPT)
        self._by_status: Counter[int] = Counter()
        self._number = 0

    def write(self, *, body: bytes, status: int, **told: Any) -> None:
        """Add one request: `method`, `path`, `query`, `at` in epoch seconds, and whatever else is known of it.

        Status 0 is a request that got no answer.
        """
        summary = summarise(body)
        entry = {**told, "status": status, "items": summary.get("items", 0) if summary else 0, "body": summary}
        with self._lock:
            self._number += 1
            self._by_status[status] += 1
            self._entries.append({"number": self._number, "account": self._account_id, **entry})
            if body:
                self._bodies.append((self._number, body))

    def find(self, wanted: Wanted, *, bodies: bool = False) -> list[dict[str, Any]]:
        """Return the requests that are wanted, oldest first; with `bodies` what they carried, without secrets."""
        with self._lock:
            found = [entry for entry in self._entries if wanted.fits(entry)]
            kept = dict(self._bodies) if bodies else {}
        return [{**entry, "json": shown(kept.get(entry["number"], b""))} for entry in found] if bodies else found

    def by_status(self) -> dict[str, int]:
        """Return how many requests were answered with each status."""
        with self._lock:
            return {str(status): count for status, count in sorted(self._by_status.items())}


def summarise(body: bytes) -> dict[str, Any] | None:
    """Return the number of items in a body, their ids and the names of their fields; never the values."""
    if not body:
        return None
    try:
        document = json.loads(body)
    except ValueError:
        return {"bytes": len(body), "json": False}
    items = [item for item in (document if isinstance(document, list) else [document]) if isinstance(item, dict)]
    ids = [item["id"] for item in items if isinstance(item.get("id"), int)]
    names = sorted({str(name) for item in items for name in item})
    return {"bytes": len(body), "items": len(items), "ids": ids[:SHOWN], "fields": names[:SHOWN]}


def shown(body: bytes) -> Any:
    """Return a JSON body with its secrets blotted out; None for one that is no JSON or was not kept."""
    try:
        return _blotted(json.loads(body))
    except ValueError:
        return None


def _blotted(value: Any) -> Any:
    if isinstance(value, list):
        return [_blotted(one) for one in value]
    if isinstance(value, dict):
        return {name: "***" if name in SECRETS else _blotted(one) for name, one in value.items()}
    return value
