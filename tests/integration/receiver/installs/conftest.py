"""A receiver and somebody who installs, over a real Redis and the sandbox."""

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from kommo.store.server import PrivateServer
from receiver import app as receiver_app
from receiver import create_app
from sandbox import Sandbox
from tests.integration.receiver.conftest import NoBroker
from tests.integration.receiver.installs.surroundings import Visit, Visitor, sandbox, settings, threads_of_errands
from tests.waiting import wait_for


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with sandbox() as running:
        yield running


@pytest.fixture
def visit(redis: Redis, redis_server: PrivateServer, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visit]:
    """Make a receiver, and somebody who visits it."""
    monkeypatch.setattr(receiver_app, "publisher", lambda _broker: NoBroker())

    def make(**changes: Any) -> Visitor:
        given = settings(redis_server.url, box.url, **changes)
        return Visitor(create_app(given), given, box, redis)

    yield make
    # One that is being done now may come back into the queue.
    wait_for(lambda: redis.delete("kommo:{errands}:due") == 0 and not threads_of_errands(), what="no errand goes on")


@pytest.fixture
def visitor(visit: Visit) -> Visitor:
    return visit()
