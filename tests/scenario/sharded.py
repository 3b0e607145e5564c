"""A handler that takes its time and asks for a write, and notes what it was given in the shard of its account."""

import os
import time
from datetime import timedelta
from functools import cache
from typing import Any

from redis import Redis

from kommo import Router
from kommo.store.connection import connect
from kommo.store.keys import Keys

router = Router()


@cache
def _redis(_pid: int) -> Redis:
    return connect(os.environ["REDIS_URL"])


@cache
def _keys() -> Keys:
    return Keys(int(os.environ["KOMMO_SHARDS"]))


@router.on("lead.updated", attempts=100)
def record(event: Any, kommo: Any) -> None:
    """Write the lead's price down, as the number of the update, and ask for a task about it."""
    time.sleep(0.05)
    _redis(os.getpid()).rpush(_keys().of_account(event.account_id, "test"), event.lead.price)
    kommo.later.tasks.create(entity=event, text=f"{event.account_id}: {event.lead.price}", due_in=timedelta(hours=1))
