"""What keeps the fleet going: loops that rest and wake each other, the sweeper, the keeper, the chores."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.hooks.events import Event
from kommo.router import Router
from kommo.store.chains import LEASE_MS, Chains, Lease
from kommo.store.connection import connect
from kommo.store.connection import now_ms as redis_now_ms
from kommo.store.fleet import Fleet
from kommo.store.keys import Keys
from kommo.store.server import PrivateServer
from tests.integration.workers.logs import Lines
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker, lead_added
from tests.waiting import wait_for
from workers import keeper as keeper_module
from workers import sweeper as sweeper_module
from workers.chores import trim_inboxes
from workers.drain import drain
from workers.keeper import Keeper
from workers.loop import Loop, serve_accounts
from workers.run import run
from workers.sweeper import Sweeper


def router_of(name: str = "h") -> Router:
    router = Router()

    @router.on("*", handler=name)
    def handle(event: Event, kommo: object) -> None: ...

    return router


def ready(worker: Worker, queue: str, *accounts: int) -> None:
    """Make accounts due on a queue."""
    worker.runtime.redis.zadd(worker.runtime.keys.queue(queue, 0).ready, {str(account): 1 for account in accounts})


def noting(served: list[int]) -> Callable[[int, int], None]:
    return lambda account, _more: served.append(account)


class TestLoops:
    def test_accounts_are_served_until_none_is_due(self, worker: MakeWorker) -> None:
        here, served = worker(), list[int]()
        ready(here, "lanes", 1, 2, 3)

        def serve(account: int, _more: int) -> None:
            served.append(account)
            here.runtime.redis.zrem(here.runtime.keys.queue("lanes", 0).ready, str(account))

        serve_accounts(here.runtime, Loop("lanes", serve))
        assert sorted(served) == [1, 2, 3]

    def test_the_account_that_has_waited_longest_comes_first_and_nobody_twice_before_all(
        self, worker: MakeWorker
    ) -> None:
        here, served = worker(), list[int]()
        ready(here, "lanes", 1, 2, 3)

        def serve(account: int, _more: int) -> None:
            served.append(account)
            if len(served) == 9:
                here.runtime.stopping.set()

        serve_accounts(here.runtime, Loop("lanes", serve))
        assert [sorted(served[turn : turn + 3]) for turn in (0, 3, 6)] == [[1, 2, 3]] * 3

    def test_a_loop_gives_its_thread_back_after_its_budget_and_asks_for_another(self, worker: MakeWorker) -> None:
        here, served = worker(), list[int]()
        ready(here, "lanes", 1)
        serve_accounts(here.runtime, Loop("lanes", noting(served)), budget=0.05)
        assert served
        assert here.hints.queues == ["run"]

    def test_one_more_than_the_process_may_run_returns_at_once(self, worker: MakeWorker) -> None:
        here, served = worker(threads=1), list[int]()
        ready(here, "lanes", 1)

        def serve(account: int, _more: int) -> None:
            served.append(account)
            serve_accounts(here.runtime, Loop("lanes", noting(served)))
            here.runtime.stopping.set()

        serve_accounts(here.runtime, Loop("lanes", serve))
        assert served == [1]

    def test_a_stopping_process_serves_nobody(self, worker: MakeWorker) -> None:
        here, served = worker(), list[int]()
        ready(here, "lanes", 1)
        here.runtime.stopping.set()
        serve_accounts(here.runtime, Loop("lanes", noting(served)))
        assert served == []

    @pytest.mark.parametrize(("loops", "hints"), [(1, []), (2, ["run"])])
    def test_a_sibling_is_woken_for_more_accounts_and_only_up_to_what_the_fleet_may_run(
        self, worker: MakeWorker, loops: int, hints: list[str]
    ) -> None:
        here = worker()
        here.runtime.fleet.announce("p", {"lanes": loops}, [], sweep_ms=1)
        ready(here, "lanes", 1, 2)
        serve_accounts(here.runtime, Loop("lanes", lambda _account, _more: here.runtime.stopping.set()))
        assert here.hints.queues == hints

    def test_nothing_due_is_asked_about_as_long_as_something_may_come(self, worker: MakeWorker) -> None:
        here, served = worker(), list[int]()
        answers = iter([True, True, False])

        def linger(_due_in_ms: int | None) -> bool:
            again = next(answers)
            if again:
                ready(here, "outbox", 7)
            return again

        def serve(account: int, _more: int) -> None:
            served.append(account)
            here.runtime.redis.zrem(here.runtime.keys.queue("outbox", 0).ready, str(account))

        serve_accounts(here.runtime, Loop("outbox", serve, linger=linger))
        assert served == [7, 7]

    def test_who_serves_is_told_how_many_others_wait(self, worker: MakeWorker) -> None:
        here, told = worker(), list[int]()
        ready(here, "lanes", 1, 2)

        def serve(_: int, more: int) -> None:
            told.append(more)
            here.runtime.stopping.set()

        serve_accounts(here.runtime, Loop("lanes", serve))
        assert told == [1]

    def test_an_error_of_ours_comes_through_and_frees_the_place(self, worker: MakeWorker) -> None:
        here = worker(threads=1)
        ready(here, "lanes", 1)

        def faulty(_account: int, _more: int) -> None:
            raise ZeroDivisionError

        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                serve_accounts(here.runtime, Loop("lanes", faulty))

    def test_redis_being_away_ends_it_with_a_line(self, worker: MakeWorker, lines: Lines) -> None:
        here = worker()
        ready(here, "lanes", 1)

        def away(_account: int, _more: int) -> None:
            raise StoreUnavailable("Redis cannot do it now: gone")

        serve_accounts(here.runtime, Loop("lanes", away))
        assert lines.saying("loop ended")[0]["queue"] == "lanes"


class TestSweeper:
    def late(self, worker: Worker, queue: str, ms: int, now: int) -> None:
        worker.runtime.redis.zadd(worker.runtime.keys.queue(queue, 0).ready, {"5": now - ms})

    @pytest.mark.parametrize(("queue", "hint"), [("inbox", "drain"), ("lanes", "run"), ("outbox", "flush")])
    def test_a_loop_is_woken_for_what_is_late(
        self, worker: MakeWorker, now_ms: Callable[[], int], queue: str, hint: str
    ) -> None:
        here = worker()
        self.late(here, queue, 500, now_ms())
        Sweeper(here.runtime).sweep()
        assert here.hints.queues == [hint]

    @pytest.mark.parametrize("ms", [0, 100, -60_000])
    def test_what_is_due_since_just_now_or_later_has_a_hint_under_way(
        self, worker: MakeWorker, now_ms: Callable[[], int], ms: int
    ) -> None:
        here = worker()
        self.late(here, "lanes", ms, now_ms())
        Sweeper(here.runtime).sweep()
        assert here.hints.queues == []

    @pytest.mark.parametrize(("ms", "served"), [(500, []), (4_000, ["run"])])
    def test_what_is_so_late_that_hints_seem_not_to_arrive_is_served_here(
        self, worker: MakeWorker, now_ms: Callable[[], int], ms: int, served: list[str]
    ) -> None:
        here, tasks = worker(), list[str]()
        self.late(here, "lanes", ms, now_ms())
        Sweeper(here.runtime, tasks.append).sweep()
        assert tasks == served
        assert here.hints.queues == ["run"], "a hint goes out all the same"

    def test_one_process_a_second_sweeps_for_all(self, worker: MakeWorker, now_ms: Callable[[], int]) -> None:
        fleet = [worker() for _ in range(4)]
        self.late(fleet[0], "lanes", 500, now_ms())
        for here in fleet:
            Sweeper(here.runtime).sweep()
        assert sum(len(here.hints.queues) for here in fleet) == 1
        fleet[0].runtime.redis.delete("kommo:{fleet}:sweeper")
        Sweeper(fleet[3].runtime).sweep()
        assert sum(len(here.hints.queues) for here in fleet) == 2

    def test_every_process_says_that_it_lives_what_it_can_do_and_what_it_knows(self, worker: MakeWorker) -> None:
        one, other = worker(router_of("known"), threads=16), worker(threads=4)
        for here in (one, other):
            Sweeper(here.runtime).sweep()
        assert one.runtime.fleet.size() == 2
        assert one.runtime.fleet_capacity("lanes") == 14
        unseen = one.runtime.fleet.handler_unseen_ms("known")
        assert unseen is not None
        assert unseen < 5000

    def test_what_a_lost_hint_left_lying_is_done_after_a_sweep(self, worker: MakeWorker) -> None:
        here = worker(router_of())
        here.deliver(lead_added(1))
        loops: dict[str, Callable[[Any], None]] = {"drain": drain, "run": run}

        def sweep() -> bool:
            here.runtime.redis.delete("kommo:{fleet}:sweeper")
            here.hints.queues.clear()
            Sweeper(here.runtime).sweep()
            for hint in here.hints.queues:
                loops[hint](here.runtime)
            return here.stats().get("steps_done") == 1

        wait_for(sweep, seconds=5, what="the step is done")

    def test_the_thread_goes_on_over_an_absence_of_redis_and_ends_with_the_process(
        self, worker: MakeWorker, lines: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sweeper_module, "EVERY_SECONDS", 0.02)
        with PrivateServer(fsync="no") as server, connect(server.url) as redis:
            here = worker(redis=redis)
            Sweeper(here.runtime).start()
            wait_for(lambda: redis.zcard("kommo:{fleet}:processes"), what="announced")
            server.kill()
            wait_for(lambda: lines.saying("sweep skipped"), what="noticed the absence")
            server.start()
            redis.delete("kommo:{fleet}:processes")
            wait_for(lambda: redis.zcard("kommo:{fleet}:processes"), what="announced again")
            here.runtime.stopping.set()
            wait_for(lambda: not running("sweeper"), what="ended")

    def test_a_fault_does_not_end_it(
        self, worker: MakeWorker, lines: Lines, monkeypatch: pytest.MonkeyPatch, redis: Redis
    ) -> None:
        monkeypatch.setattr(sweeper_module, "EVERY_SECONDS", 0.02)
        redis.set("kommo:{fleet}:processes", "what no sorted set can be")
        here = worker()
        Sweeper(here.runtime).start()
        wait_for(lambda: lines.saying("sweep failed"), what="failed")
        redis.delete("kommo:{fleet}:processes")
        wait_for(lambda: redis.zcard("kommo:{fleet}:processes"), what="announced")
        here.runtime.stopping.set()
        wait_for(lambda: not running("sweeper"), what="ended")

    def test_a_worker_with_another_number_of_shards_is_ended(
        self, worker: MakeWorker, redis: Redis, lines: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended: list[tuple[int, int]] = []
        monkeypatch.setattr(os, "kill", lambda pid, how: ended.append((pid, how)))
        Fleet(redis).check_shards(4)
        sweeper = Sweeper(worker().runtime)
        sweeper.sweep()
        sweeper.sweep()
        assert ended == [(os.getpid(), signal.SIGTERM)]
        assert "KOMMO_SHARDS" in lines.saying("this worker ends")[0]["error"]


def running(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())


class TestKeeper:
    @pytest.fixture
    def keeper(self, monkeypatch: pytest.MonkeyPatch, redis_server: PrivateServer) -> Iterator[Keeper]:
        """One that renews every 20 ms."""
        monkeypatch.setattr(keeper_module, "_EVERY", 0.02)
        keeper = Keeper(redis_server.url, Keys())
        yield keeper
        keeper.stop()

    @pytest.fixture
    def held(self, worker: MakeWorker) -> tuple[Worker, Lease]:
        here = worker(router_of())
        here.come(1)
        (lease,) = here.runtime.lanes.take(ACCOUNT, "t1").leases
        return here, lease

    def shorten(self, worker: Worker, ms: int) -> None:
        """Let the lease end so soon."""
        runtime = worker.runtime
        due = redis_now_ms(runtime.redis) + ms
        runtime.redis.zadd(runtime.keys.chains("lanes", ACCOUNT).due, {"lead:1:h": due})

    def left(self, worker: Worker) -> float:
        return worker.due_in("lanes", "lead:1:h") or 0

    def test_a_lease_lasts_as_long_as_its_work(self, keeper: Keeper, held: tuple[Worker, Lease]) -> None:
        here, lease = held
        with keeper.holding(here.runtime.lanes, lease, seconds=60):
            for _ in range(3):
                self.shorten(here, 1000)
                wait_for(lambda: self.left(here) > LEASE_MS / 1000 - 1, seconds=2, what="renewed")
        self.shorten(here, 1000)
        time.sleep(0.1)
        assert self.left(here) < 1, "afterwards it is not renewed any more"

    def test_it_is_given_up_when_the_work_takes_longer_than_it_may(
        self, keeper: Keeper, held: tuple[Worker, Lease], lines: Lines
    ) -> None:
        here, lease = held
        with keeper.holding(here.runtime.lanes, lease, seconds=0):
            wait_for(lambda: lines.saying("lease given up: its work takes longer than it may"), what="given up")
            here.pass_time("lanes")
            (next_lease,) = here.runtime.lanes.take(ACCOUNT, "t2").leases
        assert next_lease.crashes == 1

    def test_steps_under_way_are_handed_back_due_at_once_and_uncounted_and_renewed_no_more(
        self, keeper: Keeper, held: tuple[Worker, Lease]
    ) -> None:
        here, lease = held
        with keeper.holding(here.runtime.lanes, lease, seconds=60):
            assert keeper.give_back() == 1
            (again,) = here.runtime.lanes.take(ACCOUNT, "t2").leases
            assert (again.runs, again.failures, again.crashes) == (0, 0, 0)
            assert keeper.give_back() == 0

    def test_writes_under_way_are_not_handed_back_because_they_may_have_been_sent(
        self, keeper: Keeper, worker: MakeWorker
    ) -> None:
        here = worker()
        lease = Lease(ACCOUNT, "lead:1", "t", 1, 0, 0, 0, b"")
        with keeper.holding(here.runtime.outbox, lease, seconds=60):
            assert keeper.give_back() == 0

    def test_a_lease_that_was_lost_is_told_once(self, keeper: Keeper, held: tuple[Worker, Lease], lines: Lines) -> None:
        here, lease = held
        here.pass_time("lanes")
        here.runtime.lanes.take(ACCOUNT, "thief")
        with keeper.holding(here.runtime.lanes, lease, seconds=60):
            (line,) = wait_for(lambda: lines.saying("lease lost: its work will be discarded"), what="told")
            assert (line["account"], line["chain"]) == (ACCOUNT, "lead:1:h")
            time.sleep(0.1)
            assert len(lines.all) == 1

    @pytest.mark.parametrize("fault", ["away", "a fault"])
    def test_it_goes_on_over_absences_and_faults(
        self,
        keeper: Keeper,
        held: tuple[Worker, Lease],
        lines: Lines,
        fault: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        here, lease = held
        renew = Chains.renew
        failures = [StoreUnavailable("gone") if fault == "away" else ZeroDivisionError()]

        def fails_once(self: Chains, leases: Any) -> Any:
            if failures:
                raise failures.pop()
            return renew(self, leases)

        # A fault cannot be ordered from Redis.
        monkeypatch.setattr(Chains, "renew", fails_once)
        self.shorten(here, 1000)
        with keeper.holding(here.runtime.lanes, lease, seconds=60):
            wait_for(lambda: lines.saying("leases not renewed"), what="noticed")
            wait_for(lambda: self.left(here) > LEASE_MS / 1000 - 1, seconds=2, what="renewed")

    def test_stopping_ends_the_thread(self, keeper: Keeper) -> None:
        keeper.stop()
        assert not keeper._thread.is_alive()


class TestChores:
    def handled(self, worker: Worker, *leads: int) -> None:
        worker.come(*leads)
        run(worker.runtime)

    def stored(self, worker: Worker) -> list[str]:
        return [entry.delivery.id for entry in worker.runtime.inbox.read(ACCOUNT, after="0-0", limit=5000)]

    def test_handled_deliveries_are_dropped_when_they_are_too_old(self, worker: MakeWorker, lines: Lines) -> None:
        here = worker(router_of(), retention=0)
        self.handled(here, 1, 2, 3)

        def trimmed() -> bool:
            # Once the millisecond in which the last one came is over.
            trim_inboxes(here.runtime)
            return self.stored(here) == []

        wait_for(trimmed, seconds=2, what="all are dropped")
        assert lines.saying("handled deliveries dropped")

    def test_and_when_they_are_too_many_the_oldest_first(self, worker: MakeWorker) -> None:
        here = worker(router_of(), retention_bytes=2 * len(lead_added(1)))
        self.handled(here, 1, 2, 3, 4, 5)
        assert trim_inboxes(here.runtime) == 3
        assert self.stored(here) == [f"d-{ACCOUNT}-4", f"d-{ACCOUNT}-5"]

    def test_otherwise_nothing_is_dropped(self, worker: MakeWorker, lines: Lines) -> None:
        here = worker(router_of())
        self.handled(here, 1, 2)
        assert trim_inboxes(here.runtime) == 0
        assert len(self.stored(here)) == 2
        assert lines.saying("handled deliveries dropped") == []

    def test_what_is_not_handled_is_never_dropped(self, worker: MakeWorker) -> None:
        here = worker(router_of(), retention=0, retention_bytes=0)
        self.handled(here, 1)
        here.come(2)
        here.deliver(lead_added(3), id_="not drained")
        trim_inboxes(here.runtime)
        assert self.stored(here) == [f"d-{ACCOUNT}-2", "not drained"]

    def test_more_than_one_portion_goes_in_one_go_and_all_accounts_are_looked_at(self, worker: MakeWorker) -> None:
        here = worker(Router(), retention_bytes=0)
        for number in range(1200):
            here.deliver(lead_added(number), id_=f"d{number}")
        here.deliver(lead_added(1), account=ACCOUNT + 1)
        drain(here.runtime)
        assert trim_inboxes(here.runtime) == 1201
