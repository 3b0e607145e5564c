"""A hostile request: what is sent, and what must hold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: Statuses by which a request is refused as the sender's mistake; 0 is a connection that was closed without a word.
REFUSED: Final = frozenset({0, *range(400, 500)})
UNPROVEN: Final = frozenset({401})
STORED: Final = frozenset({200})


@dataclass(frozen=True)
class Case:
    """One request. `stored` says whether it may, or has to, be kept as a delivery."""

    name: str
    sent: bytes | Callable[[], bytes]
    answers: frozenset[int] = REFUSED
    stored: bool | None = False
    #: Nothing more is sent: what is half there stays half.
    ends: bool = True

    @property
    def bytes(self) -> bytes:
        return self.sent() if callable(self.sent) else self.sent

    def __str__(self) -> str:
        return self.name


def raw(head: str, body: bytes = b"") -> bytes:
    """Write a request whose lines are parted by line feeds alone: every other control character stays as it is."""
    first, *lines = head.split("\n")
    return "\r\n".join([first, "Host: hooks.example.org", *lines, "", ""]).encode("latin-1") + body
