"""Replays: past deliveries run again for whom it was asked, in order, once, and a dry run sends nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kommo.errors import StoreError
from kommo.hooks.events import Event
from kommo.router import Router
from kommo.store.inbox import Batch, RoutedEvent
from kommo.store.replays import Replays
from kommo.store.stories import Stories
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker, lead_added, lead_updated
from workers.drain import drain
from workers.replaying import Asked, Replaying, read_asked
from workers.run import run

Ran = list[tuple[str, Event]]
FOREVER = 10**15


@pytest.fixture
def ran() -> Ran:
    return []


@pytest.fixture
def here(worker: MakeWorker, ran: Ran) -> Worker:
    """A worker with two handlers for leads and one for whatever is an echo, too."""
    router = Router()

    def named(name: str) -> Callable[[Event, Any], None]:
        def handler(event: Event, _kommo: Any) -> None:
            ran.append((name, event))

        return handler

    router.on("lead.*", handler="one")(named("one"))
    router.on("lead.updated", handler="two")(named("two"))
    router.on("contact.*", echoes=True, handler="echoing")(named("echoing"))
    return worker(router)


def replaying(worker: Worker) -> Replaying:
    runtime = worker.runtime
    stores = Stories(runtime.redis, runtime.keys), Replays(runtime.redis, runtime.keys)
    return Replaying(runtime.inbox, *stores, runtime.router)


def everything(**given: Any) -> Asked:
    return Asked(**{"accounts": (ACCOUNT,), "until_ms": FOREVER, **given})


def replay(worker: Worker, name: str = "r1", **given: Any) -> int:
    return replaying(worker).run(name, everything(**given), worker.hints.wake)


def handled(worker: Worker, ran: Ran, *bodies: bytes) -> None:
    """Let deliveries `d0`, `d1`, … come and be handled, and forget that they were."""
    for number, body in enumerate(bodies):
        worker.deliver(body, id_=f"d{number}")
    drain(worker.runtime)
    run(worker.runtime)
    ran.clear()


def who(worker: Worker, ran: Ran) -> list[tuple[str, str, int | str | None]]:
    """Run what waits, and say which handler ran on what, in order."""
    run(worker.runtime)
    return [(name, event.type, event.entity_id) for name, event in ran]


BODIES = (
    lead_added(1),
    lead_updated(1, at=500),
    lead_added(2),
    b"contacts[add][0][id]=9&contacts[add][0][type]=contact",
)


class TestWhat:
    def test_all_handlers_run_again_on_all_of_it_with_the_same_events(self, here: Worker, ran: Ran) -> None:
        here.deliver(lead_added(1), id_="d0")
        drain(here.runtime)
        run(here.runtime)
        assert replay(here) == 1
        run(here.runtime)
        (_, first), (_, second) = ran
        assert first == second

    def test_in_the_order_of_the_deliveries(self, here: Worker, ran: Ran) -> None:
        handled(here, ran, *BODIES)
        assert replay(here) == 5
        mine = [(event_type, id_) for name, event_type, id_ in who(here, ran) if (name, id_) == ("one", 1)]
        assert mine == [("lead.added", 1), ("lead.updated", 1)]

    def test_for_one_handler(self, here: Worker, ran: Ran) -> None:
        handled(here, ran, *BODIES)
        replay(here, handlers=("two",))
        assert who(here, ran) == [("two", "lead.updated", 1)]

    @pytest.mark.parametrize(
        ("types", "number"), [(("lead.added",), 2), (("lead.*",), 4), (("contact.*", "lead.updated"), 3), (("*",), 5)]
    )
    def test_for_some_types_of_events(self, here: Worker, ran: Ran, types: tuple[str, ...], number: int) -> None:
        handled(here, ran, *BODIES)
        assert replay(here, types=types) == number == len(who(here, ran))

    def test_for_some_deliveries_in_their_order_whatever_that_of_the_ids(self, here: Worker, ran: Ran) -> None:
        handled(here, ran, *BODIES)
        replay(here, deliveries=("d1", "d0"), handlers=("one",))
        assert who(here, ran) == [("one", "lead.added", 1), ("one", "lead.updated", 1)]

    def test_of_a_time(self, here: Worker, ran: Ran) -> None:
        handled(here, ran, *BODIES)
        (_, second, third, _) = here.runtime.inbox.between(ACCOUNT)
        since, until = (int(entry.stream_id.partition("-")[0]) for entry in (second, third))
        assert replay(here, until_ms=since - 10_000) == 0
        assert replay(here, "r2", since_ms=until + 10_000) == 0
        assert replay(here, "r3", since_ms=since, until_ms=until) >= 3

    def test_of_some_accounts(self, here: Worker, ran: Ran) -> None:
        here.come(1, account=7)
        here.come(2, account=8)
        run(here.runtime)
        ran.clear()
        replay(here, accounts=(7,))
        assert who(here, ran) == [("one", "lead.added", 1)]

    def test_what_is_not_drained_yet_is_not_past(self, here: Worker, ran: Ran) -> None:
        handled(here, ran, lead_added(1))
        here.deliver(lead_added(2), id_="d9")
        assert replay(here) == 1
        drain(here.runtime)
        assert sorted(who(here, ran)) == [("one", "lead.added", 1), ("one", "lead.added", 2)]

    def test_an_event_that_came_twice_runs_once(self, here: Worker, ran: Ran) -> None:
        handled(here, ran, lead_added(1), lead_added(1))
        assert replay(here) == 1

    def test_what_was_an_echo_stays_one_for_those_that_want_none(self, here: Worker, ran: Ran) -> None:
        handled(here, ran, *BODIES)
        events = [event for entry in here.runtime.inbox.between(ACCOUNT) for event in replaying_events(here, entry)]
        tell_as_echoes(here, events)
        replay(here)
        run(here.runtime)
        assert [(name, event.is_echo) for name, event in ran] == [("echoing", True)]

    def test_a_delivery_that_cannot_be_read_stops_nothing(self, here: Worker, ran: Ran) -> None:
        handled(here, ran, b"account[id]=5", lead_added(1))
        count = replaying(here).plan(everything())
        assert (count.deliveries, count.unreadable, dict(count.steps)) == (2, 1, {"one": 1})
        assert replay(here) == 1


def replaying_events(worker: Worker, entry: Any) -> list[Event]:
    chosen = replaying(worker).chosen(everything(deliveries=(entry.delivery.id,)), ACCOUNT)
    return [event for one in chosen for event, _ in one.events]


def tell_as_echoes(worker: Worker, events: list[Event]) -> None:
    """Write down in the deliveries' stories that these events were echoes."""
    inbox, redis, keys = worker.runtime.inbox, worker.runtime.redis, worker.runtime.keys
    for event in events:
        redis.delete(keys.of_account(ACCOUNT, "event", event.id))
    cursor = inbox.cursor(ACCOUNT)
    told = [RoutedEvent(event.id, "1-0", [], True, event.delivery_id) for event in events]
    assert inbox.commit(Batch(ACCOUNT, cursor, cursor, told, []), hold_ms=0).moved


