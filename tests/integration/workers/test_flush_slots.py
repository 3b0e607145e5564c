"""Flushing: slots of the limit, turns of the accounts, brakes and parking, and a Redis that goes away."""

import threading
import time
from typing import Any

import pytest

from kommo.api.protocol import Request, Response
from kommo.errors import PaymentRequired, Unreachable
from kommo.router import Router
from kommo.store.connection import connect, now_ms
from kommo.store.limiter import HEAD_START_MS, TAG, Alone, Slot, Wait
from kommo.store.server import PrivateServer
from kommo.variables import DEFAULT_LIMITS
from sandbox import Sandbox
from tests.integration.workers.flushing import (
    FAST,
    Asking,
    EveryAccount,
    flush_out,
    is_empty,
    kept,
    leads,
    listen,
    made,
    nothing,
    problem,
    put,
    sent,
    used,
)
from tests.integration.workers.logs import Lines
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker
from tests.waiting import wait_for
from workers.flush import flush
from workers.sending import ATTEMPTS
from workers.waits import Waits

DONE = Response(200, {}, b'{"_embedded": {}}')


class TestSlots:
    def test_one_is_used_for_every_request_and_for_nothing_else(self, asked: Asking, box: Sandbox) -> None:
        ids = leads(box, 40)
        here = asked(lambda kommo: [kommo.later.leads.update(lead, price=7) for lead in ids])
        flush_out(here)
        assert used(here) == [1, 1, 1]

    def test_one_is_given_back_when_there_is_nothing_to_send(self, asked: Asking) -> None:
        here = asked(nothing)
        here.runtime.redis.zadd(here.runtime.keys.queue("outbox", 0).ready, {str(ACCOUNT): 1})
        flush(here.runtime)
        assert used(here) == [0, 0, 0]
        assert is_empty(here)

    def test_looking_for_what_may_have_been_done_takes_one_and_sending_it_another(
        self, asked: Asking, box: Sandbox
    ) -> None:
        here = asked(lambda kommo: kommo.later.leads.create(name="Order 5", marker="name"))
        taken = here.runtime.outbox.take_piles(ACCOUNT, "dies", most=1, depth=1)
        assert len(taken.piles) == 1
        here.pass_time("outbox")
        flush_out(here)
        assert [one["method"] for one in box.requests()] == ["GET", "POST"]
        assert used(here) == [2, 2, 2]

    def test_requests_keep_to_the_limit(self, asked: Asking, box: Sandbox) -> None:
        ids = leads(box, 12)

        def each_alone(kommo: Any) -> None:
            for lead in ids:
                kommo.later.leads.update(lead, price=1, _embedded={"tags": []})

        here = asked(each_alone, rate_limits={"integration": 7, "account": 50, "ip": 50})
        flush_out(here)
        assert [lead["price"] for lead in kept(box, "leads")] == [1] * 12
        assert len(sent(box, "PATCH")) == 12
        assert box.peak <= 7


