"""Flushing: what handlers asked for reaches Kommo in order, within the limit, or is given up with a reason."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis

from kommo.api.clients import Clients
from kommo.api.later import Later
from kommo.api.later import Step as AskedBy
from kommo.api.protocol import Request, Response
from kommo.api.transport import HttpTransport
from kommo.errors import Unreachable
from kommo.hooks.events import Event
from kommo.router import Router
from kommo.store.accounts import Accounts, Credentials
from kommo.store.connection import connect
from kommo.store.inbox import Batch, RoutedEvent, Step
from kommo.store.lanes import AskedWrite, StepOutcome
from kommo.store.limiter import Scope
from kommo.store.server import PrivateServer
from kommo.variables import Secret
from sandbox import Sandbox, changes
from sandbox.directory import OWNER
from tests.integration.workers.conftest import ACCOUNT, MakeWorker, Worker
from tests.integration.workers.logs import Lines
from tests.waiting import wait_for
from workers.flush import IN_FLIGHT, flush
from workers.run import run
from workers.sending import ATTEMPTS

FAST = {"integration": 1000, "account": 1000, "ip": 1000}
Ask = Callable[[Any], object]


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """A Kommo that lets everything through."""
    with Sandbox(account_id=ACCOUNT, rate=10_000) as box:
        yield box


@pytest.fixture
def asked(worker: MakeWorker, box: Sandbox) -> Callable[..., Worker]:
    """A worker in whose outbox lies what one handler asked for on one event."""

    def ask(act: Ask, **given: Any) -> Worker:
        router = Router()

        @router.on("lead.*", handler="asks")
        def asks(event: Event, kommo: Any) -> None:
            act(kommo)

        options = {"access_token": Secret(box.token), "api_base": box.url, "rate_limits": FAST, **given}
        here = worker(router, **options)
        here.come(900_001)
        run(here.runtime)
        assert here.dead() == []
        return here

    return ask


def made(box: Sandbox, kind: str, **fields: Any) -> int:
    """Make an entity in the sandbox, without a call."""
    record, _ = changes.create(box.world.state, kind, fields, by=OWNER)
    return int(record.id)


def kept(box: Sandbox, kind: str) -> list[dict[str, Any]]:
    """What the sandbox has of a kind."""
    return [{"id": one.id, **one.fields} for one in box.world.state.records[kind].values()]


def put(worker: Worker, account: int, number: int) -> None:
    """Put updates of so many leads into an account's outbox."""
    runtime = worker.runtime
    later = Later(AskedBy(account, "e1", "asks", "d1"))
    for place in range(number):
        later.leads.update(account * 1000 + place, price=1)
    worker.deliver(b"", account=account)
    (entry,) = runtime.inbox.read(account, after="0-0", limit=1)
    event = RoutedEvent("e1", entry.stream_id, [Step("lane", b"")])
    assert runtime.inbox.commit(Batch(account, "0-0", entry.stream_id, [event], []), hold_ms=0).moved
    (lease,) = runtime.lanes.take(account, "t").leases
    writes = [AskedWrite(write.chain, json.dumps(write.to_record()).encode()) for write in later.writes]
    runtime.lanes.finish(StepOutcome(lease, "done", "r", entry.stream_id, writes=writes))


def is_empty(worker: Worker) -> bool:
    return not worker.runtime.redis.exists(worker.runtime.keys.queue("outbox", 0).ready)


def flush_out(worker: Worker, seconds: float = 8) -> None:
    """Flush until the outbox is empty; what waits for another write comes again by itself."""

    def flushed() -> bool:
        flush(worker.runtime)
        return is_empty(worker)

    wait_for(flushed, seconds=seconds, what="the outbox is empty")


def used(worker: Worker) -> list[int]:
    """The slots that are taken, scope by scope."""
    runtime = worker.runtime
    return [runtime.limiter.used(scope) for scope in runtime.clients.turnstile(ACCOUNT).scopes]


def nothing(_kommo: object) -> None:
    """Ask for no write."""


Before = Callable[[Request], Response | None]


