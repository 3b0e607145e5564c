"""A note on the lead when it changes hands: from whom, to whom.

Adapt: PEOPLE, the names to write instead of user ids (they are in the address of a user's page, or in the answer
of `/api/v4/users`), and the text. Run it with KOMMO_HANDLERS=examples.handover_note; the webhook needs
"responsible user changed" of leads (`responsible_lead`).
"""

from collections.abc import Mapping
from typing import Final

from kommo import Router
from kommo.api.client import Client
from kommo.hooks.events import Event

#: User id -> name.
PEOPLE: Final[Mapping[int, str]] = {}

TEXT: Final = "Handed over from {old} to {new}."

router = Router()


@router.on("lead.responsible_changed")
def note_handover(event: Event, kommo: Client) -> None:
    """Write down the change, so that the lead's history tells it to whoever reads it next."""
    old = event.previous.get("responsible_user_id")
    new = event.lead.responsible_user_id if event.lead else None
    if old == new:
        return
    kommo.later.notes.create(entity=event, text=TEXT.format(old=name_of(old), new=name_of(new)))


def name_of(user_id: int | None) -> str:
    """A person's name, or what can be said without one; 0 stands for Kommo's own robot."""
    if not user_id:
        return "nobody"
    return PEOPLE.get(user_id, f"user {user_id}")
