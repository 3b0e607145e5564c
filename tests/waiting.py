"""Wait for a condition with a deadline, instead of sleeping for luck."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], *, seconds: float = 10.0, every: float = 0.02, what: str = "") -> T:
    """Return the condition's first true value; fail when there is none in time."""
    ends = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= ends:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}; last value {value!r}")
        time.sleep(every)
