"""What the webhook did not tell is found in the sandbox's API over HTTP, and only that."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

from kommo.api.client import Client
from kommo.hooks.backfill import DELIVERY
from kommo.hooks.events import Event
from kommo.hooks.normalise import normalise
from kommo.router import Router
from kommo.store.gaps import Gap, Gaps
from kommo.store.inbox import Delivery, Stored
from kommo.variables import Secret
from sandbox import Sandbox, changes
from sandbox.control.commands import run
from sandbox.directory import OWNER
from sandbox.subscriptions import SETTINGS
from tests.integration.workers.flushing import FAST
from tests.integration.workers.logs import Lines
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker
from workers import backfill
from workers.backfill import Filled, Ground, fill
from workers.drain import drain

#: Nobody listens there: what is sent is seen in the sandbox.
NOWHERE = "http://127.0.0.1:1/webhooks/"


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(account_id=ACCOUNT, rate=10_000, time_scale=0.0001) as box:
        box.register(NOWHERE, *sorted(SETTINGS))
        yield box


@pytest.fixture
def here(worker: MakeWorker, box: Sandbox) -> Worker:
    return worker(Router(), access_token=Secret(box.token), api_base=box.url, rate_limits=FAST)


class Day:
    """What happens in the account, as a person does it."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box

    def do(self, command: str, **given: Any) -> int:
        return int(run(self.box.world, command, given)["id"])

    def happens(self) -> None:
        """One of everything that a webhook tells and the API knows."""
        lead, other = self.do("lead.create", name="Tandem", price=780), self.do("lead.create", name="Unicycle")
        self.do("lead.move", id=lead, status_id=142)
        self.do("lead.update", id=lead, responsible_user_id=self._colleague(), price=790)
        contact, company = self.do("contact.create", name="Ida"), self.do("company.create", name="Cycles")
        task = self.do("task.create", entity_id=lead, text="Bring the bell")
        self.do("task.complete", id=task)
        self.do("note.add", entity_id=lead, text="Wants mudguards")
        self.do("note.add", entity_type="companies", entity_id=company, text="Pays late")
        run(self.box.world, "message.receive", {"lead_id": lead, "text": "Hello"})
        (talk,) = self.box.world.state.talks
        self.do("talk.close", id=talk)
        self.do("lead.delete", id=other)
        self.do("contact.delete", id=contact)
        self.do("contact.restore", id=contact)

    def _colleague(self) -> int:
        return next(user.id for user in self.box.world.state.directory.users if user.id != OWNER)


@pytest.fixture
def day(box: Sandbox) -> Day:
    return Day(box)


def ground(here: Worker, *, later: float = 120, **given: Any) -> Ground:
    """What filling stands on, with a clock that is ahead by more than the lag of Kommo's journal."""
    runtime = here.runtime
    gaps = Gaps(runtime.redis, runtime.keys)
    clock = given.pop("clock", lambda: time.time() + later)
    return Ground(gaps, runtime.inbox, runtime.clients.client, runtime.waker.wake, clock=clock, **given)


def filled(here: Worker, *, seconds: int = 300, on: Ground | None = None) -> Filled | None:
    """Note a gap that began so many seconds ago, and fill it."""
    on, now = on or ground(here), int(time.time())
    on.gaps.open(ACCOUNT, since=now - seconds, until=now + 30, why="a test")
    return fill(on, ACCOUNT, here.runtime.token())


def asked(box: Sandbox) -> list[tuple[int, int]]:
    """Which times the journal was asked for, one after the other."""
    found: list[tuple[int, int]] = []
    for row in box.requests(path="/api/v4/events"):
        query = parse_qs(row["query"])
        times = int(query["filter[created_at][from]"][0]), int(query["filter[created_at][to]"][0]) + 1
        if query.get("page", ["1"]) == ["1"] and (not found or found[-1] != times):
            found.append(times)
    return found


def end_lease(here: Worker) -> None:
    """Let 180 s be over for whoever fills the gap."""
    here.runtime.redis.hset(here.runtime.keys.of_account(ACCOUNT, "webhook", "gap"), "lease", 1)


def events(here: Worker) -> list[Event]:
    """What lies in the inbox."""
    return [
        event
        for entry in here.runtime.inbox.read(ACCOUNT, after="0-0", limit=1000)
        for event in normalise(
            entry.delivery.body,
            content_type=entry.delivery.content_type,
            account_id=ACCOUNT,
            delivery_id=entry.delivery.id,
        )
    ]


def types(here: Worker) -> list[str]:
    return sorted({event.type for event in events(here)})


