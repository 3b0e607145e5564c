"""The stories of deliveries: how each of their events, steps and writes ended, kept as long as the delivery itself.

One hash a delivery. What can be computed again from the delivery's bytes is not in it: its fields are

    EVENT                   echo, or repeated|ms at which the delivery was stored that brought the event first
    EVENT|HANDLER           verb|attempt|at ms|took ms|number of writes and their chains, or the error
    EVENT|MARK|WRITE        verb|resource:action|entity|at ms|error

where EVENT is the beginning of the event's id, and MARK stands for the handler: Redis packs a hash tightly as long as
its names and values have 64 bytes at most. The scripts that record an outcome write them in the same step.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

from redis import Redis

from kommo.store.connection import translated
from kommo.store.keys import Keys

#: The longest error in a story, in characters; a dead letter has all of it.
ERROR_CHARS: Final = 200
#: How many chains of a step's writes are named, to find those that still wait.
CHAINS: Final = 20
#: What an event is called that our own writes caused, and one that an earlier delivery has brought already.
ECHO: Final = "echo"
REPEATED: Final = "repeated"
#: Digits of an event's id that tell it from the others of its delivery.
_EVENT_DIGITS: Final = 12
#: Seconds by which a story outlives retention, which drops it with its delivery: a net for what that has missed.
_AFTER_RETENTION: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Line:
    """One field of a story, and which story it is in."""

    delivery_id: str
    name: str
    text: bytes


@dataclass(frozen=True, slots=True)
class EventTold:
    """Why an event went into no lane: ECHO or REPEATED. `first_ms` is when it was stored first."""

    reason: str
    first_ms: int = 0

    @classmethod
    def read(cls, text: str) -> "EventTold":
        """Read what inbox_commit.lua has written; raises ValueError for what is none."""
        reason, _, first_ms = text.partition("|")
        if reason not in {ECHO, REPEATED}:
            raise ValueError(reason)
        return cls(reason, int(first_ms or 0))


@dataclass(frozen=True, slots=True)
class StepTold:
    """The latest run of a step: the verb of lane_finish.lua, when it ended, how many ms it took."""

    verb: str
    attempt: int
    at_ms: int
    took_ms: int
    writes: int = 0
    chains: Sequence[str] = ()
    error: str = ""

    def line(self, delivery_id: str, event_id: str, handler: str) -> Line:
        """Write it down."""
        rest = " ".join([str(self.writes), *self.chains[:CHAINS]]) if self.verb == "done" else _short(self.error)
        text = f"{self.verb}|{self.attempt}|{self.at_ms}|{self.took_ms}|{rest}"
        return Line(delivery_id, f"{event_name(event_id)}|{handler}", _bytes(text))

    @classmethod
    def read(cls, text: str) -> "StepTold":
        """Read it again; raises ValueError for what is none."""
        verb, attempt, at_ms, took_ms, rest = text.split("|", 4)
        if verb != "done":
            return cls(verb, int(attempt), int(at_ms), int(took_ms), error=rest)
        writes, *chains = rest.split(" ")
        return cls(verb, int(attempt), int(at_ms), int(took_ms), int(writes), tuple(chains))


@dataclass(frozen=True, slots=True)
class WriteTold:
    """The latest try of a write: the verb of outbox_finish.lua, and what it did to which entity."""

    verb: str
    what: str
    entity: str
    at_ms: int
    error: str = ""

    def line(self, delivery_id: str, event_id: str, handler: str, write_id: str) -> Line:
        """Write it down."""
        text = f"{self.verb}|{self.what}|{self.entity}|{self.at_ms}|{_short(self.error)}"
        return Line(delivery_id, f"{event_name(event_id)}|{_mark(handler)}|{write_id}", _bytes(text))

    @classmethod
    def read(cls, text: str) -> "WriteTold":
        """Read it again; raises ValueError for what is none."""
        verb, what, entity, at_ms, error = text.split("|", 4)
        return cls(verb, what, entity, int(at_ms), error)


@dataclass(slots=True)
class Story:
    """What was told of one delivery; empty when nothing was, or not by this version. Its keys are as they lie there."""

    events: dict[str, EventTold] = field(default_factory=dict)
    steps: dict[tuple[str, str], StepTold] = field(default_factory=dict)
    writes: dict[tuple[str, str], dict[str, WriteTold]] = field(default_factory=dict)

    @classmethod
    def read(cls, fields: Mapping[bytes, bytes]) -> "Story":
        """Read a story as it lies in Redis; what another version wrote otherwise is passed over."""
        story = cls()
        for name, text in fields.items():
            try:
                story._take(name.decode("utf-8", "replace").split("|"), text.decode("utf-8", "replace"))
            except ValueError:
                continue
        return story

    def event(self, event_id: str) -> EventTold | None:
        """Give why an event went into no lane, if that was its fate."""
        return self.events.get(event_name(event_id))

    def handlers(self, event_id: str) -> list[str]:
        """Name the handlers that have run for an event, in the order in which they ended."""
        ended = [
            (told.at_ms, handler) for (event, handler), told in self.steps.items() if event == event_name(event_id)
        ]
        return [handler for _, handler in sorted(ended)]

    def step(self, event_id: str, handler: str) -> StepTold | None:
        """Give how a step last ended."""
        return self.steps.get((event_name(event_id), handler))

    def writes_of(self, event_id: str, handler: str) -> Mapping[str, WriteTold]:
        """Give how the writes of a step ended, by write id."""
        return self.writes.get((event_name(event_id), _mark(handler)), {})

    def _take(self, name: Sequence[str], text: str) -> None:
        match name:
            case [event]:
                self.events[event] = EventTold.read(text)
            case [event, handler]:
                self.steps[event, handler] = StepTold.read(text)
            case [event, mark, write_id]:
                self.writes.setdefault((event, mark), {})[write_id] = WriteTold.read(text)


class Stories:
    """The stories of all accounts, to be read. They are written by the scripts that record an outcome."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def read(self, account_id: int, delivery_ids: Iterable[str]) -> list[Story]:
        """Give the stories of an account's deliveries, in one round trip."""
        with translated():
            pipe = self._redis.pipeline(transaction=False)
            for delivery_id in delivery_ids:
                pipe.hgetall(story_key(self._keys, account_id, delivery_id))
            found: list[dict[bytes, bytes]] = pipe.execute()
        return [Story.read(fields) for fields in found]


def story_key(keys: Keys, account_id: int, delivery_id: str) -> str:
    """Name the key of a delivery's story."""
    return keys.of_account(account_id, "story", delivery_id)


def life_seconds(retention: int) -> int:
    """Say for how long a story lives after its latest line, given for how long deliveries are kept, in s."""
    return retention + _AFTER_RETENTION


def event_name(event_id: str) -> str:
    """Name an event within its story."""
    return event_id[:_EVENT_DIGITS]


def _mark(handler: str) -> str:
    return f"{crc32(handler.encode()):08x}"


def _short(error: str) -> str:
    return error if len(error) <= ERROR_CHARS else f"{error[: ERROR_CHARS - 1]}…"


def _bytes(text: str) -> bytes:
    # What a handler raises may hold half a surrogate pair, which UTF-8 has no bytes for.
    return text.encode("utf-8", "backslashreplace")
