"""Handlers that write down in Redis what they were given, so that tests can see it across processes and deaths."""

import os
import time
from functools import cache
from typing import Any

from redis import Redis

from kommo import Router
from kommo.store.connection import connect

router = Router()


@cache
def _redis() -> Redis:
    return connect(os.environ["REDIS_URL"])


@router.on("lead.updated")
def record(event: Any, kommo: Any) -> None:
    """Write the lead's price down, as the number of the update."""
    _redis().rpush(f"test:lead:{event.entity_id}", event.lead.price)


@router.on("lead.updated", price=range(0, 10**6, 7), attempts=20)
def fail_once(event: Any, kommo: Any) -> None:
    """Fail the first time, so that later updates of the lead have to wait for this one."""
    if event.attempt == 1:
        raise RuntimeError("the first time fails")
    _redis().rpush(f"test:retried:{event.entity_id}", event.lead.price)


@router.on("lead.added")
def follow_up(event: Any, kommo: Any) -> None:
    """Ask for writes, one of them on what another one makes."""
    contact = kommo.later.contacts.create(name=f"Contact of {event.lead.name}")
    kommo.later.notes.create(entity=contact, text="made together")
    kommo.later.leads.update(event.entity_id, price=(event.lead.price or 0) + 1, add_tags=["seen"])


@router.on("contact.added", echoes=True)
def look_up(event: Any, kommo: Any) -> None:
    """Call Kommo now, not later."""
    found = kommo.contacts.get(event.entity_id)
    _redis().rpush("test:looked_up", found["name"])


@router.on("lead.restored")
def take_long(event: Any, kommo: Any) -> None:
    """Keep a thread busy."""
    _redis().rpush("test:begun", event.entity_id)
    time.sleep(6)
