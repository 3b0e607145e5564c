"""A sandbox per test, and a receiver of its deliveries."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sandbox_surroundings import EVERYTHING, Caller, Client, Receiver

from sandbox import Sandbox


@pytest.fixture
def start() -> Iterator[Callable[..., Client]]:
    """Start sandboxes that end with the test."""
    with ExitStack() as stack:

        def begin(**options: Any) -> Client:
            box = stack.enter_context(Sandbox(**{"rate": 10_000, "time_scale": 0.0001, **options}))
            client = Client(box)
            stack.callback(client.connection.close)
            return client

        yield begin


@pytest.fixture
def client(start: Callable[..., Client]) -> Client:
    return start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def caller() -> Iterator[Caller]:
    with Caller() as running:
        yield running


@pytest.fixture
def everything() -> tuple[str, ...]:
    """Every event that can be subscribed to."""
    return EVERYTHING
