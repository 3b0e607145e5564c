"""The inbox: every proven delivery, as bytes, one stream an account, drained in order behind a cursor."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from typing import Any, Final

from redis import Redis

from kommo.store.connection import translated
from kommo.store.dead import DeadLetter
from kommo.store.echoes import LIFE_SECONDS, EntryChange, entry_key
from kommo.store.keys import Keys
from kommo.store.lanes import QUEUE as LANES
from kommo.store.scripts import Call, Scripts
from kommo.store.stories import event_name, life_seconds, story_key

QUEUE: Final = "inbox"
START: Final = "0-0"
#: Seconds for which a body, and an event, is known as seen. Kommo repeats a delivery within 1 h 35 min at the latest.
SEEN_SECONDS: Final = 2 * 3600
#: Deliveries that one run of the trimming script looks at.
_TRIM_PAGE: Final = 50
#: Deliveries that are read at a time where all of a range are wanted: first few, as often a few are enough.
_FIRST_PAGE: Final = 10
_RANGE_PAGE: Final = 100
#: The shortest beginning of a delivery's id that it may be called by.
PREFIX_CHARS: Final = 8
#: How many digits at the front of a delivery's id are the ms at which it was received.
_TIME_DIGITS: Final = 12
_TIME: Final = re.compile(rf"[0-9a-f]{{{PREFIX_CHARS},{_TIME_DIGITS}}}")
#: How far the clocks of a receiver and of Redis are believed to be apart, in ms.
_CLOCKS_APART_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request of Kommo's. `id` is made once, before the first attempt to store it."""

    id: str
    account_id: int
    body: bytes
    content_type: str
    received_ms: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored delivery and its place in the stream."""

    stream_id: str
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Step:
    """One event in one lane."""

    lane: str
    record: bytes


@dataclass(frozen=True, slots=True)
class RoutedEvent:
    """An event and the lanes it goes into; none when no handler wants it. Without a delivery id no story is told."""

    event_id: str
    stream_id: str
    steps: Sequence[Step]
    is_echo: bool = False
    delivery_id: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a drain made of the entries after `cursor` up to `new_cursor`."""

    account_id: int
    cursor: str
    new_cursor: str
    events: Sequence[RoutedEvent]
    dead: Sequence[DeadLetter]
    #: What it took from the ledger of own writes, and noted there.
    ledger: Sequence[EntryChange] = ()
    #: For how long the stories of its deliveries live.
    story_seconds: int = life_seconds(0)


@dataclass(frozen=True, slots=True)
class Committed:
    """`moved` is False when another drain was faster: then nothing was changed."""

    moved: bool
    fresh: int
    wake: bool
    more: bool


class Stored(IntEnum):
    """What became of a delivery that was to be stored. The values are those of inbox_append.lua."""

    DUPLICATE = 0
    NEW = 1
    REPEATED_CALL = 2


