"""The writes of a replayed step are others than those of the first time, and the events are the same."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from kommo.hooks.events import Event
from kommo.router import Router
from kommo.store.replays import Replays
from kommo.store.stories import Stories
from kommo.variables import Secret
from sandbox import Sandbox
from tests.integration.workers.flushing import FAST, flush_out, kept
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker
from workers.replaying import Asked, Replaying
from workers.run import run

EVERYTHING = Asked(accounts=(ACCOUNT,), until_ms=10**15)


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(account_id=ACCOUNT) as box:
        yield box


def replay(worker: Worker, name: str) -> None:
    runtime = worker.runtime
    stores = Stories(runtime.redis, runtime.keys), Replays(runtime.redis, runtime.keys)
    assert Replaying(runtime.inbox, *stores, runtime.router).run(name, EVERYTHING, worker.hints.wake) == 1
    run(runtime)


def asked(worker: Worker) -> list[dict[str, Any]]:
    """The writes that wait."""
    items = worker.runtime.redis.hvals(worker.runtime.keys.chains("outbox", ACCOUNT).items)
    return [json.loads(item.partition(b"\n")[2]) for item in items]


def test_a_replay_asks_for_writes_of_its_own(worker: MakeWorker, box: Sandbox) -> None:
    seen: list[Event] = []
    router = Router()

    @router.on("lead.added", handler="h")
    def h(event: Event, kommo: Any) -> None:
        seen.append(event)
        kommo.later.notes.create(entity=kommo.later.contacts.create(name="Vera"), text="hello")

    here = worker(router, access_token=Secret(box.token), api_base=box.url, rate_limits=FAST)
    here.come(31)
    run(here.runtime)
    ids = {write["id"] for write in asked(here)}
    flush_out(here)
    for name in ("r1", "r2"):
        replay(here, name)
        own = {write["id"] for write in asked(here)}
        assert (len(own), ids & own) == (2, set())
        # What an earlier write has brought is no result of these.
        assert here.runtime.outbox.results(ACCOUNT, own) == {}
        ids |= own
        flush_out(here)
    assert len({event.id for event in seen}) == 1
    assert here.dead() == []
    contacts = {contact["id"] for contact in kept(box, "contacts")}
    assert len(contacts) == 3
    assert {note["entity_id"] for note in kept(box, "notes")} == contacts
