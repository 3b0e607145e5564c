"""Benchmark of decoding: from the bytes of a delivery to its typed events."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

from bench.load import body
from bench.results import Result
from bench.surroundings import ACCOUNT
from kommo.hooks.normalise import normalise

_RUNS: Final = 500
_ROUNDS: Final = 20


def decoding() -> Iterator[Result]:
    """Decode and normalise a delivery of 2 kB with one lead, and read its fields; beside `parse_qsl` alone."""
    content = body(12_345)
    whole = _micros(lambda: _read(content))
    keys = _micros(lambda: parse_qsl(content.decode()))
    yield Result(f"decoding and normalising {len(content)} bytes: µs", whole, at_most=400)
    yield Result(f"parse_qsl of {len(content)} bytes, which knows no nesting: µs", keys)
    yield Result("decoding and normalising to parse_qsl", whole / keys)


def _read(content: bytes) -> Any:
    (event,) = normalise(
        content, content_type="application/x-www-form-urlencoded", account_id=ACCOUNT, delivery_id="bench"
    )
    return event.lead and event.lead.price


def _micros(act: Callable[[], Any]) -> float:
    return min(_round(act) for _ in range(_ROUNDS)) / _RUNS * 1_000_000


def _round(act: Callable[[], Any]) -> float:
    began = time.perf_counter()
    for _ in range(_RUNS):
        act()
    return time.perf_counter() - began
