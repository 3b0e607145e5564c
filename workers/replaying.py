"""Replaying: past deliveries, computed again by the code there is now, and put into lanes for chosen handlers."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Final

from kommo.errors import StoreError, named
from kommo.hooks.events import Event
from kommo.queue import LOOPS
from kommo.router import Handler, Router
from kommo.router.matching import covers
from kommo.store.inbox import START, Entry, Inbox, RoutedEvent, Step, place
from kommo.store.lanes import QUEUE as LANES
from kommo.store.replays import Replays
from kommo.store.stories import ECHO, Stories, Story
from workers.routing import events_of, handlers_for, lane_of, steps_of

#: Deliveries that are looked at together, and steps after which a script gets no more, as for a drain.
_PAGE: Final = 32
_BATCH_STEPS: Final = 500


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which deliveries are replayed, and for whom; what is empty means all of them.

    The deliveries are ids in full. The times are those at which the deliveries were stored, by Redis's clock.
    """

    accounts: Sequence[int]
    deliveries: Sequence[str] = ()
    since_ms: int = 0
    until_ms: int
    types: Sequence[str] = ()
    handlers: Sequence[str] = ()

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Asked":
        """Read it again; raises StoreError for what another version wrote otherwise."""
        try:
            return cls(**json.loads(data))
        except (TypeError, ValueError) as error:
            raise StoreError("another version has begun this replay: begin a new one") from error


@dataclass(frozen=True)
class Chosen:
    """A delivery, its events that were asked for, each with the handlers that get it; or why it cannot be read."""

    entry: Entry
    events: Sequence[tuple[Event, Sequence[Handler]]] = ()
    problem: str = ""


@dataclass
class Count:
    """What a replay is about, or what it has done."""

    deliveries: int = 0
    events: int = 0
    unreadable: int = 0
    #: Steps by handler.
    steps: Counter[str] = field(default_factory=Counter)

    def add(self, chosen: Chosen) -> None:
        """Count a delivery."""
        self.deliveries += 1
        self.unreadable += bool(chosen.problem)
        self.events += sum(bool(handlers) for _, handlers in chosen.events)
        self.steps.update(handler.name for _, handlers in chosen.events for handler in handlers)


