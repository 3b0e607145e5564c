"""Gather what the stores know of past and present deliveries, so that their stories can be told. Changes nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice
from typing import Any, Final

from redis import Redis

from kommo.errors import DecodeError, named
from kommo.hooks.events import Event
from kommo.router import Router
from kommo.store.connection import translated
from kommo.store.inbox import Entry, Inbox, place
from kommo.store.keys import Keys
from kommo.store.lanes import QUEUE as LANES
from kommo.store.lanes import Lanes
from kommo.store.outbox import QUEUE as OUTBOX
from kommo.store.parking import Parking
from kommo.store.stories import REPEATED, Stories, Story
from kommo.store.waiting import Looks, Waiting
from workers.routing import events_of, lane_of
from workers.telling import DeliveryStory, Known, tell

#: Deliveries that are looked at together.
_PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class Line:
    """One delivery in a list: how it stands, and the types of its events, none if it cannot be decoded."""

    entry: Entry
    state: str
    types: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Read:
    """A delivery and its events, or why there are none."""

    entry: Entry
    events: Sequence[Event] = ()
    problem: str = ""


class Archive:
    """All deliveries that retention has kept."""

    def __init__(self, redis: Redis, keys: Keys, router: Router | None = None) -> None:
        self._redis = redis
        self._keys = keys
        self._router = router
        self.inbox = Inbox(redis, keys)
        self._stories = Stories(redis, keys)
        self._lanes = Looks(LANES, redis, keys)
        self._outbox = Looks(OUTBOX, redis, keys)
        self._parking = Parking(redis, keys)

    def newest(self, accounts: Iterable[int], *, since_ms: int = 0, until_ms: int | None = None) -> Iterator[Entry]:
        """Give the deliveries of some accounts that were stored in a time, the newest first."""
        each = [
            self.inbox.between(account_id, since_ms=since_ms, until_ms=until_ms, newest_first=True)
            for account_id in accounts
        ]
        return merge(*each, key=lambda entry: place(entry.stream_id), reverse=True)

    def lines(self, entries: Iterable[Entry]) -> Iterator[Line]:
        """Say how deliveries stand, page by page while they are taken."""
        rest = iter(entries)
        while page := [_read(entry) for entry in islice(rest, _PAGE)]:
            by_account: dict[int, list[_Read]] = {}
            for one in page:
                by_account.setdefault(one.entry.delivery.account_id, []).append(one)
            known = {one.entry: one for group in by_account.values() for one in self._known(group)}
            for one in page:
                yield Line(one.entry, known[one.entry].state, [event.type for event in one.events])

    def story(self, entry: Entry) -> DeliveryStory:
        """Tell the whole story of a delivery."""
        (known,) = self._known([_read(entry)])
        account_id, parked = entry.delivery.account_id, self._parking.state(entry.delivery.account_id)
        chains = [chain for told in known.story.steps.values() for chain in told.chains]
        whole = replace(
            known,
            steps=self._waiting_steps(known),
            writes=self._outbox.waiting(account_id, chains, holding=entry.delivery.id),
            parked=parked.reason if parked else "",
            first=self._first(known),
        )
        return tell(whole, self._router)

    def _known(self, page: Sequence[_Read]) -> list[Known]:
        """Give what a list shows of a page of one account's deliveries, in a few round trips."""
        account_id = page[0].entry.delivery.account_id
        drained = place(self.inbox.cursor(account_id))
        stories = self._stories.read(account_id, [one.entry.delivery.id for one in page])
        with translated():
            left: Any = self._redis.hmget(self._keys.open(account_id), [one.entry.stream_id for one in page])
        letters = self._letters(account_id, [_possible(one, story) for one, story in zip(page, stories, strict=True)])
        return [
            Known(
                entry=one.entry,
                events=one.events,
                story=story,
                is_drained=place(one.entry.stream_id) <= drained,
                open_steps=int(steps or 0),
                letters=found,
                problem=one.problem,
            )
            for one, story, steps, found in zip(page, stories, left, letters, strict=True)
        ]

    def _letters(self, account_id: int, possible: Sequence[Sequence[str]]) -> list[frozenset[str]]:
        """Give which of the possible dead letters of each delivery are there."""
        asked = [name for names in possible for name in names]
        with translated():
            pipe = self._redis.pipeline(transaction=False)
            for name in asked:
                pipe.hexists(self._keys.dead(account_id)[0], name)
            there = {name for name, exists in zip(asked, pipe.execute(), strict=True) if exists}
        return [frozenset(there.intersection(names)) for names in possible]

    def _waiting_steps(self, known: Known) -> list[Waiting]:
        """Find the steps that wait, first where they are likely; what other handlers wait for is looked through."""
        if not known.open_steps:
            return []
        account_id, holding = known.entry.delivery.account_id, f'"stream":"{known.entry.stream_id}"'
        handlers = {handler for _, handler in known.story.steps} | set(self._router.handlers if self._router else ())
        likely = [lane_of(event, handler) for event in known.events for handler in handlers]
        found = self._lanes.waiting(account_id, likely, holding=holding)
        if len(found) >= known.open_steps:
            return found
        entities = {event.lane_entity for event in known.events}
        lanes = [lane for entity in entities for lane in self._lanes.named(account_id, Lanes.name(*entity, ""))]
        return self._lanes.waiting(account_id, [*likely, *lanes], holding=holding)

    def _first(self, known: Known) -> Mapping[str, str]:
        """Find the deliveries that brought repeated events first."""
        first: dict[str, str] = {}
        for event in known.events:
            told = known.story.event(event.id)
            if told is not None and told.reason == REPEATED:
                for entry in self._stored_at(known.entry.delivery.account_id, told.first_ms):
                    if event.id in {other.id for other in _read(entry).events}:
                        first.setdefault(event.id, entry.delivery.id)
        return first

    def _stored_at(self, account_id: int, at_ms: int) -> Iterator[Entry]:
        return self.inbox.between(account_id, since_ms=at_ms, until_ms=at_ms)


def _read(entry: Entry) -> _Read:
    try:
        return _Read(entry, events_of(entry.delivery))
    except DecodeError as error:
        return _Read(entry, problem=f"cannot be decoded ({error.reason}): {error}")
    except Exception as error:  # a fault of ours: the delivery is a dead letter, and the other ones are told of
        return _Read(entry, problem=f"cannot be read: {named(error)}")


def _possible(read: _Read, story: Story) -> list[str]:
    """Name the dead letters that a delivery may have."""
    steps = [
        f"{event.id}.{handler}"
        for event in read.events
        for handler in story.handlers(event.id)
        if (told := story.step(event.id, handler)) and told.verb == "dead"
    ]
    writes = [id_ for tried in story.writes.values() for id_, told in tried.items() if told.verb == "dead"]
    return [read.entry.delivery.id, *steps, *writes]
