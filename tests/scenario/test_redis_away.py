"""Redis killed under load, gone for a while and back: what Kommo is answered, and what is handled in the end."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.scenario.fleet import Program
from tests.waiting import wait_for

LEADS = 6
pytestmark = pytest.mark.scenario


def _update(lead: int, number: int) -> str:
    # Never a multiple of seven: another handler would fail at those first, and hold up its own lane for a second.
    price = 7 * number + 1
    fields = {"id": lead, "status_id": 1, "pipeline_id": 5, "price": price, "updated_at": 1_700_000_000 + number}
    return "&".join(f"leads%5Bupdate%5D%5B0%5D%5B{name}%5D={value}" for name, value in fields.items())


class Load:
    """Kommo, for whom a change of a lead follows the answer to the one before; a thread for each lead."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._ended = threading.Event()
        self.answers: list[int] = []
        self.slowest = 0.0

    def send(self, lead: int) -> int:
        """Send one change after the other; say how many."""
        number = 0
        while not self._ended.is_set():
            number += 1
            began = time.perf_counter()
            self.answers.append(self._program.post(_update(lead, number)))
            self.slowest = max(self.slowest, time.perf_counter() - began)
        return number

    def more(self, answers: int) -> None:
        """Wait until so many more are answered."""
        goal = len(self.answers) + answers
        wait_for(lambda: len(self.answers) >= goal, seconds=30, what=f"{answers} more answers")

    def end(self) -> None:
        self._ended.set()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def _handled(program: Program, lead: int) -> list[int]:
    return [int(price) // 7 for price in program.ran(f"lead:{lead}")]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_every_answer_is_200_and_every_delivery_is_handled_once_and_in_order(folder: Path) -> None:
    with Program(KOMMO_SPOOL_DIR=str(folder)) as program, ThreadPoolExecutor(LEADS) as threads:
        program.web()
        load = Load(program)
        senders = [threads.submit(load.send, lead) for lead in range(1, LEADS + 1)]
        try:
            for _ in range(3):
                load.more(100)
                program.redis_server.kill()
                load.more(150)
                assert (folder / "in-use").exists()
                program.redis_server.start()
                wait_for(lambda: not (folder / "in-use").exists(), seconds=30, what=program.log("web"))
            load.more(100)
        finally:
            load.end()
        sent = [sender.result() for sender in senders]
        assert set(load.answers) == {200}
        assert load.slowest < 2
        # Not before: a handler that a killed Redis cannot be told the end of runs again, and would tell nothing here.
        program.worker("one")
        wait_for(program.settled, seconds=60, what=program.log("one"))
        assert [_handled(program, lead) for lead in range(1, LEADS + 1)] == [
            list(range(1, number + 1)) for number in sent
        ]


def test_a_receiver_that_is_killed_and_started_while_redis_is_away_loses_nothing(folder: Path) -> None:
    with Program(KOMMO_SPOOL_DIR=str(folder)) as program:
        program.web()
        program.redis_server.kill()
        assert [program.post(_update(1, number)) for number in range(1, 21)] == [200] * 20
        program.kill("web")
        wait_for(lambda: _is_free(program.port), what="the workers have noticed that gunicorn is gone")
        program.web()
        assert [program.post(_update(1, number)) for number in range(21, 41)] == [200] * 20
        program.redis_server.start()
        wait_for(lambda: not (folder / "in-use").exists(), seconds=20, what=program.log("web"))
        program.worker("one")
        wait_for(program.settled, seconds=60, what=program.log("one"))
        assert _handled(program, 1) == list(range(1, 41))
