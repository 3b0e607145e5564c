"""The inbox: every proven delivery, as bytes, one stream an account, drained in order behind a cursor."""

from collections.abc import Mapping, Sequence
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

QUEUE: Final = "inbox"
START: Final = "0-0"
#: Seconds for which a body, and an event, is known as seen. Kommo repeats a delivery within 1 h 35 min at the latest.
SEEN_SECONDS: Final = 2 * 3600
#: Deliveries that one run of the trimming script looks at.
_TRIM_PAGE: Final = 50


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
    """An event and the lanes it goes into; none when no handler wants it."""

    event_id: str
    stream_id: str
    steps: Sequence[Step]
    is_echo: bool = False


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
        account = delivery.account_id
        seen = _digest(delivery.body) if droppable else delivery.id
        queue = self._keys.queue(QUEUE, self._keys.shard(account))
        outcome, wake = self._scripts.run(
            Call(
                "inbox_append",
                [
                    self._keys.of_account(account, "inbox", "stream"),
                    self._keys.of_account(account, "inbox", "seen", seen),
                    queue.ready,
                    queue.awake,
                    queue.flag,
                    self._keys.of_shard(self._keys.shard(account), "accounts"),
                    self._keys.stats(account),
                ],
                [
                    account,
                    delivery.id,
                    delivery.content_type,
                    delivery.received_ms,
                    delivery.body,
                    SEEN_SECONDS,
                ],
            )
        )
        return Stored(outcome), bool(wake)

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

    def commit(self, batch: Batch, *, hold_ms: int) -> Committed:
        """Put a batch into its lanes and move the cursor, all or nothing (see inbox_commit.lua)."""
        account = batch.account_id
        keys = self._keys
        lane_loops = keys.queue(LANES, keys.shard(account))
        args: list[str | int | bytes] = [account, batch.cursor, batch.new_cursor, hold_ms, SEEN_SECONDS]
        args += [len(batch.dead), len(batch.events), len(batch.ledger), LIFE_SECONDS]
        for letter in batch.dead:
            args += [letter.id, letter.to_json()]
        for event in batch.events:
            args += [event.stream_id, int(event.is_echo), len(event.steps)]
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
                ],
                args,
            )
        )
        return Committed(bool(moved), fresh, bool(wake), bool(more))

    def trim(self, account_id: int, *, received_after_ms: int, max_bytes: int) -> int:
        """Drop handled deliveries that are too old or too many; say how many.

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
            dropped, last = self._scripts.run(Call("inbox_trim", keys, args))
            total, after = total + int(dropped), last.decode()
        return total

    def accounts(self) -> list[int]:
        """List every account that ever had a delivery."""
        with translated():
            return sorted(
                int(account)
                for shard in range(self._keys.shards)
                for account in self._redis.smembers(self._keys.of_shard(shard, "accounts"))
            )


def _digest(body: bytes) -> str:
    return blake2b(body, digest_size=16).hexdigest()


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
