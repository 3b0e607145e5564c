"""What the demo gets to know, as plain values: from Kommo's stand-in, from the stores, from the children's logs."""

from collections.abc import Sequence
from dataclasses import dataclass

from kommo.hooks.events import Event

#: Methods of calls that change something at Kommo.
WRITING = frozenset({"POST", "PATCH"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to deliver: when (epoch seconds), the answer, and after how many ms it came."""

    at: float
    status: int
    ms: float


@dataclass(frozen=True, slots=True)
class Sent:
    """A delivery as its sender knows it. `sha256` is that of the body."""

    number: int
    kind: str
    sha256: str
    size: int
    state: str
    attempts: Sequence[Attempt] = ()

    @property
    def is_answered(self) -> bool:
        return self.state == "delivered"


@dataclass(frozen=True, slots=True)
class Stored:
    """A delivery as it lies in the inbox, and the events in it; `is_echo` when our own writing caused it."""

    delivery_id: str
    sha256: str
    received_at: float
    events: Sequence[Event] = ()
    is_echo: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """A handler that has run through: when it ended (epoch seconds), how long it took, how many writes it asked for."""

    delivery_id: str
    event_id: str
    handler: str
    ended_at: float
    ms: float
    writes: int
    attempt: int = 1

    @property
    def began_at(self) -> float:
        return self.ended_at - self.ms / 1000


@dataclass(frozen=True, slots=True)
class Call:
    """A call to the API as the caller knows it; `status` is None when no answer came, `ended_at` epoch seconds."""

    delivery_id: str
    event_id: str
    handler: str
    method: str
    path: str
    status: int | None
    ended_at: float = 0
    ms: float = 0
    waited_ms: float = 0
    #: How many entities it carried, for a call that writes several.
    entities: int = 0

    @property
    def began_at(self) -> float:
        return self.ended_at - self.ms / 1000

    @property
    def is_done(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to the API as the sandbox knows it; `path` without the query."""

    number: int
    method: str
    path: str
    status: int


@dataclass(frozen=True, slots=True)
class Left:
    """What still lies in the stores: deliveries not drained or not done with, steps, writes, dead letters."""

    inbox: int = 0
    open: int = 0
    lanes: int = 0
    outbox: int = 0
    dead: int = 0

    @property
    def is_nothing(self) -> bool:
        """Say whether nothing is under way. Dead letters are not: they wait for a person."""
        return not (self.inbox or self.open or self.lanes or self.outbox)
