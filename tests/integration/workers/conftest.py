"""A worker process's parts in this process, over a real Redis; only the hints are caught instead of sent."""

import functools
import random
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from kommo.api import transport
from kommo.router import Router
from sandbox import Sandbox
from tests.integration.workers.flushing import Asking
from tests.integration.workers.logs import Lines, logged
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker
from workers import backoff


class LongDraws(random.Random):
    """Draws nearly the most that may be drawn: waits that no test overtakes by chance."""

    def uniform(self, a: float, b: float) -> float:
        return a + 0.9 * (b - a)


_tls_context = functools.cache(transport.tls_context)


@pytest.fixture
def worker(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeWorker]:
    """Make workers over the private Redis; they end with the test."""
    made: list[Worker] = []
    # Reading all authorities takes longer than most tests here; contexts are made to be shared.
    monkeypatch.setattr(transport, "tls_context", _tls_context)
    monkeypatch.setattr(backoff, "random", LongDraws())

    def make(router: Router | None = None, **given: Any) -> Worker:
        made.append(Worker(given.pop("redis", redis), router or Router(), **given))
        return made[-1]

    yield make
    for one in made:
        one.runtime.stopping.set()
        one.runtime.keeper.stop()
        one.runtime.clients.close()


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """A Kommo that lets everything through."""
    with Sandbox(account_id=ACCOUNT, rate=10_000) as box:
        yield box


@pytest.fixture
def asked(worker: MakeWorker, box: Sandbox) -> Asking:
    """Workers in whose outbox lies what handlers asked that Kommo for."""
    return Asking(worker, box)
