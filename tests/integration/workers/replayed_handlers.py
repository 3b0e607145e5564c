"""Handlers that are replayed: one for each thing that a handler may do."""

from typing import Any

from kommo import Reject, Router
from kommo.hooks.events import Event

router = Router()


@router.on("lead.added", handler="greets")
def greets(event: Event, kommo: Any) -> None:
    """Ask for writes."""
    task = kommo.later.leads.create(name="Tiles")
    kommo.later.notes.create(entity=task, text="Hello")


@router.on("lead.added", handler="asks")
def asks(event: Event, kommo: Any) -> None:
    """Read, and write what depends on it."""
    lead = kommo.leads.get(event.entity_id)
    kommo.later.leads.update(event.entity_id, price=(lead["price"] or 0) + 1)


@router.on("lead.updated", handler="changes")
def changes(event: Event, kommo: Any) -> None:
    """Change something at once."""
    kommo.leads.update(event.entity_id, price=5)


@router.on("lead.updated", handler="fails")
def fails(event: Event, kommo: Any) -> None:
    """Raise."""
    raise LookupError(f"no plan for {event.entity_id}")


@router.on("lead.updated", handler="rejects")
def rejects(event: Event, kommo: Any) -> None:
    """Give up."""
    raise Reject("not ours")


@router.on("contact.added", handler="idle")
def idle(event: Event, kommo: Any) -> None:
    """Do nothing."""
