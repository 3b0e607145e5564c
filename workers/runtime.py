"""What a worker process works with, composed once per process from the environment's settings."""

import itertools
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from redis import Redis

from kommo.api.clients import Clients, Shared
from kommo.errors import StoreUnavailable
from kommo.queue import LOOPS, Waker, publisher
from kommo.router import Router
from kommo.settings import Settings
from kommo.store.accounts import Accounts
from kommo.store.connection import connect
from kommo.store.fleet import Fleet
from kommo.store.inbox import Inbox
from kommo.store.keys import Keys
from kommo.store.lanes import Lanes
from kommo.store.loops import Loops
from kommo.store.outbox import Outbox
from workers.hanging import Hanging
from workers.keeper import Keeper
from workers.solitude import Solitude
from workers.waits import Waits

#: Threads that run loops leave free for drains and the flush.
_RESERVED_THREADS: Final = 3
#: Seconds for which what the fleet may run is taken as known.
_CAPACITY_SECONDS: Final = 1.0


def capacity_of_threads(threads: int) -> Mapping[str, int]:
    """Say how many loops a process with so many threads may run per queue.

    Handlers may be slow; draining and sending must not wait for them, so run loops never take all of the pool.
    """
    return {
        "inbox": 1 if threads <= _RESERVED_THREADS else 2,
        "lanes": max(1, threads - _RESERVED_THREADS),
        "outbox": 1,
    }


def capacity_of_children(children: int) -> Mapping[str, int]:
    """Say the same of a worker with so many prefork children, each of which runs one loop at a time."""
    return {"inbox": min(2, children), "lanes": children, "outbox": 1}


class Gates:
    """How many loops of each kind run in this process, and whether one more may.

    `capacity` is what the process adds to the fleet's; `here`, if it is not the same, what may run in itself.
    """

    def __init__(self, capacity: Mapping[str, int], here: Mapping[str, int] | None = None) -> None:
        self.capacity = capacity
        self._gates = {queue: threading.Semaphore(loops) for queue, loops in (here or capacity).items()}
        self._inside = 0
        self._lock = threading.Lock()

    def is_idle(self) -> bool:
        """Say whether no loop runs here."""
        return self._inside == 0

    @contextmanager
    def entering(self, queue: str) -> Iterator[bool]:
        """Give True when one more loop may run here, for as long as the block lasts."""
        admitted = self._gates[queue].acquire(blocking=False)
        self._count(int(admitted))
        try:
            yield admitted
        finally:
            self._count(-int(admitted))
            if admitted:
                self._gates[queue].release()

    def _count(self, more: int) -> None:
        with self._lock:
            self._inside += more


@dataclass
class Runtime:
    """The parts, and what loops share."""

    settings: Settings
    router: Router
    redis: Redis
    keys: Keys
    gates: Gates
    waker: Waker
    keeper: Keeper
    process: str = field(default_factory=lambda: f"{os.getpid()}-{uuid4().hex[:12]}")
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.inbox = Inbox(self.redis, self.keys)
        self.lanes = Lanes(self.redis, self.keys)
        self.outbox = Outbox(self.redis, self.keys)
        self.loops = {queue: Loops(queue, self.redis, self.keys) for queue in LOOPS}
        self.shared = Shared.on(self.redis, self.keys)
        self.echoes = self.shared.echoes
        self.accounts = Accounts(self.settings, self.redis, self.keys)
        self.clients = Clients(self.accounts, self.shared, self.settings.api_base)
        self.fleet = Fleet(self.redis)
        self.waits = Waits()
        self.solitude = Solitude()
        self.hanging = Hanging(self.gates.capacity["lanes"], self.solitude)
        self._numbers = itertools.count(1)
        self._capacity: Mapping[str, int] = {}
        self._capacity_read = 0.0

    @classmethod
    def compose(cls, settings: Settings, router: Router, gates: Gates) -> "Runtime":
        """Build a process's parts; nothing is sent yet."""
        return cls(
            settings=settings,
            router=router,
            redis=connect(settings.redis_url),
            keys=(keys := Keys(settings.shards)),
            keeper=Keeper(settings.redis_url, keys),
            gates=gates,
            waker=Waker(publisher(settings.broker)),
        )

    def fleet_capacity(self, queue: str) -> int:
        """Say how many loops the whole fleet may run on a queue, as it was known a second ago."""
        now = time.monotonic()
        if now - self._capacity_read > _CAPACITY_SECONDS:
            self._capacity_read = now
            with suppress(StoreUnavailable):
                self._capacity = self.fleet.capacity()
        return self._capacity.get(queue, 1)

    def token(self) -> str:
        """Make a token or loop name that nobody else ever uses."""
        return f"{self.process}-{next(self._numbers)}"

    def runner(self) -> str:
        """Name the thread that runs, for scripts that remember what it finished last."""
        return f"{self.process}-{threading.get_ident()}"

    def close(self) -> None:
        """Let go of everything."""
        self.stopping.set()
        self.keeper.stop()
        self.waker.close()
        self.clients.close()
        self.redis.close()
