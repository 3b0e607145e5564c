"""A delivery: the bytes for one destination, and what became of them."""

import hashlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from sandbox.ladder import Ladder
from sandbox.subscriptions import Webhook


@dataclass
class Attempt:
    """One try: when (epoch seconds), the answer's number, and how long it took."""

    at: float
    status: int
    duration_ms: float


@dataclass
class Delivery:
    """A body on its way to one destination; state is pending, delivered, failed or dropped."""

    id: int
    kind: str
    destination: str
    body: bytes
    content_type: str
    ladder: Ladder
    hook: Webhook | None
    attempts: list[Attempt] = field(default_factory=list)
    state: str = "pending"

    def as_json(self) -> dict[str, Any]:
        """Return it for the log: without the body, and without what proves the sender in its address."""
        return {
            "id": self.id,
            "kind": self.kind,
            "destination": masked(self.destination),
            "state": self.state,
            "sha256": hashlib.sha256(self.body).hexdigest(),
            "bytes": len(self.body),
            "attempts": [vars(attempt) for attempt in list(self.attempts)],
        }


def masked(destination: str) -> str:
    """Hide the last segment of the path and the query: a registered address carries its own secret."""
    parts = urlsplit(destination)
    slash = "/" if parts.path.endswith("/") else ""
    stem, separator, last = parts.path.rstrip("/").rpartition("/")
    path = f"{stem}{separator}***{slash}" if last else parts.path
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, path, "***" if parts.query else "", ""))
