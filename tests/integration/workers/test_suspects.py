"""Steps whose process ended while others ran in it: who did it is found out one by one, and nobody else pays."""

import threading
import time
from contextlib import ExitStack
from functools import partial

import pytest

from kommo.errors import StoreUnavailable
from kommo.hooks.events import Event
from kommo.store.chains import Lease
from tests.integration.workers.logs import Lines
from tests.integration.workers.test_run import Death, Script, one_handler
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker
from tests.waiting import wait_for
from workers import patience, suspects
from workers import run as run_module
from workers.loop import Loop, serve_accounts
from workers.run import run
from workers.solitude import Claim, Solitude
from workers.suspects import run_apart


def left_by_the_dead(worker: Worker, *leads: int) -> None:
    """Lease steps as a process did that was killed, and let the leases end."""
    worker.come(*leads)
    worker.runtime.lanes.take(ACCOUNT, "dead-process", limit=len(leads))
    worker.pass_time("lanes")


def crashes_of(worker: Worker) -> dict[int, tuple[int, int]]:
    """Take what is due, as a look at what was counted."""
    worker.pass_time("lanes")
    taken = worker.runtime.lanes.take(ACCOUNT, "look", limit=99).leases
    worker.runtime.lanes.give_back(taken)
    return {int(lease.chain.split(":")[1]): (lease.crashes, lease.alone) for lease in taken}


def test_each_of_them_runs_alone_and_is_done(worker: MakeWorker) -> None:
    together: list[bool] = []

    def handle(event: Event, kommo: object) -> None:
        together.append(here.runtime.solitude.is_open())

    here = worker(one_handler(handle))
    left_by_the_dead(here, 1, 2, 3)
    here.come(4)
    run(here.runtime)
    assert sorted(together) == [False, False, False, True]
    assert here.stats()["steps_done"] == 4


def test_a_step_that_was_never_alone_is_never_given_up(worker: MakeWorker) -> None:
    script = Script()
    here = worker(one_handler(script, attempts=1))
    left_by_the_dead(here, 1)
    for number in range(9):
        here.runtime.lanes.take(ACCOUNT, f"dead-{number}")
        here.pass_time("lanes")
    run(here.runtime)
    assert script.attempts == [11]
    assert here.dead() == []


def test_only_what_ends_a_process_that_does_nothing_else_counts_against_a_step(worker: MakeWorker) -> None:
    script = Script(Death())
    here = worker(one_handler(script))
    left_by_the_dead(here, 1)
    with pytest.raises(Death):
        run(here.runtime)
    assert crashes_of(here) == {1: (2, 1)}


def test_a_second_suspect_is_left_for_later_and_not_counted(worker: MakeWorker) -> None:
    def meanwhile(_: object) -> None:
        (lease,) = here.runtime.lanes.take(ACCOUNT, "second").leases
        run_apart(here.runtime, lease, second.append)

    second: list[Lease] = []
    here = worker(one_handler(Script(meanwhile)))
    left_by_the_dead(here, 1, 2)
    run(here.runtime)
    assert second == []
    assert crashes_of(here) == {2: (1, 0)}


def test_a_suspect_whose_neighbours_do_not_end_in_time_runs_with_them_and_without_a_mark(
    worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "APART_SECONDS", 0.05)
    here = worker(one_handler(Script(Death())))
    left_by_the_dead(here, 1)
    let_go = threading.Event()

    def neighbour() -> None:
        with here.runtime.solitude.together(within=0):
            let_go.wait(10)

    thread = threading.Thread(target=neighbour)
    thread.start()
    with pytest.raises(Death):
        run(here.runtime)
    let_go.set()
    thread.join()
    assert crashes_of(here) == {1: (2, 0)}


def test_a_slow_suspect_does_not_hold_up_the_others_for_ever_and_loses_its_mark_before_they_come(
    worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "APART_SECONDS", 0.05)

    def slow(_: object) -> None:
        assert not here.runtime.solitude.is_open()
        wait_for(here.runtime.solitude.is_open, what="the others are let in")
        raise Death

    here = worker(one_handler(Script(slow)))
    left_by_the_dead(here, 1)
    with pytest.raises(Death):
        run(here.runtime)
    assert crashes_of(here) == {1: (2, 0)}


