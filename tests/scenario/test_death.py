"""Deaths at the worst moment: nothing is lost, and what kills is parked while its neighbours are not."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kommo.store.dead import DeadLetter
from kommo.store.keys import Keys
from tests import buried
from tests.scenario.fleet import ACCOUNT, Program
from tests.waiting import wait_for

pytestmark = pytest.mark.scenario

HANDLERS = "tests.scenario.dying"
WORKER = ("celery", "-A", "workers.app", "worker")
PREFORK = ("-P", "prefork", "-c", "3")


@contextmanager
def program(**environ: str) -> Iterator[Program]:
    with Program(**{"KOMMO_HANDLERS": HANDLERS, **environ}) as started:
        started.web()
        yield started


def added(lead: int, name: str) -> str:
    return (
        f"leads[add][0][id]={lead}&leads[add][0][name]={name.replace(' ', '+')}&leads[add][0][last_modified]=1700000000"
    )


def restored(lead: int) -> str:
    return f"leads[restore][0][id]={lead}&leads[restore][0][last_modified]=1700000000"


def updated(lead: int, number: int) -> str:
    return f"leads[update][0][id]={lead}&leads[update][0][price]={number}&leads[update][0][last_modified]=1700000000"


def letters(here: Program) -> list[DeadLetter]:
    return buried.letters(here.redis, Keys(), ACCOUNT)


class Supervisor:
    """Starts a worker again whenever it ends, as systemd would, until the block is left."""

    def __init__(self, here: Program, name: str, *options: str) -> None:
        self.here, self.name, self.options = here, name, options
        self.codes: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Supervisor":
        self.here.worker(self.name, *self.options)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._over.wait(0.1):
            code = self.here.processes[self.name].poll()
            if code is not None:
                self.codes.append(code)
                self.here.start(self.name, *WORKER, *self.options, "-n", self.name)


@pytest.mark.parametrize("deed", ["exit", "segfault", "kill"])
def test_a_poisonous_event_is_parked_after_three_deaths_and_its_neighbours_are_handled(deed: str) -> None:
    with program() as here:
        neighbours = [f"sleep 1.{lead}" for lead in range(6)]
        with Supervisor(here, "one", "-P", "threads") as supervisor:
            for lead, name in enumerate([*neighbours, deed], start=1):
                assert here.post(added(lead, name)) == 200
            wait_for(here.settled, seconds=90, what=here.log("one"))
        assert len(supervisor.codes) == 3
        (letter,) = letters(here)
        assert (letter.reason, letter.item["lane"]) == ("crashed", f"lead:7:{HANDLERS}.act")
        assert here.ran("began").count(deed) == 3
        assert sorted(set(here.ran("ended"))) == neighbours
        assert max(here.ran("began").count(name) for name in neighbours) <= 2, "once with the poison, once after it"


def test_a_poisonous_event_costs_a_prefork_worker_its_children_only() -> None:
    with program() as here:
        worker = here.worker("one", *PREFORK)
        for lead, name in enumerate(["sleep 1.1", "sleep 1.2", "exit", "sleep 0.1"], start=1):
            assert here.post(added(lead, name)) == 200
        wait_for(here.settled, seconds=60, what=here.log("one"))
        assert worker.poll() is None
        assert [letter.reason for letter in letters(here)] == ["crashed"]
        assert here.ran("began").count("exit") == 3
        assert sorted(set(here.ran("ended"))) == ["sleep 0.1", "sleep 1.1", "sleep 1.2"]


def test_children_do_not_outlive_their_parent_and_another_worker_goes_on() -> None:
    with program() as here:
        here.worker("one", *PREFORK)
        assert here.post(added(1, "sleep 30")) == 200
        (child,) = wait_for(lambda: here.ran("pids"), what=here.log("one"))
        here.kill("one")
        wait_for(lambda: not alive(int(child)), seconds=5, what="the child is gone")
        assert here.post(added(2, "sleep 0")) == 200
        here.worker("two", *PREFORK)
        wait_for(lambda: here.ran("ended") == ["sleep 0"], seconds=20, what=here.log("two"))
        wait_for(lambda: here.ran("began").count("sleep 30") == 2, seconds=20, what="the step runs again")


def test_a_child_killed_within_a_handler_is_made_good() -> None:
    with program() as here:
        here.worker("one", *PREFORK)
        assert here.post(added(1, "sleep 2")) == 200
        wait_for(lambda: here.ran("attempts"), what=here.log("one"))
        (child,) = here.ran("pids")
        os.kill(int(child), signal.SIGKILL)
        wait_for(here.settled, seconds=30, what=here.log("one"))
        assert here.ran("attempts") == ["sleep 2 1", "sleep 2 2"]
        assert here.ran("ended") == ["sleep 2"]


def test_without_beat_nothing_but_chores_stops() -> None:
    with program() as here:
        here.worker("one")
        here.start("beat", "celery", "-A", "workers.app", "beat")
        assert here.post(updated(1, 1)) == 200
        wait_for(lambda: here.ran("lead:1") == ["1"], what=here.log("one"))
        here.kill("beat")
        assert here.post(updated(1, 2)) == 200
        wait_for(lambda: here.ran("lead:1") == ["1", "2"], what=here.log("one"))


@pytest.mark.parametrize("options", [("-P", "threads"), PREFORK], ids=["threads", "prefork"])
def test_a_worker_is_gone_ten_seconds_after_sigterm_and_hands_a_slow_step_back_uncounted(
    options: tuple[str, ...],
) -> None:
    with program() as here:
        here.worker("one", *options)
        assert here.post(added(1, "sleep 25")) == 200
        wait_for(lambda: here.ran("began"), what=here.log("one"))
        here.worker("two")
        began = time.monotonic()
        assert here.terminate("one", seconds=10) == 0, here.log("one")
        assert time.monotonic() - began > 7, "it had time to come to its end"
        wait_for(lambda: len(here.ran("attempts")) == 2, seconds=3, what=here.log("two"))
        assert here.ran("attempts") == ["sleep 25 1"] * 2


@pytest.mark.parametrize("options", [("-P", "threads"), PREFORK], ids=["threads", "prefork"])
def test_a_quick_step_is_finished_before_a_worker_leaves(options: tuple[str, ...]) -> None:
    with program() as here:
        here.worker("one", *options)
        assert here.post(added(1, "sleep 2")) == 200
        wait_for(lambda: here.ran("began"), what=here.log("one"))
        assert here.terminate("one", seconds=6) == 0, here.log("one")
        assert here.ran("ended") == ["sleep 2"]
        assert here.settled()


@pytest.mark.parametrize("options", [("-P", "threads"), PREFORK], ids=["threads", "prefork"])
def test_a_worker_leaves_in_time_while_redis_is_away(options: tuple[str, ...]) -> None:
    with program() as here:
        here.worker("one", *options)
        assert here.post(added(1, "sleep 1")) == 200
        wait_for(lambda: here.ran("began"), what=here.log("one"))
        here.redis_server.kill()
        here.terminate("one", seconds=10)
        here.redis_server.start()


@pytest.mark.parametrize(
    ("options", "bodies"),
    [
        # All over their time while Redis hangs, so that each has to be given up; and more than half, so that it ends.
        (("-P", "threads"), [restored(lead) for lead in range(1, 14)]),
        (PREFORK, [added(lead, "sleep 60") for lead in range(1, 4)]),
    ],
    ids=["threads", "prefork"],
)
def test_a_worker_leaves_in_time_while_redis_hangs(options: tuple[str, ...], bodies: list[str]) -> None:
    with program() as here:
        worker = here.worker("one", *options)
        for body in bodies:
            assert here.post(body) == 200
        wait_for(lambda: len(here.ran("hangs") + here.ran("began")) == len(bodies), what=here.log("one"))
        os.kill(here.redis_server.pid, signal.SIGSTOP)
        try:
            time.sleep(2)  # the handlers' time is over
            worker.send_signal(signal.SIGTERM)
            worker.wait(10)
        finally:
            os.kill(here.redis_server.pid, signal.SIGCONT)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_second_signal_never_makes_it_longer(second: signal.Signals) -> None:
    with program() as here:
        worker = here.worker("one")
        assert here.post(added(1, "sleep 25")) == 200
        wait_for(lambda: here.ran("began"), what=here.log("one"))
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        time.sleep(1)  # the second one comes while the first is obeyed
        worker.send_signal(second)
        worker.wait(10 - (time.monotonic() - began))
        here.worker("two")
        wait_for(lambda: len(here.ran("attempts")) == 2, seconds=10, what=here.log("two"))
        assert here.ran("attempts")[1] == "sleep 25 1"


@pytest.mark.parametrize("options", [("-P", "threads"), PREFORK], ids=["threads", "prefork"])
def test_told_not_to_wait_a_worker_is_gone_within_seconds_and_its_step_runs_elsewhere(options: tuple[str, ...]) -> None:
    with program() as here:
        worker = here.worker("one", *options)
        assert here.post(added(1, "sleep 25")) == 200
        wait_for(lambda: here.ran("began"), what=here.log("one"))
        worker.send_signal(signal.SIGQUIT)
        worker.wait(5)
        here.worker("two")
        wait_for(lambda: len(here.ran("attempts")) == 2, seconds=10, what=here.log("two"))


def test_a_process_full_of_hanging_handlers_ends_itself_and_says_whose() -> None:
    with program() as here, Supervisor(here, "one", "-P", "threads", "-c", "4") as supervisor:
        assert here.post(restored(1)) == 200
        wait_for(lambda: here.ran("hangs"), what=here.log("one"))
        wait_for(lambda: letters(here), seconds=5, what="its time is over")
        wait_for(lambda: supervisor.codes == [1], seconds=18, what=here.log("one"))
        assert "too many handlers hang" in here.log("one")
        assert "hanging.hang" not in here.log("one")
        assert here.post(updated(1, 1)) == 200
        wait_for(lambda: here.ran("lead:1") == ["1"], seconds=20, what=here.log("one"))
        (letter,) = letters(here)
        assert letter.reason == "attempts_exhausted"
        assert "time.sleep(1000)" in letter.traceback


def test_a_hanging_child_is_ended_and_replaced() -> None:
    with program() as here:
        worker = here.worker("one", "-P", "prefork", "-c", "1")
        assert here.post(restored(1)) == 200
        (child,) = wait_for(lambda: here.ran("hangs"), what=here.log("one"))
        assert here.post(updated(1, 1)) == 200
        wait_for(lambda: not alive(int(child)), seconds=10, what=here.log("one"))
        wait_for(lambda: here.ran("lead:1") == ["1"], seconds=20, what=here.log("one"))
        assert worker.poll() is None
        assert [letter.reason for letter in letters(here)] == ["attempts_exhausted"]


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123 - a line of the kernel's
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
