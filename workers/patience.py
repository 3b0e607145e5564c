"""Offer something to a Redis that is away until it takes it."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from kommo.errors import StoreUnavailable

T = TypeVar("T")
#: Seconds for which an outcome is offered: the work is done and should not have to be done again.
PATIENCE_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.2


def patiently(record: Callable[[], T]) -> T:
    """Call `record`, again while Redis is away; only for what knows what it has recorded already.

    Raises:
        StoreUnavailable: Redis was away for too long.
    """
    ends = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return record()
        except StoreUnavailable:
            if time.monotonic() >= ends:
                raise
            time.sleep(_PAUSE_SECONDS)
