"""The token endpoint, its log, and the tokens of account 7."""

from collections.abc import Iterator

import pytest
from redis import Redis

from kommo.api.transport import HttpTransport
from tests.integration.api.renewing import NOW, Make, compose, settings_for, soon
from tests.integration.token_server import TokenServer, serving
from tests.integration.workers.logs import Lines, logged


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with serving() as server:
        yield server


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


@pytest.fixture
def make(redis: Redis, server: TokenServer) -> Iterator[Make]:
    """Make the tokens of account 7, as another process would have them."""
    with HttpTransport() as transport:
        yield lambda given=None, **more: compose(
            redis, settings_for(server, **(given or {})), transport, **{"clock": lambda: NOW, "sleep": soon, **more}
        )