@dataclass(frozen=True)
class Replaying:
    """The way of past deliveries to handlers."""

    inbox: Inbox
    stories: Stories
    replays: Replays
    router: Router

    def plan(self, asked: Asked) -> Count:
        """Count what a replay would do."""
        count = Count()
        for account_id in asked.accounts:
            for chosen in self.chosen(asked, account_id):
                count.add(chosen)
        return count

    def run(self, replay: str, asked: Asked, wake: Callable[[str], None]) -> int:
        """Put the steps into their lanes, from where this replay stands; return how many.

        Batch by batch, each with its place: whatever ends this, going on with the same replay doubles nothing and
        leaves nothing out. An event that comes more than once, as Kommo repeats itself, runs once.

        Raises:
            StoreError: somebody else goes on with this replay at the same time.
        """
        self.replays.keep(replay, asked.to_json())
        return sum(self._run_account(replay, asked, account_id, wake) for account_id in asked.accounts)

    def chosen(self, asked: Asked, account_id: int, after: str = START) -> Iterator[Chosen]:
        """Give what was asked for of one account, in the order of the deliveries, and each event once.

        What is not drained yet is left out: it is not past.
        """
        entries = self._entries(asked, account_id, after)
        seen: set[str] = set()
        while page := list(islice(entries, _PAGE)):
            stories = self.stories.read(account_id, [entry.delivery.id for entry in page])
            for entry, story in zip(page, stories, strict=True):
                yield _once(self._of_delivery(asked, entry, story), seen)

    def _entries(self, asked: Asked, account_id: int, after: str) -> Iterator[Entry]:
        drained, begun = place(self.inbox.cursor(account_id)), place(after)
        for entry in self._stored(asked, account_id):
            stored = place(entry.stream_id)
            if stored > drained:
                return
            if stored > begun:
                yield entry

    def _stored(self, asked: Asked, account_id: int) -> Iterable[Entry]:
        if not asked.deliveries:
            return self.inbox.between(account_id, since_ms=asked.since_ms, until_ms=asked.until_ms)
        found = [entry for name in asked.deliveries for entry in self.inbox.find(name, [account_id])]
        wanted = {place(entry.stream_id): entry for entry in found if entry.delivery.id in asked.deliveries}
        return [wanted[at] for at in sorted(wanted)]

    def _of_delivery(self, asked: Asked, entry: Entry, story: Story) -> Chosen:
        try:
            events = [_as_it_was(event, story) for event in events_of(entry.delivery)]
            wanted = [event for event in events if not asked.types or _is_of(event, asked.types)]
            return Chosen(entry, [(event, self._handlers(asked, event)) for event in wanted])
        except Exception as error:  # undecodable, or a fault of ours: neither may stop the replay
            return Chosen(entry, problem=named(error))

    def _handlers(self, asked: Asked, event: Event) -> list[Handler]:
        found = handlers_for(self.router, event)
        return [handler for handler in found if not asked.handlers or handler.name in asked.handlers]

    def _run_account(self, replay: str, asked: Asked, account_id: int, wake: Callable[[str], None]) -> int:
        after, total = self.replays.place(replay, account_id), 0
        for batch in _batches(self.chosen(asked, account_id, after)):
            events = [event for chosen in batch for event in self._routed(replay, chosen)]
            up_to = batch[-1].entry.stream_id
            added = self.replays.add(replay, account_id, after=after, up_to=up_to, events=events)
            if not added.moved:
                raise StoreError(f"somebody else goes on with the replay {replay} at the same time: leave it to them")
            if added.wake:
                wake(LOOPS[LANES])
            after, total = up_to, total + added.steps
        return total

    def _routed(self, replay: str, chosen: Chosen) -> Iterator[RoutedEvent]:
        stream_id = chosen.entry.stream_id
        for event, handlers in chosen.events:
            lanes = {lane_of(event, handler.name) for handler in handlers}
            steps = [step for step in steps_of(self.router, event, stream_id) if step.lane in lanes]
            yield RoutedEvent(event.id, stream_id, [_marked(step, replay) for step in steps], event.is_echo)


def _as_it_was(event: Event, story: Story) -> Event:
    """Mark an event that was an echo of our own writes: what it was recognised by is gone after an hour."""
    told = story.event(event.id)
    return replace(event, is_echo=True) if told and told.reason == ECHO else event


def _once(chosen: Chosen, seen: set[str]) -> Chosen:
    """Take out the events that were seen, as Kommo repeats itself, and note the others as seen."""
    fresh = [(event, handlers) for event, handlers in chosen.events if event.id not in seen]
    seen.update(event.id for event, _ in fresh)
    return replace(chosen, events=fresh)


def _is_of(event: Event, types: Iterable[str]) -> bool:
    return any(covers(pattern, event.type) for pattern in types)


def _marked(step: Step, replay: str) -> Step:
    """Say in a step which replay it is of: its writes are others than those of the first time."""
    return Step(step.lane, b'{"replay":%s,' % json.dumps(replay).encode() + step.record.removeprefix(b"{"))


def _batches(chosen: Iterable[Chosen]) -> Iterator[list[Chosen]]:
    """Put as many deliveries together as one script should take, at least one."""
    batch: list[Chosen] = []
    steps = 0
    for one in chosen:
        batch.append(one)
        steps += sum(len(handlers) + 1 for _, handlers in one.events)
        if len(batch) >= _PAGE or steps >= _BATCH_STEPS:
            yield batch
            batch, steps = [], 0
    if batch:
        yield batch


def read_asked(data: bytes | None, replay: str) -> Asked:
    """Read what a replay was asked to do; raises StoreError when it is not known (any more)."""
    if data is None:
        raise StoreError(f"no replay {replay} is known: it may be gone on with for a day")
    return Asked.from_json(data)