class FakeTransport:
    """Keeps what is sent, and does what it is told before it lets a request through, or instead."""

    def __init__(self, before: Before) -> None:
        self._before = before
        self._real = HttpTransport()
        self._lock = threading.Lock()
        self.sent: list[Request] = []

    def send(self, request: Request) -> Response:
        with self._lock:
            self.sent.append(request)
        return self._before(request) or self._real.send(request)

    def close(self) -> None:
        self._real.close()

    def bodies(self, method: str, path: str = "") -> list[Any]:
        return [json.loads(one.body) for one in self.sent if one.method == method and (not path or one.path == path)]


def listen(worker: Worker, before: Before = lambda _request: None) -> FakeTransport:
    """Put a transport of ours between the worker and Kommo."""
    runtime, transport = worker.runtime, FakeTransport(before)
    runtime.clients.close()
    runtime.clients = Clients(runtime.accounts, runtime.limiter, runtime.settings.api_base, transport)
    return transport


class EveryAccount(Accounts):
    """Has the same token for whatever account is asked for."""

    def credentials(self, account_id: int) -> Credentials | None:
        return Accounts(replace(self._settings, account_id=account_id)).credentials(account_id)


class TestOrder:
    def test_writes_to_one_entity_are_sent_one_after_the_other(
        self, asked: Callable[..., Worker], box: Sandbox
    ) -> None:
        lead = made(box, "leads", name="new")

        def reprice(kommo: Any) -> None:
            for price in (10, 20, 30, 40):
                kommo.later.leads.update(lead, price=price)

        here = asked(reprice)
        wire = listen(here)
        flush_out(here)
        assert [body["price"] for body in wire.bodies("PATCH")] == [10, 20, 30, 40]
        assert kept(box, "leads")[0]["price"] == 40

    def test_writes_to_many_entities_go_at_once_but_never_more_than_seven(
        self, asked: Callable[..., Worker], box: Sandbox
    ) -> None:
        leads = [made(box, "leads", name=f"lead {number}") for number in range(12)]
        under_way, most, lock = 0, 0, threading.Lock()
        seven = threading.Event()

        def count(_request: Request) -> None:
            nonlocal under_way, most
            with lock:
                under_way += 1
                most = max(most, under_way)
                if under_way == IN_FLIGHT:
                    seven.set()
            seven.wait(5)
            with lock:
                under_way -= 1

        here = asked(lambda kommo: [kommo.later.leads.update(lead, price=1) for lead in leads])
        listen(here, count)
        flush_out(here)
        assert most == IN_FLIGHT
        assert [lead["price"] for lead in kept(box, "leads")] == [1] * 12

    def test_accounts_take_turns(self, worker: MakeWorker) -> None:
        here = worker(Router(), subdomain="x", rate_limits=FAST)
        here.runtime.accounts = EveryAccount(here.runtime.settings)
        put(here, 1, 150)
        put(here, 2, 2)
        slow = threading.Event()

        def answer(_request: Request) -> Response:
            slow.wait(0.02)
            return Response(200, {}, b'{"id": 1}')

        wire = listen(here, answer)
        flush_out(here)
        places = [place for place, one in enumerate(wire.sent) if "/leads/2" in one.path]
        assert len(wire.sent) == 152
        assert max(places) < 100, "one account's flood delays another by a turn, not to its end"


