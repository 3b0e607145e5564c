"""Redis and the broker die, come back, are full, or are not heard: work goes on, or goes on afterwards."""

import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from kommo.store.server import PrivateServer
from tests.scenario.fleet import ACCOUNT, Program
from tests.scenario.test_death import added, program, updated
from tests.waiting import wait_for

pytestmark = pytest.mark.scenario

LEADS, UPDATES = 40, 10


def in_order(here: Program) -> Mapping[int, list[str]]:
    """What ran per lead, each update once."""
    return {lead: list(dict.fromkeys(here.ran(f"lead:{lead}"))) for lead in range(1, LEADS + 1)}


EXPECTED = {lead: [str(number) for number in range(1, UPDATES + 1)] for lead in range(1, LEADS + 1)}


def send_all(here: Program) -> None:
    """Send every lead's updates, each until it is taken."""
    for number in range(1, UPDATES + 1):
        for lead in range(1, LEADS + 1):
            wait_for(partial(posted, here, updated(lead, number)), what=here.log("web"))


def posted(here: Program, body: str) -> bool:
    return here.post(body) == 200


def test_redis_killed_five_times_under_load_loses_nothing_and_keeps_the_order() -> None:
    with program() as here, ThreadPoolExecutor(1) as sender:
        here.worker("one")
        here.worker("two")
        sending = sender.submit(send_all, here)
        for _ in range(5):
            time.sleep(1)  # load in between
            here.redis_server.kill()
            here.redis_server.start()
        sending.result(60)
        wait_for(here.settled, seconds=40, what=here.log("one"))
        assert in_order(here) == EXPECTED


@pytest.mark.parametrize("options", [("-P", "threads"), ("-P", "prefork", "-c", "3")], ids=["threads", "prefork"])
def test_work_goes_on_without_a_broker_and_the_worker_is_back_when_the_broker_is(options: tuple[str, ...]) -> None:
    with PrivateServer(fsync="no") as broker, program(KOMMO_BROKER_URL=broker.url) as here:
        worker = here.worker("one", *options)
        assert here.post(updated(1, 1)) == 200
        wait_for(lambda: here.ran("lead:1") == ["1"], what=here.log("one"))
        broker.kill()
        for number in (2, 3):
            assert here.post(updated(1, number)) == 200
            wait_for(lambda n=number: here.ran("lead:1")[-1] == str(n), seconds=10, what=here.log("one"))
        broker.start()
        wait_for(lambda: "Connected to" in here.log("one"), seconds=20, what=here.log("one"))
        assert here.post(updated(1, 4)) == 200
        wait_for(lambda: here.ran("lead:1") == ["1", "2", "3", "4"], seconds=10, what=here.log("one"))
        assert worker.poll() is None


def test_a_worker_that_lives_but_takes_nothing_is_ended() -> None:
    with program(KOMMO_HANDLERS="tests.scenario.starving", DEAF="1") as here:
        worker = here.worker("one")
        wait_for(lambda: here.post(updated(1, 1)) == 200)
        assert worker.wait(20) == 1
        assert "work lies there and none is taken: this worker ends" in here.log("one")


def test_a_worker_with_nothing_to_do_is_not_ended() -> None:
    with program(KOMMO_HANDLERS="tests.scenario.starving") as here:
        worker = here.worker("one")
        assert here.post(updated(1, 1)) == 200
        wait_for(lambda: here.ran("lead:1") == ["1"], what=here.log("one"))
        time.sleep(8)  # longer than it would be allowed to starve
        assert worker.poll() is None


def test_hints_that_nobody_hears_cost_seconds_and_not_the_work() -> None:
    with program(KOMMO_HANDLERS="tests.scenario.starving", DEAF="sweeping") as here:
        here.worker("one")
        assert here.post(updated(1, 1)) == 200
        wait_for(lambda: here.ran("lead:1") == ["1"], seconds=15, what=here.log("one"))


def test_a_full_redis_lets_workers_finish_what_lies_there_without_spinning() -> None:
    with program() as here:
        here.worker("one")
        for lead in range(1, 6):
            assert here.post(added(lead, f"quiet 2.{lead}")) == 200
        wait_for(lambda: len(here.ran("began")) == 5, what=here.log("one"))
        here.redis.config_set("maxmemory", 1)
        before = cpu_seconds(here.processes["one"].pid)
        wait_for(here.settled, what=here.log("one"))
        assert here.post(updated(9, 1)) == 200, "the receiver keeps it on its disk"
        time.sleep(5)  # what there is to do waits for room
        assert cpu_seconds(here.processes["one"].pid) - before < 2
        here.redis.config_set("maxmemory", 0)
        wait_for(lambda: here.ran("lead:9") == ["1"], seconds=15, what=here.log("one"))
        assert here.redis.hget(f"kommo:{{0}}:stats:{ACCOUNT}", "steps_done") == b"6"


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123 - a line of the kernel's
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
