"""A worker over the tests' Redis, what it is given and what is done with it."""

from collections.abc import Callable
from typing import Any

from redis import Redis

from kommo.router import Router
from kommo.settings import Settings
from kommo.store.connection import now_ms
from kommo.store.dead import DeadLetter
from kommo.store.inbox import Delivery
from kommo.store.keys import Keys
from kommo.variables import Secret
from tests.buried import letters
from workers.drain import drain
from workers.keeper import Keeper
from workers.runtime import Gates, Runtime, capacity_of_threads

ACCOUNT = 31_415_926
FORM = "application/x-www-form-urlencoded"


class Hints:
    """Stands for the waker: remembers which loops were asked for."""

    def __init__(self) -> None:
        self.queues: list[str] = []

    def wake(self, queue: str) -> None:
        self.queues.append(queue)

    def close(self) -> None:
        """Nothing waits to be sent."""


class Worker:
    """One runtime, and what tests do with it."""

    def __init__(self, redis: Redis, router: Router, threads: int = 16, **given: Any) -> None:
        self.hints = Hints()
        self.runtime = Runtime(
            settings=Settings(**{"client_id": "c", "account_id": ACCOUNT, "access_token": Secret("t"), **given}),
            router=router,
            redis=redis,
            keys=Keys(),
            gates=Gates(capacity_of_threads(threads)),
            keeper=Keeper(f"unix://{redis.connection_pool.connection_kwargs['path']}", Keys()),
            waker=self.hints,  # type: ignore[arg-type]  # all of a waker that loops use
        )

    def deliver(self, body: bytes, *, account: int = ACCOUNT, id_: str = "", content_type: str = FORM) -> Delivery:
        """Put a delivery into the inbox."""
        delivery = Delivery(id_ or f"d{id(body)}", account, body, content_type, 1_795_000_000_000)
        self.runtime.inbox.add(delivery, droppable=False)
        return delivery

    def come(self, *leads: int, account: int = ACCOUNT) -> None:
        """Let leads come in, each by a delivery of its own, and drain them into their lanes."""
        for lead in leads:
            self.deliver(lead_added(lead), account=account, id_=f"d-{account}-{lead}")
        drain(self.runtime)

    def dead(self, account: int = ACCOUNT) -> list[DeadLetter]:
        return letters(self.runtime.redis, self.runtime.keys, account)

    def pass_time(self, queue: str, account: int = ACCOUNT) -> None:
        """Let every wait of a queue be over, leases included."""
        redis, chains = self.runtime.redis, self.runtime.keys.chains(queue, account)
        stumbles = self.runtime.keys.of_account(account, queue, "stumbles")
        if redis.exists(stumbles):
            redis.hdel(stumbles, "until")
        waiting: Any = redis.zrange(chains.due, 0, -1)
        for chain in waiting:
            redis.zadd(chains.due, {chain: 1})
        if waiting:
            redis.zadd(chains.ready, {str(account): 1})

    def due_in(self, queue: str, chain: str, account: int = ACCOUNT) -> float | None:
        """Seconds until a chain is due; None when there is no such chain."""
        due: Any = self.runtime.redis.zscore(self.runtime.keys.chains(queue, account).due, chain)
        return None if due is None else (due - now_ms(self.runtime.redis)) / 1000

    def stats(self, account: int = ACCOUNT) -> dict[str, int]:
        """The counters of the account that are not zero."""
        counted: Any = self.runtime.redis.hgetall(self.runtime.keys.stats(account))
        return {name.decode(): int(value) for name, value in counted.items() if int(value)}


def lead_added(number: int, *, at: int | None = None) -> bytes:
    return b"leads[add][0][id]=%d&leads[add][0][last_modified]=%d" % (number, at or 1_795_000_000 + number)


def lead_updated(number: int, *, at: int) -> bytes:
    return b"leads[update][0][id]=%d&leads[update][0][last_modified]=%d" % (number, 1_795_000_000 + at)


MakeWorker = Callable[..., Worker]
