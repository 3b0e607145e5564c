"""Handlers that write do not hear themselves: from the write to the lanes, over a real Redis."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from kommo.hooks.events import Event
from kommo.router import Router
from kommo.store.connection import now_ms
from kommo.store.inbox import Delivery
from kommo.store.lanes import StepOutcome
from tests.integration.workers.logs import Lines
from tests.integration.workers.working import ACCOUNT, FORM, MakeWorker, Worker
from workers.drain import drain

LEAD = "/api/v4/leads/7"


class Shop:
    """An account with one lead, that tells of every change, and the handlers that run on it."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.lead: dict[str, Any] = {"id": 7, "price": 1, "name": "Oven", "status_id": 11, "pipeline_id": 3}
        self.time = now_ms(worker.runtime.redis) // 1000
        self.told = 0
        self._tokens = itertools.count()

    def write(self, **fields: Any) -> None:
        """Do what sending a write does: note it, and let the account change and tell."""
        self.worker.runtime.echoes.expect(ACCOUNT, "PATCH", LEAD, fields)
        self.change(**fields)

    def change(self, **fields: Any) -> None:
        """Let the lead change, and its webhook come in."""
        old = {f"old_{name}": self.lead[name] for name in fields if name == "status_id"}
        self.lead |= fields
        self.time += 1
        item = {**self.lead, **old, "updated_at": self.time, "modified_user_id": 5}
        self._come("&".join(f"leads[update][0][{name}]={value}" for name, value in item.items()))

    def _come(self, body: str) -> None:
        self.told += 1
        redis = self.worker.runtime.redis
        delivery = Delivery(f"d{self.told}", ACCOUNT, body.encode(), FORM, now_ms(redis))
        self.worker.runtime.inbox.add(delivery)

    def run(self, *, at_most: int = 50) -> int:
        """Drain and run handlers until nothing is left to do; return how often one ran."""
        runtime, ran = self.worker.runtime, 0
        drain(runtime)
        while ran < at_most and (taken := runtime.lanes.take(ACCOUNT, f"t{next(self._tokens)}")).leases:
            (lease,) = taken.leases
            item, ran = json.loads(lease.item), ran + 1
            runtime.router.handlers[item["handler"]].function(Event.from_record(item["event"]), self)
            runtime.lanes.finish(StepOutcome(lease, "done", "r", item["stream"]))
            drain(runtime)
        return ran


MakeShop = Callable[[Router], Shop]


@pytest.fixture
def shop(worker: MakeWorker) -> MakeShop:
    return lambda router: Shop(worker(router))


@pytest.mark.parametrize(
    "patch",
    [
        lambda lead: {"price": lead.price + 1},
        lambda lead: {"name": f"{lead.name}!"},
        lambda _lead: {"price": 5},
        lambda lead: {"status_id": lead.status_id + 1},
    ],
    ids=["counting", "growing", "the-same", "moving"],
)
def test_a_handler_that_writes_on_every_update_runs_once_and_not_for_ever(shop: MakeShop, patch: Any) -> None:
    router = Router()

    @router.on("lead.updated", "lead.status_changed", handler="h")
    def touch(event: Event, kommo: Any) -> None:
        kommo.write(**patch(event.lead))

    here = shop(router)
    for change in ({"name": "Stove"}, {"price": 100}, {"name": "Hob"}):
        here.change(**change)
        assert here.run() == 1
    assert here.worker.stats()["echoes"] >= 3


def test_two_handlers_that_write_do_not_wake_each_other(shop: MakeShop) -> None:
    router = Router()

    @router.on("lead.updated", handler="one")
    def one(event: Event, kommo: Any) -> None:
        kommo.write(price=event.lead.price + 1)  # type: ignore[union-attr, operator]  # it has a price

    @router.on("lead.updated", handler="two")
    def two(event: Event, kommo: Any) -> None:
        kommo.write(name="Seen", price=9)

    here = shop(router)
    here.change(name="Stove")
    assert here.run() == 2


def test_one_that_wants_echoes_gets_them_marked_and_the_others_only_what_is_not_ours(shop: MakeShop) -> None:
    heard: list[tuple[str, int, bool]] = []
    router = Router()

    @router.on("lead.updated", handler="all", echoes=True)
    def every(event: Event, kommo: Any) -> None:
        heard.append(("all", event.lead.price, event.is_echo))  # type: ignore[union-attr, arg-type]  # it has a price

    @router.on("lead.updated", handler="others")
    def others(event: Event, kommo: Any) -> None:
        heard.append(("others", event.lead.price, event.is_echo))  # type: ignore[union-attr, arg-type]  # likewise

    here = shop(router)
    here.change(price=2)
    here.write(price=3)
    here.change(price=4)
    here.run()
    assert sorted(heard) == [
        ("all", 2, False),
        ("all", 3, True),
        ("all", 4, False),
        ("others", 2, False),
        ("others", 4, False),
    ]


def test_what_was_held_back_is_counted_and_told(shop: MakeShop, lines: Lines) -> None:
    router = Router()
    router.on("*", handler="h")(lambda _event, _kommo: None)
    here = shop(router)
    here.change(price=2)
    here.write(status_id=12)
    drain(here.worker.runtime)
    stats = here.worker.stats()
    assert (stats["events"], stats["echoes"], stats["steps"]) == (3, 2, 1)
    assert [(line["echoes"], line["steps"]) for line in lines.saying("drained")] == [(0, 1), (2, 0)]


def test_the_same_echo_twice_is_counted_once(shop: MakeShop) -> None:
    here = shop(Router())
    here.write(price=2)
    here.change(price=2)
    here.time -= 1
    here.change()
    drain(here.worker.runtime)
    assert here.worker.stats()["echoes"] == 1


def test_what_we_wrote_while_the_drain_stood_still_is_an_echo_in_its_turn(shop: MakeShop) -> None:
    router = Router()
    router.on("lead.updated", handler="h")(lambda _event, _kommo: None)
    here = shop(router)
    for number in range(40):
        (here.change if number % 4 == 0 else here.write)(price=number)
    assert here.run(at_most=200) == 10
    assert here.worker.stats()["echoes"] == 30


def test_an_echo_that_one_drain_has_read_and_never_written_is_one_for_the_next(shop: MakeShop, redis: Redis) -> None:
    router = Router()
    router.on("lead.updated", handler="h")(lambda _event, _kommo: None)
    here = shop(router)
    here.write(price=2)
    inbox, commit = here.worker.runtime.inbox, here.worker.runtime.inbox.commit

    def die(*args: Any, **more: Any) -> Any:
        raise SystemExit

    inbox.commit = die  # type: ignore[method-assign]  # a death between reading and writing
    with pytest.raises(SystemExit):
        drain(here.worker.runtime)
    inbox.commit = commit  # type: ignore[method-assign]  # and what comes after it
    redis.zadd(here.worker.runtime.keys.queue("inbox", 0).ready, {str(ACCOUNT): 1})
    assert here.run() == 0
    assert here.worker.stats()["echoes"] == 1
