"""The log of the API requests that came in: who asks what, how fast, and with which answer."""

import json
from collections import Counter, deque
from threading import Lock
from typing import Any

#: Requests kept; older ones are forgotten, the counts are not.
KEPT = 10_000
#: Ids and field names shown of one body.
SHOWN = 50


class Journal:
    """Keep the last requests and count all of them by status."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._by_status: Counter[int] = Counter()
        self._number = 0

    def write(self, *, method: str, path: str, status: int, at: float, in_second: int, body: bytes) -> None:
        """Add one request; `at` is epoch seconds of its arrival."""
        entry = {"method": method, "path": path, "status": status, "at": at, "in_second": in_second}
        summary = summarise(body)
        with self._lock:
            self._number += 1
            self._by_status[status] += 1
            self._entries.append({"number": self._number, **entry, "body": summary})

    def since(self, number: int) -> list[dict[str, Any]]:
        """Return the requests after that number, oldest first."""
        with self._lock:
            return [entry for entry in self._entries if entry["number"] > number]

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
