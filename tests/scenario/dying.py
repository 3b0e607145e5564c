"""Handlers that end, block or fill their process, and others that have to suffer for it; told what to do by a name."""

import ctypes
import os
import signal
import time
from functools import cache
from typing import Any

from redis import Redis

from kommo import Router
from kommo.store.connection import connect

router = Router()


@cache
def _redis(_pid: int) -> Redis:
    return connect(os.environ["REDIS_URL"])


def note(key: str, value: object) -> None:
    """Write something down where the test can read it, from any child."""
    _redis(os.getpid()).rpush(f"test:{key}", str(value))


@router.on("lead.updated")
def record(event: Any, kommo: Any) -> None:
    """Write the lead's price down, as the number of the update."""
    note(f"lead:{event.entity_id}", event.lead.price)


@router.on("lead.added", timeout=120)
def act(event: Any, kommo: Any) -> None:
    """Do what the name says: `exit`, `segfault`, `kill`, `sleep N`, or `quiet N`, which is not noted at its end."""
    name = event.lead.name
    note("began", name)
    note("pids", os.getpid())
    note("attempts", f"{name} {event.attempt}")
    deeds = {"exit": lambda: os._exit(1), "segfault": lambda: ctypes.string_at(0), "kill": _kill}
    first, _, seconds = name.partition(" ")
    deeds.get(first, lambda: time.sleep(float(seconds or 0)))()
    if first != "quiet":
        note("ended", name)


@router.on("lead.restored", timeout=1, attempts=1)
def hang(event: Any, kommo: Any) -> None:
    """Never come back."""
    note("hangs", os.getpid())
    time.sleep(1000)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