def webhooks_come(here: Worker, box: Sandbox, *, without: str = "-") -> None:
    """Let all that the sandbox has told lie in the inbox, but for one kind."""
    for row in box.deliveries():
        sent = box.world.sender.find(row["id"])
        assert sent is not None
        if without not in sent.kind:
            delivery = Delivery(f"{sent.id:032x}", ACCOUNT, sent.body, sent.content_type, time.time_ns() // 1_000_000)
            here.runtime.inbox.add(delivery)


def test_what_nobody_was_told_is_found(here: Worker, day: Day) -> None:
    day.happens()
    outcome = filled(here)
    assert outcome is not None
    assert outcome.done
    assert types(here) == [
        *("company.added", "company.note_added"),
        *("contact.added", "contact.deleted", "contact.restored"),
        *("lead.added", "lead.deleted", "lead.note_added", "lead.responsible_changed", "lead.status_changed"),
        *("message.received", "talk.added", "talk.closed", "task.added", "task.completed"),
    ]
    assert all(event.delivery_id.startswith(DELIVERY) for event in events(here))
    assert outcome.put == len(events(here)) == here.stats()["deliveries"]


def test_what_was_told_is_not_put_in_again(here: Worker, box: Sandbox, day: Day) -> None:
    day.happens()
    webhooks_come(here, box)
    before = len(events(here))
    outcome = filled(here)
    assert outcome is not None
    assert [event.type for event in events(here)[before:]] == []
    assert outcome.known >= 12


@pytest.mark.parametrize(
    ("without", "types_"),
    [
        ("leads.delete", ["lead.deleted"]),
        ("contacts.add", ["company.added", "contact.added"]),
        ("note", ["company.note_added", "lead.note_added"]),
        ("message.add", ["message.received"]),
        ("task.update", ["task.completed"]),
    ],
)
def test_what_was_lost_among_what_came_is_found_and_nothing_else(
    here: Worker, box: Sandbox, day: Day, without: str, types_: list[str]
) -> None:
    day.happens()
    webhooks_come(here, box, without=without)
    before = len(events(here))
    filled(here)
    assert sorted(event.type for event in events(here)[before:]) == types_


def test_a_change_of_stage_that_comes_as_well_runs_once(here: Worker, box: Sandbox, day: Day) -> None:
    lead = day.do("lead.create", name="Tandem")
    day.do("lead.move", id=lead, status_id=142)
    filled(here)
    drain(here.runtime)
    before = here.stats().get("repeated_events", 0)
    webhooks_come(here, box)
    drain(here.runtime)
    assert here.stats()["repeated_events"] - before >= 1
    ids = [event.id for event in events(here) if event.type == "lead.status_changed"]
    assert len(ids) >= 2
    assert len(set(ids)) == 1


def test_it_is_put_in_in_the_order_in_which_it_happened(
    here: Worker, box: Sandbox, day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = [int(time.time()) - 200]
    monkeypatch.setattr(box.world.state, "now", lambda: at[0])
    lead = day.do("lead.create", name="Tandem")
    for command, given in (
        ("lead.move", {"status_id": 142}),
        ("lead.update", {"name": "Tandem, blue"}),
        ("lead.delete", {}),
        ("lead.restore", {}),
    ):
        at[0] += 5
        day.do(command, id=lead, **given)
    filled(here, seconds=400)
    assert [event.type for event in events(here)] == [
        *("lead.added", "lead.status_changed", "lead.deleted", "lead.restored"),
    ]


def test_filling_again_puts_nothing_in(here: Worker, day: Day) -> None:
    day.happens()
    filled(here)
    before = len(events(here))
    again = filled(here)
    assert again is not None
    assert (again.put, len(events(here))) == (0, before)


class TestSlices:
    def test_after_a_death_it_goes_on_where_it_was_and_puts_nothing_in_twice(
        self, here: Worker, day: Day, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        day.happens()
        dies = ground(here)
        monkeypatch.setattr(dies.gaps, "advance", _die)
        with pytest.raises(RuntimeError, match="killed"):
            filled(here, on=dies)
        before = len(events(here))
        assert before
        gap = Gaps(here.runtime.redis, here.runtime.keys).get(ACCOUNT)
        assert gap is not None
        end_lease(here)
        outcome = fill(ground(here), ACCOUNT, here.runtime.token())
        assert outcome is not None
        assert (outcome.done, outcome.put, len(events(here))) == (True, 0, before)

    def test_a_long_gap_is_filled_slice_by_slice(self, here: Worker, box: Sandbox) -> None:
        filled(here, seconds=4000)
        starts = {row["query"] for row in box.requests(path="/api/v4/events")}
        assert len(starts) == 5

    def test_a_slice_that_holds_much_is_halved(
        self, here: Worker, box: Sandbox, day: Day, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backfill, "_MOST", 3)
        for number in range(8):
            day.do("company.create", name=f"Company {number}")
        filled(here)
        assert len(box.requests(path="/api/v4/events")) > 4
        assert sorted(event.raw["name"] for event in events(here)) == [f"Company {number}" for number in range(8)]

    def test_lists_longer_than_a_page_are_read_to_their_end(self, here: Worker, box: Sandbox) -> None:
        with box.world.state.lock:
            for number in range(520):
                changes.create(box.world.state, "companies", {"name": f"{number}"}, by=OWNER)
        outcome = filled(here)
        assert outcome is not None
        assert outcome.put == 520

    def test_the_length_that_did_is_kept_for_the_next_ones_and_grows_when_little_is_found(
        self, here: Worker, box: Sandbox, day: Day, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backfill, "_MOST", 8)
        at = [int(time.time()) - 3_500]
        monkeypatch.setattr(box.world.state, "now", lambda: at[0])
        for number in range(30):  # one in half a minute, for a quarter of an hour
            at[0] += 30
            day.do("company.create", name=f"Company {number}")
        outcome = filled(here, seconds=3_500)
        lengths = [until - since for since, until in asked(box)]
        assert outcome is not None
        assert (outcome.put, outcome.done) == (30, True)
        assert lengths[:3] == [900, 450, 225]
        assert lengths.count(min(lengths)) > 2
        assert lengths.count(900) == 1
        assert max(lengths[3:]) >= 2 * min(lengths)

    def test_a_slice_may_take_longer_than_the_lease(self, here: Worker, box: Sandbox, day: Day) -> None:
        day.happens()
        on = ground(here)
        taken: list[object] = []

        def slow(account_id: int) -> Client:
            send = here.runtime.clients.caller(account_id)

            def last_long(*call: Any) -> Any:
                taken.append(on.gaps.take(ACCOUNT, "another"))
                end_lease(here)
                return send(*call)

            return Client(last_long, account_id=account_id)

        outcome = filled(here, on=replace(on, client=slow))
        assert outcome is not None
        assert outcome.done
        assert set(taken) == {None}
        assert len(taken) == len(box.requests()) > 10

    def test_the_lease_is_renewed_while_much_is_put_in(
        self, here: Worker, day: Day, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backfill, "_PAGE", 1)
        for number in range(4):
            day.do("company.create", name=f"Company {number}")
        on, add = ground(here), here.runtime.inbox.add
        taken: list[object] = []

        def last_long(delivery: Delivery) -> Any:
            taken.append(on.gaps.take(ACCOUNT, "another"))
            end_lease(here)
            return add(delivery)

        monkeypatch.setattr(here.runtime.inbox, "add", last_long)
        filled(here, on=on)
        assert taken == [None] * 4

    def test_whoever_has_lost_it_says_so_and_not_that_it_is_filled(
        self, here: Worker, day: Day, lines: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        day.do("company.create", name="Cycles")
        on = ground(here)
        advance = on.gaps.advance

        def too_late(*given: Any, **more: Any) -> Any:
            end_lease(here)
            assert on.gaps.take(ACCOUNT, "another")
            return advance(*given, **more)

        monkeypatch.setattr(on.gaps, "advance", too_late)
        assert filled(here, on=on) == Filled(put=1, done=False)
        assert on.gaps.get(ACCOUNT) is not None
        assert lines.saying("gap not filled here")
        assert not lines.saying("gap filled")

    def test_what_is_younger_than_the_lag_is_left_for_later(self, here: Worker, day: Day) -> None:
        day.do("lead.create", name="Tandem")
        on, now = ground(here, later=0), int(time.time())
        on.gaps.open(ACCOUNT, since=now - 200, until=None, why="a test")
        outcome = fill(on, ACCOUNT, "t")
        assert outcome is not None
        assert (outcome.put, outcome.done) == (0, False)
        gap = on.gaps.get(ACCOUNT)
        assert gap is not None
        assert gap.position <= now - 59
        assert fill(ground(here), ACCOUNT, "t2") == Filled(put=1)

    def test_time_that_goes_by_meanwhile_is_no_slice_of_its_own(self, here: Worker, box: Sandbox) -> None:
        now = itertools.count(int(time.time()))
        on = ground(here, clock=lambda: float(next(now)))
        on.gaps.open(ACCOUNT, since=int(time.time()) - 600, until=None, why="a test")
        assert fill(on, ACCOUNT, "t") == Filled()
        assert len(box.requests(path="/api/v4/events")) == 1

    def test_it_stops_when_the_worker_does(self, here: Worker, box: Sandbox) -> None:
        stops = ground(here, stopping=lambda: True)
        outcome = filled(here, on=stops)
        assert outcome == Filled()
        assert box.requests(path="/api/v4/events") == []
        assert fill(ground(here), ACCOUNT, "t") is not None

    def test_two_do_not_fill_at_once(self, here: Worker) -> None:
        on = ground(here)
        on.gaps.open(ACCOUNT, since=0, until=10, why="a test")
        assert on.gaps.take(ACCOUNT, "another")
        assert fill(on, ACCOUNT, "t") is None

    def test_without_a_gap_nothing_is_asked(self, here: Worker, box: Sandbox) -> None:
        assert fill(ground(here), ACCOUNT, "t") is None
        assert box.requests() == []


class TestRefusals:
    def test_what_the_account_refuses_is_left_out_and_said(
        self, here: Worker, box: Sandbox, day: Day, lines: Lines
    ) -> None:
        day.do("company.create", name="Cycles")
        box.fault(status=403, path="/api/v4/tasks*", times=50, body='{"title": "Forbidden", "status": 403}')
        outcome = filled(here, seconds=2000)
        assert outcome is not None
        assert (outcome.done, types(here)) == (True, ["company.added"])
        assert [line["what"] for line in lines.saying("not all can be found again")] == ["task"]

    def test_an_account_that_has_not_paid_is_waited_for_also_in_the_middle_of_a_filling(
        self, here: Worker, box: Sandbox, day: Day, lines: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        day.do("company.create", name="Cycles")
        on = ground(here)
        advance = on.gaps.advance

        def ends(*given: Any, **more: Any) -> Any:
            box.fault(status=402, path="/api/v4/*", times=500, body='{"title": "Payment Required", "status": 402}')
            return advance(*given, **more)

        monkeypatch.setattr(on.gaps, "advance", ends)
        assert filled(here, seconds=4_000, on=on) == Filled()
        assert on.gaps.get(ACCOUNT) is not None
        assert lines.saying("gap not filled now")
        monkeypatch.undo()
        box.clear_faults()
        here.runtime.shared.parking.resume(ACCOUNT)
        assert fill(ground(here), ACCOUNT, "t") == Filled(put=1, done=True)
        assert types(here) == ["company.added"]

    def test_a_journal_that_does_not_know_a_type_is_asked_for_whole(
        self, here: Worker, box: Sandbox, day: Day, lines: Lines
    ) -> None:
        lead = day.do("lead.create", name="Tandem")
        day.do("lead.move", id=lead, status_id=142)
        box.fault(status=400, path="/api/v4/events", times=1, body='{"title": "Bad Request", "status": 400}')
        outcome = filled(here, seconds=2_000)
        assert outcome is not None
        assert (outcome.done, types(here)) == (True, ["lead.added", "lead.status_changed"])
        typed = ["filter[type]" in unquote(row["query"]) for row in box.requests(path="/api/v4/events")]
        assert typed == [True, *[False] * (len(typed) - 1)]
        assert len(lines.saying("journal is asked for whole")) == 1
        assert not lines.saying("not all can be found again")

    def test_an_answer_that_does_not_come_leaves_the_gap_as_it_is(self, here: Worker, box: Sandbox, day: Day) -> None:
        day.do("company.create", name="Cycles")
        fault = box.fault(status=500, path="/api/v4/companies*", times=500)
        assert fault
        now = int(time.time())
        assert filled(here) == Filled()
        assert Gaps(here.runtime.redis, here.runtime.keys).get(ACCOUNT) == Gap(now - 300, now + 30, now - 300, "a test")
        box.clear_faults()
        assert fill(ground(here), ACCOUNT, "t") is not None
        assert types(here) == ["company.added"]


def test_the_same_delivery_is_stored_once(here: Worker, day: Day) -> None:
    day.do("lead.create", name="Tandem")
    filled(here)
    (entry,) = here.runtime.inbox.read(ACCOUNT, after="0-0", limit=10)
    assert here.runtime.inbox.add(entry.delivery)[0] is Stored.REPEATED_CALL


def _die(*_: object, **__: object) -> None:
    raise RuntimeError("killed")