class TestReferences:
    def test_what_is_made_in_a_step_can_be_used_by_its_later_writes(
        self, asked: Callable[..., Worker], box: Sandbox
    ) -> None:
        def make(kommo: Any) -> None:
            contact = kommo.later.contacts.create(name="Anna")
            lead = kommo.later.leads.create(name="Order", contacts=[contact])
            kommo.later.tasks.create(entity=lead, text="Call", due_in=timedelta(hours=1))
            kommo.later.notes.create(entity=lead, text="Asked for it twice")
            kommo.later.leads.update(lead, price=500)

        here = asked(make)
        wire = listen(here)
        flush_out(here)
        (lead,), (task,), (contact,) = (kept(box, kind) for kind in ("leads", "tasks", "contacts"))
        assert (lead["name"], lead["price"]) == ("Order", 500)
        assert (task["entity_id"], task["entity_type"], task["text"]) == (lead["id"], "leads", "Call")
        assert f"/api/v4/leads/{lead['id']}/notes" in [one.path for one in wire.sent]
        assert wire.bodies("POST", "/api/v4/leads")[0][0]["_embedded"]["contacts"][0]["id"] == contact["id"]

    def test_what_needs_a_write_of_another_chain_waits_for_it_and_costs_no_slot(
        self, asked: Callable[..., Worker], box: Sandbox
    ) -> None:
        lead = made(box, "leads", name="old")
        waiting, made_in_time = threading.Event(), []

        def make(kommo: Any) -> None:
            contact = kommo.later.contacts.create(name="Anna")
            embedded = {"contacts": [contact]}
            kommo.later.leads.update(lead, price=3, _embedded=embedded)

        def hold(request: Request) -> None:
            if request.path.endswith("/contacts"):
                # Until the update has been looked at and put off.
                made_in_time.append(waiting.wait(5))

        here = asked(make)
        wire = listen(here, hold)

        def watch() -> None:
            wait_for(lambda: here.stats().get("writes_postpone"), what="a write was put off")
            waiting.set()

        watching = threading.Thread(target=watch)
        watching.start()
        flush_out(here)
        watching.join()
        assert made_in_time == [True]
        assert [one.method for one in wire.sent] == ["POST", "PATCH"]
        assert used(here)[0] <= 2

    def test_when_the_first_fails_those_that_need_it_are_given_up_and_the_others_are_not(
        self, asked: Callable[..., Worker], box: Sandbox
    ) -> None:
        lead = made(box, "leads", name="old")

        def make(kommo: Any) -> None:
            bad = kommo.later.leads.create(name="bad", fields={424242: "nobody knows this field"})
            kommo.later.tasks.create(entity=bad, text="Call", due_in=timedelta(minutes=1))
            kommo.later.leads.update(lead, price=7)

        here = asked(make)
        flush_out(here)
        letters = {letter.reason: letter for letter in here.dead()}
        assert set(letters) == {"refused", "depends_on_failed"}
        assert "custom_fields_values" in letters["refused"].error
        assert letters["refused"].error.startswith("BadRequest: POST /api/v4/leads answered 400")
        assert (letters["refused"].handler, letters["refused"].delivery_id) == ("asks", f"d-{ACCOUNT}-900001")
        assert letters["refused"].item["body"]["name"] == "bad"
        assert letters["depends_on_failed"].item["resource"] == "tasks"
        assert kept(box, "leads")[0]["price"] == 7

    def test_an_answer_without_an_id_leaves_nobody_waiting_for_ever(self, asked: Callable[..., Worker]) -> None:
        def make(kommo: Any) -> None:
            lead = kommo.later.leads.create(name="new")
            kommo.later.tasks.create(entity=lead, text="Call", due_in=timedelta(minutes=1))

        here = asked(make)
        listen(here, lambda _request: Response(200, {}, b"{}"))
        flush_out(here)
        assert [letter.reason for letter in here.dead()] == ["depends_on_failed"]


