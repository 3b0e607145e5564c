"""Running handlers: once when all goes well, again when it does not, in order, and given up with a reason."""

import logging
import threading
import time
from asyncio import CancelledError
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import structlog
from redis import Redis

from kommo.api.calls import NO_TURN
from kommo.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    NotFound,
    PaymentRequired,
    RateLimited,
    RequestError,
    ServerError,
    Unauthorized,
    Unreachable,
    named,
)
from kommo.hooks.events import Event
from kommo.router import Router
from kommo.store.connection import connect, now_ms
from kommo.store.server import PrivateServer
from kommo.verdicts import Reject, Retry
from tests.integration.workers.logs import Lines
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker, lead_updated
from workers.drain import drain
from workers.run import run

LANE = "lead:1:h"


class Death(BaseException):
    """Stands for the end of a process: nobody catches it."""


class Script:
    """A handler that does what it is told, run by run, and remembers what it was called with."""

    def __init__(self, *turns: Any) -> None:
        self.turns = list(turns)
        self.calls: list[Event] = []
        self.clients: list[Any] = []

    def __call__(self, event: Event, kommo: Any) -> None:
        self.calls.append(event)
        self.clients.append(kommo)
        turn = self.turns.pop(0) if self.turns else None
        if isinstance(turn, BaseException):
            raise turn
        if callable(turn):
            turn(kommo)

    @property
    def attempts(self) -> list[int]:
        return [event.attempt for event in self.calls]


def one_handler(script: Callable[..., object], *types: str, **options: Any) -> Router:
    router = Router()

    def handle(event: Event, kommo: Any) -> None:
        script(event, kommo)

    router.on(*(types or ("lead.*",)), handler="h", **options)(handle)
    return router


def api_error(kind: type[ApiError], after: float | None = None) -> ApiError:
    return kind("it said no", method="GET", path="/api/v4/leads/1", after=after)


def run_out(worker: Worker, times: int = 20) -> None:
    """Run until nothing is left in the lanes, letting every wait pass at once."""
    for _ in range(times):
        run(worker.runtime)
        worker.pass_time("lanes")


class TestSuccess:
    def test_a_handler_gets_the_event_and_the_accounts_client_once(self, worker: MakeWorker) -> None:
        script = Script()
        here = worker(one_handler(script))
        here.come(1)
        run_out(here)
        (event,) = script.calls
        assert (event.type, event.entity_id, event.attempt) == ("lead.added", 1, 1)
        assert event.lead is not None
        assert script.clients[0].account_id == ACCOUNT
        assert here.stats()["steps_done"] == 1
        assert here.dead() == []

    def test_nothing_is_left_of_a_delivery_whose_steps_are_done(self, worker: MakeWorker) -> None:
        here = worker(one_handler(Script()))
        here.come(1, 2)
        keys = here.runtime.keys
        assert here.runtime.redis.hlen(keys.open(ACCOUNT)) == 2
        run(here.runtime)
        assert here.runtime.redis.hlen(keys.open(ACCOUNT)) == 0
        assert here.runtime.redis.exists(keys.queue("lanes", 0).ready) == 0

    def test_every_handler_runs_and_one_that_fails_holds_back_neither_the_others_nor_other_entities(
        self, worker: MakeWorker
    ) -> None:
        bad, good = Script(*[ValueError("no")] * 3), Script()
        router = one_handler(good)
        router.on("lead.*", handler="bad")(bad)
        here = worker(router)
        here.come(1, 2)
        run(here.runtime)
        assert {event.entity_id for event in good.calls} == {event.entity_id for event in bad.calls} == {1, 2}
        assert len(good.calls) == len(bad.calls) == 2

    def test_writes_are_in_the_outbox_once_the_handler_has_succeeded_and_a_flush_is_woken(
        self, worker: MakeWorker
    ) -> None:
        here = worker(one_handler(Script(lambda kommo: kommo.later.leads.update(1, price=5))))
        here.come(1)
        run(here.runtime)
        assert here.stats()["writes"] == 1
        assert here.hints.queues == ["run", "flush"]
        (lease,) = here.runtime.outbox.take(ACCOUNT, "t").leases
        assert lease.chain == "lead:1"

    def test_a_handler_that_fails_half_way_has_asked_for_nothing(self, worker: MakeWorker) -> None:
        def half(kommo: Any) -> None:
            kommo.later.leads.update(1, price=5)
            raise ValueError("half-way")

        here = worker(one_handler(Script(half, lambda kommo: kommo.later.leads.update(1, price=6))))
        here.come(1)
        run(here.runtime)
        assert here.runtime.outbox.take(ACCOUNT, "t").leases == []
        run_out(here)
        assert [b'"price": 6' in lease.item for lease in here.runtime.outbox.take(ACCOUNT, "t").leases] == [True]


