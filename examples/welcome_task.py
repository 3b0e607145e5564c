"""A task for whoever is responsible, as soon as a lead comes in.

Adapt: the text, the time until the call is due, and, if only some leads should be called, the pipelines.
Run it with KOMMO_HANDLERS=examples.welcome_task; the webhook needs the event "lead added" (`add_lead`).
"""

from datetime import timedelta
from typing import Final

from kommo import Router
from kommo.api.client import Client
from kommo.hooks.events import Event

#: Ids of the pipelines whose leads are called; empty: all.
PIPELINES: Final[frozenset[int]] = frozenset()

TEXT: Final = "Call back and ask what is needed"
DUE_IN: Final = timedelta(minutes=30)

router = Router()


@router.on("lead.added")
def welcome(event: Event, kommo: Client) -> None:
    """Ask for a call in half an hour, from the person who has the lead."""
    lead = event.lead
    if PIPELINES and (lead is None or lead.pipeline_id not in PIPELINES):
        return
    # A lead that a robot made may have nobody, which comes as 0.
    person = (lead.responsible_user_id if lead else None) or None
    kommo.later.tasks.create(entity=event, text=TEXT, due_in=DUE_IN, responsible_user_id=person)
