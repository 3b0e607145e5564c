"""The call that a write is, shown before what it refers to is there."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from kommo.api.later import Later, Step
from kommo.api.writes import Write, request_of
from workers.asked_calls import AskedCall, call_of

HOUR = timedelta(hours=1)
STEP = Step(7, "e1", "h", "d1")
Ask = Callable[[Later], object]


def asked(ask: Ask) -> list[Write]:
    later = Later(STEP)
    ask(later)
    return [Write.from_record(write.to_record()) for write in later.writes]


def with_new_lead(ask: Callable[[Later, object], object]) -> tuple[str, AskedCall]:
    """Ask for a lead and for something that refers to it; give the lead's write id, and the second call."""

    def both(later: Later) -> None:
        ask(later, later.leads.create(name="Bathroom"))

    lead, second = asked(both)
    return f"<id of {lead.id}>", call_of(second)


@pytest.mark.parametrize(
    "ask",
    [
        lambda later: later.leads.create(name="Bathroom", price=900),
        lambda later: later.leads.update(31, add_tags=["tiles"]),
        lambda later: later.notes.create(entity=("contact", 5), text="called"),
        lambda later: later.notes.update(("lead", 10), 20, text="called twice"),
        lambda later: later.tasks.create(entity=("lead", 5), text="call", due_in=HOUR),
    ],
)
def test_what_refers_to_nothing_is_the_call_as_it_is_sent(ask: Ask) -> None:
    (write,) = asked(ask)
    call = call_of(write)
    assert (call.method, call.path, call.body) == request_of(write)


def test_an_entity_that_is_not_there_yet_is_named_in_the_path() -> None:
    name, call = with_new_lead(lambda later, lead: later.leads.update(lead, price=1))
    assert call == AskedCall("PATCH", f"/api/v4/leads/{name}", {"price": 1})


def test_a_note_on_one_is_too() -> None:
    name, call = with_new_lead(lambda later, lead: later.notes.create(entity=lead, text="hello"))
    assert (call.method, call.path) == ("POST", f"/api/v4/leads/{name}/notes")


def test_one_in_a_body_is_named_there() -> None:
    name, call = with_new_lead(lambda later, lead: later.tasks.create(entity=lead, text="call", due_in=HOUR))
    assert call.path == "/api/v4/tasks"
    assert (call.body[0]["entity_id"], call.body[0]["entity_type"]) == (name, "leads")