class Inbox:
    """The inboxes of all accounts."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._scripts = Scripts(redis)

    def add(self, delivery: Delivery, *, droppable: bool = True) -> tuple[Stored, bool]:
        """Store a delivery unless it is stored already; say what became of it and whether to wake a drain.

        A body that was seen within two hours is a duplicate. With `droppable` False only a repeated call with the
        same delivery id is: for bodies with items that carry no time, which may be two equal changes.

        Raises:
            StoreUnavailable: Redis is away. Whether the delivery was stored is not known; add it again as it is.
        """
        outcome, wake = self._scripts.run(self._append(delivery, droppable=droppable))
        return Stored(outcome), bool(wake)

    def add_together(
        self, deliveries: Sequence[tuple[Delivery, bool]], *, in_order: bool = False
    ) -> list[tuple[Stored, bool] | Exception]:
        """Store deliveries in one round trip, each with its own `droppable`: what `add` gives or raises, for each.

        Those of an account are stored in this order; with `in_order` also by a Redis that has just started.

        Raises:
            StoreUnavailable: Redis is away, and it is not known which are stored.
        """
        calls = [self._append(delivery, droppable=droppable) for delivery, droppable in deliveries]
        return [
            told if isinstance(told, Exception) else (Stored(told[0]), bool(told[1]))
            for told in self._scripts.run_each(calls, in_order=in_order)
        ]

    def stored_as(self, deliveries: Sequence[Delivery]) -> list[str | None]:
        """Give, for each, the id of the delivery under which its body is known as seen now."""
        with translated():
            pipe = self._redis.pipeline(transaction=False)
            for delivery in deliveries:
                pipe.get(self._seen(delivery.account_id, _digest(delivery.body)))
            known: list[bytes | None] = pipe.execute()
        return [id_.decode() if id_ else None for id_ in known]

    def _append(self, delivery: Delivery, *, droppable: bool) -> Call:
        account = delivery.account_id
        queue = self._keys.queue(QUEUE, self._keys.shard(account))
        return Call(
            "inbox_append",
            [
                self._keys.of_account(account, "inbox", "stream"),
                self._seen(account, _digest(delivery.body) if droppable else delivery.id),
                queue.ready,
                queue.awake,
                queue.flag,
                self._keys.of_shard(self._keys.shard(account), "accounts"),
                self._keys.stats(account),
            ],
            [account, delivery.id, delivery.content_type, delivery.received_ms, delivery.body, SEEN_SECONDS],
        )

    def _seen(self, account_id: int, what: str) -> str:
        return self._keys.of_account(account_id, "inbox", "seen", what)

    def cursor(self, account_id: int) -> str:
        """Give the place up to which the account is drained."""
        with translated():
            value: Any = self._redis.get(self._keys.of_account(account_id, "inbox", "cursor"))
        return value.decode() if value else START

    def read(self, account_id: int, *, after: str, limit: int) -> list[Entry]:
        """Read the deliveries after a place, oldest first."""
        with translated():
            rows: Any = self._redis.xrange(
                self._keys.of_account(account_id, "inbox", "stream"), min=f"({after}", count=limit
            )
        return _entries(account_id, rows)

    def read_to_drain(self, account_id: int, *, after: str, limit: int) -> tuple[list[Entry], frozenset[str]]:
        """Read the same, and in the same round trip the kinds of entities that the account wrote within the hour.

        The kinds come second: of what a delivery was caused by, it was noted before the delivery came.
        """
        with translated():
            pipe = self._redis.pipeline(transaction=False)
            pipe.xrange(self._keys.of_account(account_id, "inbox", "stream"), min=f"({after}", count=limit)
            pipe.hkeys(entry_key(self._keys, account_id))
            rows, kinds = pipe.execute()
        return _entries(account_id, rows), frozenset(kind.decode() for kind in kinds)

    def between(
        self, account_id: int, *, since_ms: int = 0, until_ms: int | None = None, newest_first: bool = False
    ) -> Iterator[Entry]:
        """Give the deliveries stored in a time, both ends included; the clock is Redis's.

        They are read page by page while they are taken, so that those stored meanwhile may be among them.
        """
        key = self._keys.of_account(account_id, "inbox", "stream")
        first, last = str(max(since_ms, 0)), "+" if until_ms is None else str(max(until_ms, 0))
        page = _FIRST_PAGE
        while True:
            with translated():
                rows: Any = (
                    self._redis.xrevrange(key, max=last, min=first, count=page)
                    if newest_first
                    else self._redis.xrange(key, min=first, max=last, count=page)
                )
            yield from _entries(account_id, rows)
            if len(rows) < page:
                return
            page = _RANGE_PAGE
            beyond = f"({rows[-1][0].decode()}"
            first, last = (first, beyond) if newest_first else (beyond, last)

    def find(self, delivery_id: str, accounts: Iterable[int]) -> list[Entry]:
        """Find deliveries by id, or by how it begins (at least PREFIX_CHARS); none once retention has dropped them.

        An id begins with the time at which it was made, so its place in the stream is nearly known. What lay on a
        disk while Redis was away was stored later: only if nothing is found there, all are looked through.
        """
        return [entry for account_id in accounts for entry in self._find(delivery_id, account_id)]

    def _find(self, delivery_id: str, account_id: int) -> list[Entry]:
        time = _TIME.match(delivery_id)
        if time is None:
            return _called(delivery_id, self.between(account_id))
        digits = time[0]
        since_ms = int(digits.ljust(_TIME_DIGITS, "0"), 16) - _CLOCKS_APART_MS
        until_ms = int(digits.ljust(_TIME_DIGITS, "f"), 16) + _CLOCKS_APART_MS
        near = _called(delivery_id, self.between(account_id, since_ms=since_ms, until_ms=until_ms))
        return near or _called(delivery_id, self.between(account_id))

    def commit(self, batch: Batch, *, hold_ms: int) -> Committed:
        """Put a batch into its lanes and move the cursor, all or nothing (see inbox_commit.lua)."""
        account = batch.account_id
        keys = self._keys
        lane_loops = keys.queue(LANES, keys.shard(account))
        args: list[str | int | bytes] = [account, batch.cursor, batch.new_cursor, hold_ms, SEEN_SECONDS]
        args += [len(batch.dead), len(batch.events), len(batch.ledger), LIFE_SECONDS, batch.story_seconds]
        told = dict.fromkeys(event.delivery_id for event in batch.events if event.delivery_id)
        stories = {delivery_id: number for number, delivery_id in enumerate(told, 1)}
        for letter in batch.dead:
            args += [letter.id, letter.to_json()]
        for event in batch.events:
            args += [event.stream_id, int(event.is_echo), stories.get(event.delivery_id, 0)]
            args += [event_name(event.event_id), len(event.steps)]
            for step in event.steps:
                args += [step.lane, step.record]
        for change in batch.ledger:
            args += [len(change.gone), *change.gone, len(change.written)]
            for name, value in change.written.items():
                args += [name, value]
        moved, fresh, wake, more = self._scripts.run(
            Call(
                "inbox_commit",
                [
                    keys.of_account(account, "inbox", "stream"),
                    keys.of_account(account, "inbox", "cursor"),
                    keys.queue(QUEUE, keys.shard(account)).ready,
                    keys.open(account),
                    keys.stats(account),
                    *keys.dead(account),
                    *keys.chains(LANES, account).all(),
                    lane_loops.awake,
                    lane_loops.flag,
                    *(keys.of_account(account, "event", event.event_id) for event in batch.events),
                    *(entry_key(keys, account, change.subject) for change in batch.ledger),
                    *(story_key(keys, account, delivery_id) for delivery_id in stories),
                ],
                args,
            )
        )
        return Committed(bool(moved), fresh, bool(wake), bool(more))

    def trim(self, account_id: int, *, received_after_ms: int, max_bytes: int) -> int:
        """Drop handled deliveries that are too old or too many, with their stories; say how many.

        What waits in a lane is kept, and so does not keep what was handled after it.
        """
        keys = [
            self._keys.of_account(account_id, "inbox", "stream"),
            self._keys.of_account(account_id, "inbox", "cursor"),
            self._keys.open(account_id),
            self._keys.stats(account_id),
        ]
        total, after = 0, START
        while after:
            # Small pages: the bodies pass through the script, and Redis does nothing else meanwhile.
            args: list[str | int | bytes] = [received_after_ms, max_bytes, after, _TRIM_PAGE]
            last, *dropped = self._scripts.run(Call("inbox_trim", keys, args))
            if dropped:
                with translated():
                    self._redis.unlink(*(story_key(self._keys, account_id, name.decode()) for name in dropped))
            total, after = total + len(dropped), last.decode()
        return total

    def accounts(self) -> list[int]:
        """List every account that ever had a delivery."""
        with translated():
            return sorted(
                int(account)
                for shard in range(self._keys.shards)
                for account in self._redis.smembers(self._keys.of_shard(shard, "accounts"))
            )


def place(stream_id: str) -> tuple[int, int]:
    """Read an id of the stream as what can be compared: the ms at which it was stored, and a number."""
    milliseconds, _, number = stream_id.partition("-")
    return int(milliseconds), int(number)


def _digest(body: bytes) -> str:
    return blake2b(body, digest_size=16).hexdigest()


def _called(name: str, entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.delivery.id.startswith(name)]


def _entries(account_id: int, rows: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> list[Entry]:
    return [Entry(stream_id.decode(), _delivery(account_id, fields)) for stream_id, fields in rows]


def _delivery(account_id: int, fields: Mapping[bytes, bytes]) -> Delivery:
    return Delivery(
        id=fields[b"id"].decode(),
        account_id=account_id,
        body=fields[b"body"],
        content_type=fields[b"type"].decode(),
        received_ms=int(fields[b"at"]),
    )
