"""What all tests share: a Redis of their own, started for the run, never one that was there before."""

from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from kommo.store.connection import connect
from kommo.store.keys import Keys
from kommo.store.server import PrivateServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[PrivateServer]:
    """A private server for this run (one for each xdist worker)."""
    with PrivateServer(fsync="everysec") as server:
        yield server


@pytest.fixture
def redis(redis_server: PrivateServer) -> Iterator[Redis]:
    """A client of the private server, emptied first."""
    client = connect(redis_server.url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def now_ms(redis: Redis) -> Callable[[], int]:
    """Redis's clock."""

    def read() -> int:
        seconds, micros = redis.time()
        return seconds * 1000 + micros // 1000

    return read
