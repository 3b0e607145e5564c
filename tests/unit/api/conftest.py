"""Events, and a `send` that answers from memory and keeps what was sent."""

from collections.abc import Callable
from typing import Any

import pytest

from kommo.api.protocol import Params
from kommo.hooks.events import Event


class Recorder:
    """Stands where calls leave for Kommo: answers in turn, the last one again and again."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any, Any]] = []
        self.answers: list[Any] = [{"id": 1}]

    def __call__(self, method: str, path: str, params: Params | None, json: object) -> Any:
        self.calls.append((method, path, params, json))
        return self.answers[min(len(self.calls), len(self.answers)) - 1]


@pytest.fixture
def send() -> Recorder:
    """A `send` from memory."""
    return Recorder()


@pytest.fixture
def event() -> Callable[..., Event]:
    """Build events."""

    def build(type_: str = "lead.added", id_: int | str | None = 31, **raw: Any) -> Event:
        return Event(
            id=f"e-{type_}-{id_}",
            type=type_,
            account_id=9,
            entity_type=type_.partition(".")[0],
            entity_id=id_,
            occurred_at=None,
            raw={"id": str(id_), **raw},
            delivery_id="d-1",
        )

    return build