class TestAgain:
    @pytest.mark.parametrize(("after", "seconds"), [(90, 90), (timedelta(minutes=2), 120), (0.5, 0.5)])
    def test_a_retry_comes_when_it_asked_to(self, worker: MakeWorker, after: Any, seconds: float) -> None:
        here = worker(one_handler(Script(Retry(after=after))))
        here.come(1)
        run(here.runtime)
        assert here.due_in("lanes", LANE) == pytest.approx(seconds, abs=0.4)

    def test_a_retry_without_a_time_comes_soon(self, worker: MakeWorker) -> None:
        here = worker(one_handler(Script(Retry("not yet"))))
        here.come(1)
        run(here.runtime)
        assert here.due_in("lanes", LANE) == pytest.approx(1.8, abs=0.4)

    def test_retries_are_counted_in_the_event_but_use_up_no_attempts_and_are_no_errors(
        self, worker: MakeWorker, lines: Lines
    ) -> None:
        script = Script(*[Retry(after=1)] * 6)
        here = worker(one_handler(script, attempts=1))
        here.come(1)
        run_out(here)
        assert script.attempts == [1, 2, 3, 4, 5, 6, 7]
        assert here.dead() == []
        assert {line["level"] for line in lines.all} == {"info"}

    @pytest.mark.parametrize("attempts", [1, 2, 5])
    def test_a_failure_comes_again_until_its_attempts_are_used_up(
        self, worker: MakeWorker, lines: Lines, attempts: int
    ) -> None:
        script = Script(*[ValueError(f"no {number}") for number in range(9)])
        here = worker(one_handler(script, attempts=attempts))
        here.come(1)
        run_out(here)
        assert script.attempts == list(range(1, attempts + 1))
        (letter,) = here.dead()
        assert (letter.reason, letter.error, letter.attempt) == (
            "attempts_exhausted",
            f"ValueError: no {attempts - 1}",
            attempts,
        )
        assert "Traceback" in letter.traceback
        assert len(lines.saying("handler failed, again later")) == attempts - 1

    def test_a_dead_letter_holds_all_that_is_needed_to_run_the_step_again(self, worker: MakeWorker) -> None:
        here = worker(one_handler(Script(Reject("not ours"))))
        here.come(1)
        run(here.runtime)
        (letter,) = here.dead()
        assert (letter.kind, letter.handler, letter.delivery_id) == ("step", "h", f"d-{ACCOUNT}-1")
        assert letter.item["lane"] == LANE
        assert Event.from_record(letter.item["event"]).entity_id == 1

    def test_a_failure_waits_longer_each_time(self, worker: MakeWorker) -> None:
        here = worker(one_handler(Script(*[ValueError()] * 7)))
        here.come(1)
        for failures in range(1, 8):
            run(here.runtime)
            assert here.due_in("lanes", LANE) == pytest.approx(0.9 * 2**failures, abs=0.4)
            here.pass_time("lanes")