class TestFairness:
    def test_accounts_take_turns(self, worker: MakeWorker) -> None:
        here = worker(Router(), subdomain="x", rate_limits=FAST)
        here.runtime.accounts = EveryAccount(here.runtime.settings)
        put(here, 1, lambda later: [later.leads.update(10_000 + n, price=1, _embedded={}) for n in range(150)])
        put(here, 2, lambda later: [later.leads.update(20_000 + n, price=1, _embedded={}) for n in range(2)])
        slow = threading.Event()

        def answer(_request: Request) -> Response:
            slow.wait(0.02)
            return DONE

        wire = listen(here, answer)
        flush_out(here)
        places = [place for place, one in enumerate(wire.sent) if "/leads/2" in one.path]
        assert len(wire.sent) == 152
        assert max(places) < 100, "one account's flood delays another by a turn, not to its end"

    @pytest.mark.parametrize(
        ("limits", "seconds"),
        # Seven slots that were taken together come back together: a second after an answer, and a moment for company.
        [(FAST, 1.0), (DEFAULT_LIMITS, 1.25)],
        ids=["no limit", "seven a second for all"],
    )
    def test_a_new_write_goes_out_within_a_second_though_another_account_has_thousands(
        self, worker: MakeWorker, limits: dict[str, int], seconds: float
    ) -> None:
        here = worker(Router(), subdomain="x", rate_limits=limits)
        here.runtime.accounts = EveryAccount(here.runtime.settings)
        many = 40_000 if limits is FAST else 3000
        for part in range(many // 1000):
            put(
                here,
                1,
                lambda later, part=part: [later.leads.update(10**6 + part * 1000 + n, price=1) for n in range(1000)],
                event=f"e{part}",
            )
        arrived: dict[str, float] = {}
        slow = threading.Event()

        def answer(request: Request) -> Response:
            arrived.setdefault(request.path, time.monotonic())
            slow.wait(0.05)
            return DONE

        wire = listen(here, answer)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                flush(here.runtime)

        serving = threading.Thread(target=serve)
        serving.start()
        wait_for(lambda: len(wire.sent) > 10, what="the flood is under way")
        waits = []
        for number in range(4):
            put(here, 2, lambda later, number=number: later.leads.update(20 + number, price=1), event=f"n{number}")
            asked_at, path = time.monotonic(), f"/api/v4/leads/{20 + number}"
            waits.append(wait_for(lambda path=path: arrived.get(path), what="the other write is sent") - asked_at)
        still = here.runtime.outbox.waiting(1)
        stop.set()
        here.runtime.stopping.set()
        serving.join(15)
        assert still > 0
        assert max(waits) < seconds


class TestALongWait:
    """One slot is free, and somebody waits for the answer of a call that came for it before the flush did."""

    def held_up(self, worker: MakeWorker, *, seconds: float) -> Worker:
        """A worker with writes of an account that has waited for a slot for so long."""
        here = worker(Router(), subdomain="x", rate_limits={"integration": 1, "account": 1, "ip": 1})
        put(here, ACCOUNT, lambda later: [later.leads.update(lead, price=7) for lead in (5, 6)])
        now = [100.0]
        here.runtime.waits = Waits(clock=lambda: now[0])
        here.runtime.waits.waited_ms(ACCOUNT)
        now[0] += seconds
        limiter, scopes = here.runtime.shared.limiter, here.runtime.clients.turnstile(ACCOUNT).scopes
        slot = limiter.try_acquire(scopes, ticket="before")
        assert isinstance(slot, Slot)
        assert isinstance(self.call(here), Wait)
        # It stays in the queue for as long as this test needs it.
        here.runtime.redis.zadd(f"{TAG}:tickets", {"call": now_ms(here.runtime.redis) + 60_000})
        limiter.release(slot, used=False)
        return here

    def call(self, here: Worker) -> Slot | Alone | Wait:
        """Ask for the slot of the call."""
        turnstile = here.runtime.clients.turnstile(ACCOUNT)
        return here.runtime.shared.limiter.try_acquire(turnstile.scopes, ticket="call", head_start_ms=HEAD_START_MS)

    def waiting(self, here: Worker) -> list[int]:
        """How many wait, scope by scope."""
        runtime = here.runtime
        return [runtime.shared.brakes.state(scope).waiting for scope in runtime.clients.turnstile(ACCOUNT).scopes]

    @pytest.mark.parametrize("seconds", [15, 600])
    def test_of_more_than_ten_seconds_comes_before_a_call_that_waits_already(
        self, worker: MakeWorker, seconds: float
    ) -> None:
        here = self.held_up(worker, seconds=seconds)
        wire = listen(here, lambda _request: DONE)
        flush(here.runtime)
        assert len(wire.sent) == 1
        assert self.waiting(here) == [1, 1, 1], "the call still does"

    @pytest.mark.parametrize("seconds", [0, 9])
    def test_of_less_comes_after_it(self, worker: MakeWorker, seconds: float) -> None:
        here = self.held_up(worker, seconds=seconds)
        wire = listen(here, lambda _request: DONE)
        flushing = threading.Thread(target=flush, args=(here.runtime,))
        flushing.start()
        wait_for(lambda: self.waiting(here) == [2, 2, 2], what="the flush waits, too")
        slot = self.call(here)
        assert isinstance(slot, Slot)
        assert wire.sent == []
        here.runtime.shared.limiter.release(slot, used=False)
        wait_for(lambda: wire.sent, what="the writes go after the call")
        flushing.join(15)

    def test_is_over_with_the_slot(self, worker: MakeWorker) -> None:
        here = self.held_up(worker, seconds=15)
        listen(here, lambda _request: DONE)
        flush(here.runtime)
        assert here.runtime.waits.waited_ms(ACCOUNT) == 0


class TestTooManyRequests:
    def test_a_429_holds_up_all_calls_from_the_address_and_no_write_is_blamed(
        self, asked: Asking, box: Sandbox, lines: Lines
    ) -> None:
        lead = made(box, "leads", name="old")
        box.fault(method="PATCH", page="too_many")
        here = asked(lambda kommo: kommo.later.leads.update(lead, price=7))
        flush(here.runtime)
        flush(here.runtime)
        assert len(sent(box, "PATCH")) == 1
        scopes = here.runtime.clients.turnstile(ACCOUNT).scopes
        answer = here.runtime.shared.limiter.try_acquire(scopes, ticket="t")
        assert isinstance(answer, Alone)
        assert answer.seconds == pytest.approx(300, abs=2)
        assert lines.saying("writes wait")
        here.runtime.redis.delete(*here.runtime.redis.keys("*pause*"))
        here.pass_time("outbox")
        flush_out(here)
        assert kept(box, "leads")[0]["price"] == 7
        assert "writes_failed" not in here.stats()

    def test_a_page_that_blocks_lets_nothing_out_until_it_is_released(self, asked: Asking, box: Sandbox) -> None:
        lead = made(box, "leads", name="old")
        box.fault(method="PATCH", page="forbidden_html")
        here = asked(lambda kommo: kommo.later.leads.update(lead, price=7))
        for _ in range(3):
            flush(here.runtime)
            here.pass_time("outbox")
        assert len(box.requests()) == 1
        assert here.dead() == []
        here.runtime.shared.brakes.release("ip:default")
        flush_out(here)
        assert kept(box, "leads")[0]["price"] == 7


class TestParking:
    """A subscription that has ended, and tokens that are refused for good."""

    def parked(self, asked: Asking, box: Sandbox, number: int = 30) -> Worker:
        """A worker whose account has turned out not to be paid for, with so many writes waiting."""
        box.world.rules.subscription_ended = True
        ids = leads(box, number)
        here = asked(lambda kommo: [kommo.later.leads.update(lead, price=7) for lead in ids])
        flush(here.runtime)
        assert len(sent(box, "PATCH")) == 1
        return here

    def hour_later(self, worker: Worker) -> None:
        worker.runtime.shared.parking.try_next(ACCOUNT)
        worker.pass_time("outbox")
        flush(worker.runtime)

    def test_nothing_goes_out_but_one_write_an_hour(self, asked: Asking, box: Sandbox, lines: Lines) -> None:
        here = self.parked(asked, box)
        for _ in range(3):
            here.pass_time("outbox")
            flush(here.runtime)
        assert len(sent(box, "PATCH")) == 1
        for tries in (2, 3):
            self.hour_later(here)
            assert len(sent(box, "PATCH")) == tries
        assert [isinstance(one["json"], list) for one in sent(box, "PATCH")] == [True, False, False]
        assert here.runtime.outbox.waiting(ACCOUNT) == 30
        assert here.dead() == []
        assert len(lines.saying("account parked: its writes wait")) == 1

    def test_once_it_is_paid_the_next_try_lets_all_go(self, asked: Asking, box: Sandbox) -> None:
        here = self.parked(asked, box)
        box.world.rules.subscription_ended = False
        self.hour_later(here)
        flush_out(here)
        assert {lead["price"] for lead in kept(box, "leads")} == {7}
        assert [len(one["json"]) for one in sent(box, "PATCH")] == [30, 1, 29]

    def test_resuming_lets_all_go_at_once(self, asked: Asking, box: Sandbox) -> None:
        here = self.parked(asked, box)
        box.world.rules.subscription_ended = False
        here.runtime.shared.parking.resume(ACCOUNT)
        flush_out(here)
        assert [len(one["json"]) for one in sent(box, "PATCH")] == [30, 30]

    def test_reads_go_on_until_one_is_refused(self, asked: Asking, box: Sandbox) -> None:
        here = self.parked(asked, box)
        kommo = here.runtime.clients.client(ACCOUNT)
        lead = kept(box, "leads")[0]["id"]
        assert kommo.leads.get(lead)["id"] == lead
        box.world.rules.reads_refused = True
        for _ in range(2):
            with pytest.raises(PaymentRequired):
                kommo.leads.get(lead)
        assert len(sent(box, "GET")) == 2, "the third one was not sent"
        with pytest.raises(PaymentRequired):
            kommo.leads.update(lead, price=1)
        assert len(sent(box, "PATCH")) == 1

    def test_a_try_that_the_network_swallows_does_not_use_up_the_hour(self, asked: Asking, box: Sandbox) -> None:
        here = self.parked(asked, box)
        failures = [Unreachable("gone", method="PATCH", path="/api/v4/leads")]

        def swallow(_request: Request) -> None:
            if failures:
                raise failures.pop()

        wire = listen(here, swallow)
        box.world.rules.subscription_ended = False
        self.hour_later(here)
        here.pass_time("outbox")
        flush_out(here)
        assert wire.sent[1].path != wire.sent[0].path, "the next one tried at once"
        assert {lead["price"] for lead in kept(box, "leads")} == {7}

    def test_a_try_with_nothing_to_send_does_not_either(self, asked: Asking, box: Sandbox) -> None:
        here = self.parked(asked, box, number=1)
        assert here.runtime.outbox.take_piles(ACCOUNT, "somebody else", most=1, depth=1).piles
        here.runtime.shared.parking.try_next(ACCOUNT)
        here.runtime.redis.zadd(here.runtime.keys.queue("outbox", 0).ready, {str(ACCOUNT): 1})
        flush(here.runtime)
        here.pass_time("outbox")
        flush(here.runtime)
        assert len(sent(box, "PATCH")) == 2

    @pytest.mark.parametrize("status", [401, 402])
    def test_a_write_that_waits_for_a_person_is_never_given_up(self, asked: Asking, status: int) -> None:
        here = asked(lambda kommo: kommo.later.leads.update(5, price=7))
        wire = listen(here, lambda _request: problem(status))
        for _ in range(ATTEMPTS + 3):
            self.hour_later(here)
        assert len(wire.sent) == ATTEMPTS + 3
        assert here.dead() == []
        assert not is_empty(here)

    def test_a_token_that_is_refused_for_good_parks_for_ten_minutes(self, asked: Asking) -> None:
        here = asked(lambda kommo: kommo.later.leads.update(5, price=7))
        listen(here, lambda _request: problem(401, hint="Token has been revoked"))
        flush(here.runtime)
        parked = here.runtime.shared.parking.state(ACCOUNT)
        assert parked is not None
        assert (parked.reason, parked.reads_refused) == ("token", True)
        assert parked.seconds == pytest.approx(600, abs=2)


class TestWithoutARedis:
    def test_a_flush_ends_when_redis_goes_away_while_a_slot_is_waited_for(
        self, worker: MakeWorker, lines: Lines
    ) -> None:
        with PrivateServer(fsync="no") as server, connect(server.url) as redis:
            limits = {"integration": 1, "account": 1000, "ip": 1000}
            here = worker(Router(), redis=redis, subdomain="x", rate_limits=limits)
            listen(here, lambda _request: DONE)
            put(here, ACCOUNT, lambda later: [later.leads.update(n, price=1, _embedded={}) for n in range(1, 9)])
            killer = threading.Timer(0.3, server.kill)
            killer.start()
            flush(here.runtime)
            killer.join()
            assert lines.saying("loop ended")[0]["queue"] == "outbox"

    def test_what_was_sent_is_recorded_once_redis_is_back_and_not_sent_again(self, worker: MakeWorker) -> None:
        with PrivateServer(fsync="always") as server, connect(server.url) as redis:
            here = worker(Router(), redis=redis, subdomain="x", rate_limits=FAST)
            put(here, ACCOUNT, lambda later: [later.leads.update(n, price=1) for n in range(1, 4)])
            sent_paths: list[str] = []
            back = threading.Timer(0.4, server.start)

            def cut(request: Request) -> Response:
                sent_paths.append(request.path)
                server.kill()
                back.start()
                return DONE

            listen(here, cut)
            flush(here.runtime)
            back.join()
            here.pass_time("outbox")
            flush(here.runtime)
            assert len(sent_paths) == 1
            assert here.stats()["writes_done"] == 3
