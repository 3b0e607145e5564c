"""A disconnection reaches the handlers as an event of the account: in order, once, and from nobody but the receiver."""

from kommo import Router
from kommo.hooks.events import Event
from receiver.installs.disconnecting import disconnection
from tests.integration.workers.working import ACCOUNT, MakeWorker, lead_added
from workers.drain import drain
from workers.run import run

AT = 1_795_000_500


def test_handlers_see_it_after_what_came_before_and_once(worker: MakeWorker) -> None:
    router, seen = Router(), []

    @router.on("*")
    def watch(event: Event, kommo: object) -> None:
        seen.append((event.type, event.entity_type, event.entity_id, event.occurred_at is not None))

    one = worker(router)
    one.deliver(lead_added(7))
    gone = disconnection(ACCOUNT, installed_at=1_795_000_000, at=AT)
    for _ in range(2):
        one.runtime.inbox.add(gone, droppable=False)
    drain(one.runtime)
    run(one.runtime)
    assert sorted(seen) == [("account.disconnected", "account", ACCOUNT, True), ("lead.added", "lead", 7, True)]
    stream = one.runtime.inbox.read(ACCOUNT, after="0-0", limit=9)
    assert [entry.delivery.id == gone.id for entry in stream] == [False, True]


def test_another_installation_of_the_same_account_ends_once_more(worker: MakeWorker) -> None:
    router, seen = Router(), []

    @router.on("account.disconnected")
    def watch(event: Event, kommo: object) -> None:
        seen.append(event.occurred_at)

    one = worker(router)
    for installed_at in (1_795_000_000, 1_795_000_100):
        one.runtime.inbox.add(disconnection(ACCOUNT, installed_at=installed_at, at=installed_at + 50), droppable=False)
    drain(one.runtime)
    run(one.runtime)
    assert len(seen) == 2


def test_nobody_who_knows_the_signed_address_can_report_one(worker: MakeWorker) -> None:
    router, seen = Router(), []

    @router.on("*")
    def watch(event: Event, kommo: object) -> None:
        seen.append(event.type)

    one = worker(router)
    copied = disconnection(ACCOUNT, installed_at=1_795_000_000, at=AT)
    one.deliver(copied.body, content_type=copied.content_type, id_="0190a1b2c3d45f5f5f5f5f5f5f5f5f5f")
    drain(one.runtime)
    run(one.runtime)
    assert seen == ["unknown.installation_disconnect"]