class TestGivingUp:
    def test_a_rejection_is_final_and_the_lane_goes_on(self, worker: MakeWorker, lines: Lines) -> None:
        script = Script(Reject("not ours"))
        here = worker(one_handler(script))
        here.come(1)
        here.deliver(lead_updated(1, at=5))
        drain(here.runtime)
        run(here.runtime)
        assert [event.type for event in script.calls] == ["lead.added", "lead.updated"]
        assert [(letter.reason, letter.error) for letter in here.dead()] == [("rejected", "not ours")]
        assert {line["level"] for line in lines.all} == {"info"}

    @pytest.mark.parametrize(
        "error",
        [api_error(BadRequest), api_error(Forbidden), api_error(NotFound), RequestError("names no field")],
        ids=lambda error: type(error).__name__,
    )
    def test_what_kommo_will_never_take_is_given_up_at_once(self, worker: MakeWorker, error: Exception) -> None:
        script = Script(error)
        here = worker(one_handler(script))
        here.come(1)
        run_out(here)
        assert script.attempts == [1]
        (letter,) = here.dead()
        assert letter.reason == "refused"
        assert letter.error == f"{type(error).__name__}: {error}"

    @pytest.mark.parametrize(
        "kind", [Unreachable, RateLimited, ServerError, Unauthorized, PaymentRequired], ids=lambda kind: kind.__name__
    )
    def test_what_kommo_may_take_later_is_tried_again(self, worker: MakeWorker, kind: type[ApiError]) -> None:
        script = Script(api_error(kind))
        here = worker(one_handler(script))
        here.come(1)
        run_out(here)
        assert script.attempts == [1, 2]
        assert here.dead() == []

    def test_kommos_own_time_is_waited_in_full(self, worker: MakeWorker) -> None:
        here = worker(one_handler(Script(api_error(RateLimited, after=300))))
        here.come(1)
        run(here.runtime)
        assert 299.5 <= (here.due_in("lanes", LANE) or 0) <= 301.1


@pytest.mark.parametrize("error", [SystemExit("enough"), CancelledError("enough")], ids=named)
def test_a_handler_that_leaves_with_what_is_no_exception_by_its_class_has_failed_and_the_worker_goes_on(
    worker: MakeWorker, error: BaseException
) -> None:
    script = Script(error)
    one = worker(one_handler(script, attempts=1))
    one.come(1)
    run(one.runtime)
    (letter,) = one.dead()
    assert (letter.reason, letter.error) == ("attempts_exhausted", f"{type(error).__name__}: enough")


def test_a_step_that_retries_in_vain_says_what_was_wrong_with_its_wait(worker: MakeWorker) -> None:
    def never(_: Any) -> None:
        raise Retry("later", after=float("nan"))

    one = worker(one_handler(Script(never), attempts=1))
    one.come(1)
    run(one.runtime)
    assert "Retry(after=)" in one.dead()[0].error


