"""Kommo switches the webhook off while things happen: the fleet notices, switches it on, and handles them after all."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from kommo.hooks.backfill import DELIVERY
from kommo.hooks.signature import webhook_url
from kommo.queue import CHORES, publisher
from kommo.store.inbox import Entry, Inbox
from kommo.store.keys import Keys
from kommo.store.watch import Watch
from sandbox import Sandbox
from tests.ports import free_port
from tests.scenario.calling import command
from tests.scenario.fleet import ACCOUNT, CLIENT, SECRET, Program
from tests.waiting import wait_for

pytestmark = pytest.mark.scenario
EVENTS = ("add_lead", "update_lead", "delete_lead")


@pytest.fixture
def kommo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(account_id=ACCOUNT, subdomain="scenario", tokens=("scenario-token",), retry_after=1) as box:
        # What happens in it is older than the lag that its journal may have, so that nobody has to wait for that.
        monkeypatch.setattr(box.world.state, "now", lambda: int(time.time()) - 120)
        yield box


@pytest.fixture
def program(kommo: Sandbox) -> Iterator[Program]:
    port = free_port()
    environ = {
        "KOMMO_API_BASE": kommo.url,
        "KOMMO_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "KOMMO_WEBHOOK_EVENTS": ",".join(EVENTS),
    }
    with Program(PORT=str(port), **environ) as program:
        program.port = port
        program.web()
        program.worker("one")
        yield program


def test_what_happened_while_the_webhook_was_off_is_handled_and_what_came_is_not_handled_twice(
    kommo: Sandbox, program: Program
) -> None:
    address = webhook_url(f"http://127.0.0.1:{program.port}", SECRET, CLIENT, ACCOUNT)
    hook = kommo.register(address, *EVENTS)
    watch = Watch(program.redis, Keys())
    told = command(kommo, "lead.create", name="Told", price=1)["id"]
    command(kommo, "lead.update", id=told, price=2)
    wait_for(lambda: program.ran(f"lead:{told}"), seconds=20, what=program.log("one"))
    _chore(program)
    known = wait_for(lambda: watch.get(ACCOUNT), seconds=20, what=program.log("one"))
    assert known.state == "on"
    # It has been on for ten minutes, and what came by it just now is in the gap.
    watch.note(ACCOUNT, replace(known, first_at=known.first_at - 600))

    command(kommo, "webhooks/disable", destination=address)
    lost = command(kommo, "lead.create", name="Lost", price=10)["id"]
    command(kommo, "lead.update", id=lost, price=20)
    _chore(program)

    wait_for(lambda: _of(program, lost), seconds=30, what=program.log("one"))
    wait_for(lambda: _follow_up(kommo, "Lost"), seconds=30, what=program.log("one"))
    wait_for(program.settled, seconds=30, what=program.log("one"))
    assert not hook.disabled
    assert program.ran(f"lead:{told}").count("2") == 1
    # Later ones are webhooks again, of what the handlers wrote.
    assert _of(program, lost)[0].delivery.id.startswith(DELIVERY)
    after = command(kommo, "lead.create", name="After", price=30)["id"]
    wait_for(lambda: _of(program, after), seconds=20, what="the webhook brings deliveries again")
    assert not any(entry.delivery.id.startswith(DELIVERY) for entry in _of(program, after))


def _chore(program: Program) -> None:
    """Do as beat does, at once."""
    for key in program.redis.keys("*:webhook:turn:*"):
        program.redis.delete(key)
    with publisher(program.redis_server.url) as app:
        app.send_task("workers.chores.webhooks", queue=CHORES)


def _of(program: Program, lead: int) -> list[Entry]:
    """The deliveries that are about a lead."""
    entries = Inbox(program.redis, Keys()).read(ACCOUNT, after="0-0", limit=1000)
    return [entry for entry in entries if f"%5Bid%5D={lead}&".encode() in entry.delivery.body]


def _follow_up(kommo: Sandbox, name: str) -> bool:
    """Say whether the handler of new leads has seen this one: it asks for a contact."""
    contacts = kommo.world.state.records["contacts"].values()
    return any(contact.fields["name"] == f"Contact of {name}" for contact in contacts)