class TestAgain:
    def fail_once(self, worker: Worker, failure: Exception | Response) -> None:
        """Let the first call fail, and see that its write is kept and not sent again at once."""
        failures = [failure]

        def first(_request: Request) -> Response | None:
            if not failures:
                return None
            failed = failures.pop()
            if isinstance(failed, Exception):
                raise failed
            return failed

        listen(worker, first)
        flush(worker.runtime)
        assert not is_empty(worker)
        assert worker.stats()["writes_failed"] == 1

    def test_a_network_error_is_tried_again(self, asked: Callable[..., Worker], box: Sandbox, lines: Lines) -> None:
        lead = made(box, "leads", name="old")
        here = asked(lambda kommo: kommo.later.leads.update(lead, price=7))
        self.fail_once(here, Unreachable("connection reset", method="PATCH", path="/api/v4/leads/1"))
        assert lines.saying("write failed, again later")[0]["handler"] == "asks"
        here.pass_time("outbox")
        flush_out(here)
        assert kept(box, "leads")[0]["price"] == 7
        assert here.stats()["writes_done"] == 1

    def test_a_429_is_waited_out_and_holds_up_all_calls_of_the_account(
        self, asked: Callable[..., Worker], box: Sandbox
    ) -> None:
        lead = made(box, "leads", name="old")
        here = asked(lambda kommo: kommo.later.leads.update(lead, price=7))
        body = json.dumps({"title": "Too Many Requests", "status": 429, "retry_after": 60}).encode()
        self.fail_once(here, Response(429, {"content-type": "application/problem+json"}, body))
        assert 59 <= (here.due_in("outbox", f"lead:{lead}") or 0) <= 61.2
        turnstile = here.runtime.clients.turnstile(ACCOUNT)
        assert isinstance(here.runtime.limiter.try_acquire(turnstile.scopes, ticket="t"), float)
        here.runtime.limiter.withdraw("t")
        here.runtime.redis.delete(*here.runtime.redis.keys("*pause*"))
        here.pass_time("outbox")
        flush_out(here)
        assert kept(box, "leads")[0]["price"] == 7

    @pytest.mark.parametrize("status", [500, 502, 504])
    def test_a_fault_of_kommos_is_tried_again(self, asked: Callable[..., Worker], box: Sandbox, status: int) -> None:
        lead = made(box, "leads", name="old")
        here = asked(lambda kommo: kommo.later.leads.update(lead, price=7))
        self.fail_once(here, Response(status, {"content-type": "text/html"}, b"<html>"))
        here.pass_time("outbox")
        flush_out(here)
        assert here.dead() == []

    def test_a_write_that_never_succeeds_is_given_up_in_the_end(self, asked: Callable[..., Worker]) -> None:
        here = asked(lambda kommo: kommo.later.leads.update(5, price=7))
        listen(here, lambda _request: Response(500, {}, b""))
        for _ in range(ATTEMPTS):
            flush(here.runtime)
            here.pass_time("outbox")
        (letter,) = here.dead()
        assert (letter.reason, letter.attempt) == ("attempts_exhausted", ATTEMPTS)
        assert is_empty(here)

    @pytest.mark.parametrize("status", [401, 402])
    def test_a_write_that_waits_for_a_person_is_never_given_up(self, asked: Callable[..., Worker], status: int) -> None:
        here = asked(lambda kommo: kommo.later.leads.update(5, price=7))
        listen(here, lambda _request: Response(status, {}, b""))
        for _ in range(ATTEMPTS + 3):
            flush(here.runtime)
            here.pass_time("outbox")
        assert here.dead() == []
        assert not is_empty(here)

    def test_without_a_token_writes_are_kept_and_looked_at_again_in_a_minute(
        self, asked: Callable[..., Worker], lines: Lines
    ) -> None:
        here = asked(lambda kommo: kommo.later.leads.update(5, price=7), access_token=Secret())
        flush(here.runtime)
        assert here.due_in("outbox", "lead:5") == pytest.approx(60, abs=1)
        assert here.stats()["writes_postpone"] == 1
        assert "KOMMO_ACCESS_TOKEN" in lines.saying("writes wait for a token")[0]["error"]
        here.pass_time("outbox")
        (lease,) = here.runtime.outbox.take(ACCOUNT, "t").leases
        assert (lease.failures, lease.crashes) == (0, 0)


def test_a_write_that_cannot_be_read_is_kept_and_those_behind_it_go_on(asked: Callable[..., Worker]) -> None:
    def reprice(kommo: Any) -> None:
        kommo.later.leads.update(5, price=1)
        kommo.later.leads.update(5, price=2)

    here = asked(reprice)
    wire = listen(here, lambda _request: Response(200, {}, b'{"id": 5}'))
    here.runtime.redis.hset(here.runtime.keys.chains("outbox", ACCOUNT).items, "lead:5|1", b"of another version")
    flush_out(here)
    assert [body["price"] for body in wire.bodies("PATCH")] == [2]
    assert [(letter.kind, letter.reason) for letter in here.dead()] == [("write", "unreadable")]
    assert used(here) == [1, 1, 1]