class TestCrashes:
    def crash(self, worker: Worker) -> None:
        """Let the process end inside the handler, and its lease run out."""
        with pytest.raises(Death):
            run(worker.runtime)
        worker.pass_time("lanes")

    def test_a_worker_that_dies_in_a_handler_is_followed_by_another_that_knows(self, worker: MakeWorker) -> None:
        script = Script(Death())
        here = worker(one_handler(script))
        here.come(1)
        self.crash(here)
        run(here.runtime)
        assert script.attempts == [1, 2]
        assert here.stats()["steps_done"] == 1

    def test_a_handler_that_kills_every_worker_is_given_up(self, worker: MakeWorker) -> None:
        script = Script(*[Death()] * 9)
        here = worker(one_handler(script, attempts=3))
        here.come(1)
        for _ in range(3):
            self.crash(here)
        run(here.runtime)
        assert script.attempts == [1, 2, 3]
        (letter,) = here.dead()
        assert (letter.reason, "3 times" in letter.error) == ("crashed", True)

    def test_crashes_use_up_no_attempts_of_a_handler_that_fails(self, worker: MakeWorker) -> None:
        script = Script(Death(), Death(), ValueError("no"), ValueError("never"))
        here = worker(one_handler(script, attempts=2))
        here.come(1)
        for _ in range(2):
            self.crash(here)
        run_out(here)
        assert script.attempts == [1, 2, 3, 4]
        assert [letter.reason for letter in here.dead()] == ["attempts_exhausted"]

    def test_one_crash_is_nobodys_last_attempt(self, worker: MakeWorker) -> None:
        script = Script(Death(), Death())
        here = worker(one_handler(script, attempts=1))
        here.come(1)
        for _ in range(2):
            self.crash(here)
        run(here.runtime)
        assert script.attempts == [1, 2, 3]
        assert here.dead() == []

    def test_a_call_that_got_no_turn_is_nobodys_failure(self, worker: MakeWorker) -> None:
        no_turn = RateLimited("no turn", method="GET", path="/api/v4/leads/1", code=NO_TURN)
        script = Script(*[no_turn] * 4)
        here = worker(one_handler(script, attempts=1))
        here.come(1)
        run_out(here)
        assert script.attempts == [1, 2, 3, 4, 5]
        assert here.dead() == []

    def test_one_whose_lease_ran_out_meanwhile_writes_nothing(self, worker: MakeWorker, lines: Lines) -> None:
        other = worker(one_handler(Script(lambda kommo: kommo.later.leads.update(1, price=2))))

        def too_slow(kommo: Any) -> None:
            kommo.later.leads.update(1, price=1)
            here.pass_time("lanes")
            run(other.runtime)

        here = worker(one_handler(Script(too_slow)))
        here.come(1)
        run(here.runtime)
        (lease,) = here.runtime.outbox.take(ACCOUNT, "t", limit=9).leases
        assert b'"price": 2' in lease.item
        assert lines.saying("step came too late, its writes are discarded")
        assert here.stats()["steps_done"] == 1

    def test_a_handler_that_runs_over_its_time_is_given_up_in_its_stead(self, worker: MakeWorker, lines: Lines) -> None:
        def linger(kommo: Any) -> None:
            kommo.later.leads.update(1, price=1)
            time.sleep(0.02)
            guard = threading.Thread(target=here.runtime.hanging.look)
            guard.start()
            guard.join()

        here = worker(one_handler(Script(linger), timeout=0.01))
        here.come(1)
        run(here.runtime)
        (line,) = lines.saying("handler failed, again later")
        assert line["error"] == "the handler ran for longer than its timeout= of 0.01 s"
        assert "in linger" in line["stack"]
        assert lines.saying("step came too late, its writes are discarded"), "what it brings afterwards"
        assert here.runtime.outbox.take(ACCOUNT, "t", limit=9).leases == []
        here.pass_time("lanes")
        (lease,) = here.runtime.lanes.take(ACCOUNT, "t").leases
        assert (lease.runs, lease.failures, lease.crashes) == (1, 1, 0)

    def test_time_that_is_over_again_and_again_ends_as_a_dead_letter_that_says_where(self, worker: MakeWorker) -> None:
        def linger(_: Any) -> None:
            time.sleep(0.02)
            here.runtime.hanging.look()

        here = worker(one_handler(Script(linger, linger), timeout=0.01, attempts=2))
        here.come(1)
        run_out(here)
        (letter,) = here.dead()
        assert (letter.reason, "timeout=" in letter.error) == ("attempts_exhausted", True)
        assert "here.runtime.hanging.look()" in letter.traceback


class TestOrder:
    def test_events_of_an_entity_wait_behind_one_that_is_tried_again(self, worker: MakeWorker) -> None:
        script = Script(ValueError(), Retry(after=60), Death())
        here = worker(one_handler(script))
        for at in range(3):
            here.deliver(lead_updated(1, at=at), id_=f"d{at}")
        drain(here.runtime)
        for _ in range(2):
            run(here.runtime)
            here.pass_time("lanes")
        with pytest.raises(Death):
            run(here.runtime)
        run(here.runtime)
        assert len(script.calls) == 3, "the crashed one's lease has not run out yet"
        here.pass_time("lanes")
        run(here.runtime)
        assert [event.delivery_id for event in script.calls] == ["d0", "d0", "d0", "d0", "d1", "d2"]

    def test_many_workers_at_once_keep_every_entitys_order_whatever_fails(self, worker: MakeWorker) -> None:
        done: dict[Any, list[str]] = {}
        failed: set[str] = set()
        lock = threading.Lock()

        def sometimes(event: Event, kommo: object) -> None:
            with lock:
                if int(event.id, 16) % 4 == 0 and event.id not in failed:
                    failed.add(event.id)
                    raise Retry(after=0)
                done.setdefault(event.entity_id, []).append(event.delivery_id)

        here = worker(one_handler(sometimes))
        for at in range(20):
            for lead in range(10):
                here.deliver(lead_updated(lead, at=at), id_=f"{at:03}-{lead}")
        drain(here.runtime)
        runners = [worker(one_handler(sometimes)) for _ in range(4)]
        threads = [threading.Thread(target=run, args=(one.runtime,)) for one in runners]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        run_out(here, times=25)
        assert done == {lead: [f"{at:03}-{lead}" for at in range(20)] for lead in range(10)}