class TestAgain:
    def test_an_interrupted_replay_is_gone_on_with_where_it_stands(
        self, here: Worker, ran: Ran, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handled(here, ran, *(lead_added(number) for number in range(1, 81)))
        one = replaying(here)
        add, calls = Replays.add, [0]

        def dying(self: Replays, *args: Any, **given: Any) -> Any:
            calls[0] += 1
            if calls[0] == 2:
                add(self, *args, **given)
                raise KeyboardInterrupt
            return add(self, *args, **given)

        monkeypatch.setattr(Replays, "add", dying)
        with pytest.raises(KeyboardInterrupt):
            one.run("r1", everything(), here.hints.wake)
        stored = Replays(here.runtime.redis, here.runtime.keys).asked("r1")
        assert read_asked(stored, "r1") == replace(
            everything(), accounts=[ACCOUNT], deliveries=[], types=[], handlers=[]
        )
        assert one.run("r1", read_asked(stored, "r1"), here.hints.wake) == 16
        run(here.runtime)
        assert sorted(event.entity_id for _, event in ran if isinstance(event.entity_id, int)) == list(range(1, 81))

    def test_gone_on_with_at_its_end_it_does_nothing(self, here: Worker, ran: Ran) -> None:
        handled(here, ran, *BODIES)
        assert [replay(here), replay(here), replay(here, "r2")] == [5, 0, 5]

    def test_two_who_go_on_with_it_do_not_double_it(
        self, here: Worker, ran: Ran, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handled(here, ran, *BODIES)
        place = Replays.place
        monkeypatch.setattr(Replays, "place", lambda self, *_: (place(self, "r1", ACCOUNT), "0-0")[1])
        replay(here)
        with pytest.raises(StoreError, match="somebody else goes on"):
            replay(here)
        assert len(who(here, ran)) == 5

    @pytest.mark.parametrize("data", [None, b"{", b"[]", b'{"accounts":[7],"whatever":1}'])
    def test_one_that_is_not_known_or_not_understood_is_told(self, data: bytes | None) -> None:
        with pytest.raises(StoreError, match="replay"):
            read_asked(data, "r1")

    def test_many_steps_of_few_deliveries_go_in_several_batches(
        self, here: Worker, ran: Ran, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bodies = [
            "&".join(f"leads[add][{n}][id]={d}{n:03}&leads[add][{n}][last_modified]=17950{d}{n:03}" for n in range(300))
            for d in range(1, 4)
        ]
        handled(here, ran, *(body.encode() for body in bodies))
        sizes: list[int] = []
        add = Replays.add

        def noted(self: Replays, *args: Any, **given: Any) -> Any:
            sizes.append(len(given["events"]))
            return add(self, *args, **given)

        monkeypatch.setattr(Replays, "add", noted)
        assert replay(here) == 900
        assert sizes == [300, 300, 300]


def test_the_step_says_which_replay_it_is_of(here: Worker, ran: Ran) -> None:
    handled(here, ran, lead_added(1))
    replay(here, "r-7")
    (lease,) = here.runtime.lanes.take(ACCOUNT, "t").leases
    assert lease.item.startswith(b'{"replay":"r-7","handler":"one","stream":"')