def test_a_suspect_that_hangs_while_redis_is_away_does_not_keep_the_process_closed(
    worker: MakeWorker, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    monkeypatch.setattr(suspects, "APART_SECONDS", 0.05)
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.2)

    def hang(_: object) -> None:
        wait_for(here.runtime.solitude.is_open, what="the others are let in")
        let_in.append(1)

    let_in: list[int] = []
    here = worker(one_handler(Script(hang)))
    left_by_the_dead(here, 1)
    mark = here.runtime.lanes.mark

    def away(lease: Lease, *, alone: bool) -> bool:
        if not alone:
            raise StoreUnavailable("away")
        return mark(lease, alone=alone)

    monkeypatch.setattr(here.runtime.lanes, "mark", away)
    run(here.runtime)
    assert let_in == [1]
    assert lines.saying("a step is no longer alone, and still marked so")


def test_nobody_gets_in_between_when_a_suspect_stops_waiting_and_runs_in_company(
    worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "APART_SECONDS", 0.05)
    alone: list[bool] = []

    def handle(_: object) -> None:
        let_go.set()
        thread.join()
        (rival,) = rivals
        assert rival is not None
        alone.append(rival.alone_within(0, unless=lambda: False))

    here = worker(one_handler(Script(handle)))
    left_by_the_dead(here, 1)
    let_go, end, claims = threading.Event(), Solitude.end, ExitStack()
    rivals: list[Claim | None] = []

    def end_and_be_overtaken(solitude: Solitude, claim: Claim) -> None:
        end(solitude, claim)
        monkeypatch.setattr(Solitude, "end", end)
        rivals.append(claims.enter_context(solitude.claiming()))

    def neighbour() -> None:
        with here.runtime.solitude.together(within=0):
            let_go.wait(10)

    thread = threading.Thread(target=neighbour)
    thread.start()
    wait_for(lambda: here.runtime.solitude._inside, what="the neighbour runs")
    monkeypatch.setattr(Solitude, "end", end_and_be_overtaken)
    run(here.runtime)
    claims.close()
    assert alone == [False]


def test_after_one_suspect_it_is_the_others_turn_and_the_next_suspect_is_not_counted(worker: MakeWorker) -> None:
    script = Script()
    here = worker(one_handler(script))
    left_by_the_dead(here, 1)
    here.come(2)
    with here.runtime.solitude.claiming():
        time.sleep(0.5)  # the suspect before it
    run(here.runtime)
    assert [event.entity_id for event in script.calls] == [2]
    assert crashes_of(here) == {1: (1, 0)}
    wait_for(lambda: run_again(here) == 2, what="its turn comes")
    assert [event.entity_id for event in script.calls] == [2, 1]


def run_again(worker: Worker) -> int:
    """Run what had to wait, and say how many steps are done."""
    worker.pass_time("lanes")
    run(worker.runtime)
    return worker.stats()["steps_done"]


def test_who_comes_back_late_and_alive_is_forgiven(worker: MakeWorker, lines: Lines) -> None:
    def thief(_: object) -> None:
        here.pass_time("lanes")
        (stolen,) = here.runtime.lanes.take(ACCOUNT, "thief").leases
        assert (stolen.crashes, stolen.alone) == (2, 1)

    here = worker(one_handler(Script(thief)))
    left_by_the_dead(here, 1)
    run(here.runtime)
    assert lines.saying("step came too late, its writes are discarded")
    assert crashes_of(here) == {1: (3, 0)}, "the thief's own lease ended in company, and no one was alone"


def test_others_leave_their_work_to_other_processes_while_a_suspect_is_kept_apart(
    worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_DOOR_SECONDS", 0.01)
    script = Script()
    here = worker(one_handler(script))
    here.come(1)
    with here.runtime.solitude.claiming():
        serve_accounts(here.runtime, Loop("lanes", partial(run_module._run_account, here.runtime)), budget=0.1)
    assert script.calls == []
    assert crashes_of(here) == {1: (0, 0)}


@pytest.mark.parametrize(
    ("crashes", "alone", "seconds"), [(1, 0, 5), (2, 0, 10), (3, 0, 20), (2, 1, 5), (3, 1, 10), (99, 0, 640)]
)
def test_it_is_kept_apart_for_longer_with_each_crash_in_company(crashes: int, alone: int, seconds: float) -> None:
    lease = Lease(1, "c", "t", 1, 0, 0, crashes, b"", alone)
    assert suspects.apart_seconds(lease) == seconds