class TestUnknownHandlers:
    def forget(self, worker: Worker, seconds: int) -> None:
        """As if the handler had last been announced so long ago."""
        last = now_ms(worker.runtime.redis) - seconds * 1000
        worker.runtime.redis.zadd("kommo:{fleet}:handlers", {"h": last})

    def test_a_step_waits_for_a_worker_that_knows_its_handler(self, worker: MakeWorker) -> None:
        script = Script()
        new, old = worker(one_handler(script)), worker(Router())
        new.come(1)
        for _ in range(3):
            run(old.runtime)
            assert 2.5 <= (new.due_in("lanes", LANE) or 0) <= 3.1
            new.pass_time("lanes")
        run(new.runtime)
        assert script.attempts == [1]

    @pytest.mark.parametrize(("seconds", "given_up"), [(3500, False), (3700, True)])
    def test_it_is_given_up_when_no_worker_has_known_it_for_an_hour(
        self, worker: MakeWorker, seconds: int, given_up: bool
    ) -> None:
        worker(one_handler(Script())).come(1)
        here = worker(Router())
        self.forget(here, seconds)
        run(here.runtime)
        assert [letter.reason for letter in here.dead()] == ["handler_gone"] * given_up

    def test_a_step_that_cannot_be_read_is_kept_and_the_lane_goes_on(self, worker: MakeWorker) -> None:
        script = Script()
        here = worker(one_handler(script))
        for at in (1, 2):
            here.deliver(lead_updated(1, at=at), id_=f"d{at}")
        drain(here.runtime)
        here.runtime.redis.hset(here.runtime.keys.chains("lanes", ACCOUNT).items, f"{LANE}|1", b'{"of": "another"}')
        run(here.runtime)
        assert [event.delivery_id for event in script.calls] == ["d2"]
        assert [(letter.reason, letter.body) for letter in here.dead()] == [("unreadable", b'{"of": "another"}')]


def test_every_line_of_a_handler_says_what_it_is_about(worker: MakeWorker, lines: Lines) -> None:
    def speak(_kommo: Any) -> None:
        structlog.get_logger("shop").info("said by structlog")
        logging.getLogger("shop").warning("said by logging")

    script = Script(ValueError(), speak)
    here = worker(one_handler(script))
    here.come(1)
    run_out(here)
    for said in ("said by structlog", "said by logging", "handled"):
        (line,) = lines.saying(said)
        about = {name: line[name] for name in ("delivery", "account", "event", "type", "handler", "attempt")}
        assert about == {
            "delivery": f"d-{ACCOUNT}-1",
            "account": ACCOUNT,
            "event": script.calls[0].id,
            "type": "lead.added",
            "handler": "h",
            "attempt": 2,
        }


def test_an_outcome_waits_for_a_redis_that_went_away_and_the_handler_does_not_run_twice(worker: MakeWorker) -> None:
    with PrivateServer(fsync="always") as server, connect(server.url) as redis:
        back = threading.Timer(0.4, server.start)

        def cut(kommo: Any) -> None:
            kommo.later.leads.update(1, price=1)
            server.kill()
            back.start()

        script = Script(cut)
        here = worker(one_handler(script), redis=redis)
        here.come(1)
        run(here.runtime)
        back.join()
        here.pass_time("lanes")
        run(here.runtime)
        assert script.attempts == [1]
        assert (here.stats()["steps_done"], here.stats()["writes"]) == (1, 1)


def test_a_process_that_stops_begins_no_further_step(worker: MakeWorker) -> None:
    here: Worker

    def stop(_kommo: object) -> None:
        here.runtime.stopping.set()

    script = Script(stop)
    here = worker(one_handler(script))
    here.come(1, 2, 3)
    run(here.runtime)
    assert len(script.calls) == 1
    run(worker(one_handler(script)).runtime)
    assert len(script.calls) == 3


def test_accounts_take_turns(worker: MakeWorker, redis: Redis) -> None:
    served: list[int] = []

    def slow(event: Event, kommo: object) -> None:
        served.append(event.account_id)
        threading.Event().wait(0.03)

    here = worker(one_handler(slow))
    here.come(*range(1, 12), account=ACCOUNT)
    here.come(1, account=ACCOUNT + 1)
    run(here.runtime)
    assert len(served) == 12
    assert served.index(ACCOUNT + 1) < 6, "one account's flood delays no other by more than a turn"
    assert redis.exists(here.runtime.keys.queue("lanes", 0).ready) == 0