class TestSlots:
    def test_a_slot_is_used_for_every_call_and_for_nothing_else(
        self, asked: Callable[..., Worker], box: Sandbox
    ) -> None:
        lead = made(box, "leads", name="old")
        here = asked(lambda kommo: kommo.later.leads.update(lead, price=7))
        flush_out(here)
        assert used(here) == [1, 1, 1]

    def test_a_slot_is_given_back_when_there_is_nothing_to_send(self, asked: Callable[..., Worker]) -> None:
        here = asked(nothing)
        ready = here.runtime.keys.queue("outbox", 0).ready
        here.runtime.redis.zadd(ready, {str(ACCOUNT): 1})
        flush(here.runtime)
        assert used(here) == [0, 0, 0]
        assert is_empty(here)

    def test_calls_keep_to_the_limit(self, asked: Callable[..., Worker], box: Sandbox) -> None:
        leads = [made(box, "leads", name=f"lead {number}") for number in range(12)]
        here = asked(
            lambda kommo: [kommo.later.leads.update(lead, price=1) for lead in leads],
            rate_limits={"integration": 7, "account": 50, "ip": 50},
        )
        flush_out(here)
        assert [lead["price"] for lead in kept(box, "leads")] == [1] * 12
        assert box.peak <= 7

    def test_waiting_for_a_slot_is_given_up_when_the_process_stops(self, asked: Callable[..., Worker]) -> None:
        here = asked(lambda kommo: kommo.later.leads.update(5, price=7))
        turnstile = here.runtime.clients.turnstile(ACCOUNT)
        here.runtime.limiter.pause(turnstile.scopes[0], seconds=60)
        threading.Timer(0.2, here.runtime.stopping.set).start()
        flush(here.runtime)
        assert not is_empty(here)
        assert here.runtime.redis.zcard("kommo:{limits}:tickets") == 0


class TestRedisAway:
    def test_the_loop_ends_without_an_error_even_while_it_waits_for_a_slot(
        self, worker: MakeWorker, lines: Lines
    ) -> None:
        with PrivateServer(fsync="no") as server, connect(server.url) as redis:
            here = worker(Router(), redis=redis, subdomain="x", rate_limits={**FAST, "integration": 1})
            put(here, ACCOUNT, 1)
            scopes = here.runtime.clients.turnstile(ACCOUNT).scopes
            here.runtime.limiter.pause(scopes[0], seconds=60)
            killer = threading.Timer(0.3, server.kill)
            killer.start()
            flush(here.runtime)
            killer.join()
            assert lines.saying("loop ended")[0]["queue"] == "outbox"

    def test_what_was_sent_is_recorded_once_redis_is_back_and_not_sent_again(self, worker: MakeWorker) -> None:
        with PrivateServer(fsync="always") as server, connect(server.url) as redis:
            here = worker(Router(), redis=redis, subdomain="x", rate_limits=FAST)
            put(here, ACCOUNT, 1)
            sent: list[str] = []
            back = threading.Timer(0.4, server.start)

            def cut(request: Request) -> Response:
                sent.append(request.path)
                server.kill()
                back.start()
                return Response(200, {}, b'{"id": 5}')

            listen(here, cut)
            flush(here.runtime)
            back.join()
            here.pass_time("outbox")
            flush(here.runtime)
            assert len(sent) == 1
            assert here.stats()["writes_done"] == 1


def test_a_call_is_told_with_what_asked_for_it(asked: Callable[..., Worker], box: Sandbox, lines: Lines) -> None:
    lead = made(box, "leads", name="old")
    flush_out(asked(lambda kommo: kommo.later.leads.update(lead, name="whispered")))
    (line,) = lines.saying("api call")
    assert (line["method"], line["status"], line["handler"], line["account"]) == ("PATCH", 200, "asks", ACCOUNT)
    assert line["delivery"] == f"d-{ACCOUNT}-900001"
    assert "whispered" not in lines.text
    assert box.token not in lines.text


def test_scopes_are_those_of_integration_account_and_address(asked: Callable[..., Worker]) -> None:
    here = asked(nothing, egress="gateway")
    assert here.runtime.clients.turnstile(ACCOUNT).scopes == (
        Scope(f"integration:c:{ACCOUNT}", 1000),
        Scope(f"account:{ACCOUNT}", 1000),
        Scope("ip:gateway", 1000),
    )


def test_nothing_is_sent_to_nobody(worker: MakeWorker, redis: Redis) -> None:
    flush(worker().runtime)
    assert redis.keys("kommo:{limits}*") == []
