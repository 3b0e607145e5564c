"""The handler of the benchmarks of the whole way: counts its events, and writes down when each began."""

import os
import time
from functools import cache
from typing import Any

from redis import Redis

from kommo import Router

router = Router()


@cache
def _redis() -> Redis:
    return Redis.from_url(os.environ["REDIS_URL"])


@router.on("lead.updated")
def counted(event: Any, _: Any) -> None:
    """Count, as the peers do."""
    if "BENCH_TIMES" in os.environ:
        _redis().rpush(f"test:began:{event.account_id}", f"{event.entity_id} {time.time()}")
    _redis().incr("test:handled")
