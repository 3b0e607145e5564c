"""Handlers that write to Kommo on what comes from it: what loops, and what is lost, without care."""

import os
from datetime import timedelta
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
def reprice(event: Any, kommo: Any) -> None:
    """Write on every update: the webhook of this write would ask for the next one."""
    _redis().rpush("test:repriced", event.lead.price)
    kommo.later.leads.update(event.entity_id, price=event.lead.price + 1)


@router.on("lead.updated", echoes=True)
def watch(event: Any, kommo: Any) -> None:
    """See everything, what we wrote ourselves as well."""
    _redis().rpush("test:watched", event.lead.price)


@router.on("lead.added")
def welcome(event: Any, kommo: Any) -> None:
    """Ask for something that must not be there twice."""
    kommo.later.tasks.create(entity=event, text=f"Call about {event.lead.name}", due_in=timedelta(hours=1))


@router.on("contact.added")
def read(event: Any, kommo: Any) -> None:
    """Call Kommo while a token ends."""
    _redis().rpush("test:read", kommo.contacts.get(event.entity_id)["name"])


@router.on("account.disconnected")
def gone(event: Any, kommo: Any) -> None:
    """Notice that an account has taken the integration out."""
    _redis().rpush("test:disconnected", event.account_id)
