"""Look into the stores: what lies in the inbox, and what is still under way."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final

from redis import Redis

from kommo.errors import DecodeError, StoreError
from kommo.hooks.events import Event
from kommo.hooks.normalise import normalise
from kommo.queue import QUEUES
from kommo.store.brakes import Brakes
from kommo.store.connection import connect, translated
from kommo.store.dead import DeadLetters
from kommo.store.fleet import Fleet
from kommo.store.inbox import START, Entry, Inbox
from kommo.store.keys import Keys
from kommo.store.lanes import QUEUE as LANES
from kommo.store.limiter import Scope
from kommo.store.outbox import QUEUE as OUTBOX
from workers.demo.ledger import is_echo
from workers.demo.records import Left, Stored

#: Deliveries read at once.
_PAGE: Final = 500
#: What the program writes into a Redis: its own keys, and Celery's.
_OURS: Final = ("kommo:*", "_kombu.*", "unacked*", *QUEUES)


class Stores:
    """One account's work in Redis, as seen by somebody who only reads."""

    def __init__(self, redis: Redis, account_id: int) -> None:
        self._redis = redis
        self._account = account_id
        self._keys = Keys()
        self._inbox = Inbox(redis, self._keys)
        self._dead = DeadLetters(redis, self._keys)
        self._brakes = Brakes(redis)
        self._fleet = Fleet(redis)
        self._read_up_to = START

    def fresh(self, writer_id: int) -> list[Stored]:
        """Give the deliveries that were stored since the last time, oldest first."""
        entries = self._inbox.read(self._account, after=self._read_up_to, limit=_PAGE)
        if entries:
            self._read_up_to = entries[-1].stream_id
        return [_stored(entry, writer_id) for entry in entries]

    def left(self) -> Left:
        """Count what is still under way, and the dead letters."""
        waiting = self._inbox.read(self._account, after=self._inbox.cursor(self._account), limit=_PAGE)
        with translated():
            return Left(
                inbox=len(waiting),
                open=self._count("hlen", self._keys.open(self._account)),
                lanes=self._count("zcard", self._keys.chains(LANES, self._account).due),
                outbox=self._count("zcard", self._keys.chains(OUTBOX, self._account).due),
                dead=self._dead.count(self._account),
            )

    def steps_added(self) -> int:
        """Give the stores' own count of the steps that lanes were given."""
        with translated():
            value: Any = self._redis.hget(self._keys.stats(self._account), "steps")
        return int(value or 0)

    def slots_used(self, scope: Scope) -> int:
        """Count the slots of the rate limit that are taken now."""
        return self._brakes.state(scope).taken

    def workers(self) -> int:
        """Count the workers that have reported."""
        return self._fleet.size()

    def _count(self, command: str, key: str) -> int:
        return int(getattr(self._redis, command)(key))


@contextmanager
def borrowed(url: str) -> Iterator[None]:
    """Use a Redis database that is empty, and leave it so.

    Raises:
        StoreError: something lies in it already.
    """
    client = connect(url)
    try:
        with translated():
            keys: Any = client.dbsize()
        if keys:
            raise StoreError(
                f"the database that REDIS_URL names is not empty ({keys} keys), and the demo would mix with what lies "
                "there: name an empty one (redis://host:6379/9), or unset REDIS_URL and the demo starts its own Redis"
            )
        try:
            yield
        finally:
            with translated():
                _clear(client)
    finally:
        client.close()


def _clear(client: Redis) -> None:
    for pattern in _OURS:
        keys = list(client.scan_iter(pattern, count=1000))
        if keys:
            client.delete(*keys)


def _stored(entry: Entry, writer_id: int) -> Stored:
    delivery = entry.delivery
    events = _events(entry)
    return Stored(
        delivery_id=delivery.id,
        sha256=sha256(delivery.body).hexdigest(),
        received_at=delivery.received_ms / 1000,
        events=events,
        is_echo=any(is_echo(event, writer_id) for event in events),
    )


def _events(entry: Entry) -> list[Event]:
    delivery = entry.delivery
    try:
        return normalise(
            delivery.body,
            content_type=delivery.content_type,
            account_id=delivery.account_id,
            delivery_id=delivery.id,
        )
    except DecodeError:  # it shows as a delivery that was not drained, and as a dead letter
        return []
