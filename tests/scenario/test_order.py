"""Order and completeness over two worker processes, undisturbed and with deaths in between."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.scenario.fleet import Program
from tests.waiting import wait_for

LEADS, UPDATES = 200, 10
pytestmark = pytest.mark.scenario


def _update(lead: int, number: int) -> str:
    prefix = "leads%5Bupdate%5D%5B0%5D"
    fields = {"id": lead, "name": "", "status_id": 1, "price": number, "updated_at": 1_700_000_000, "pipeline_id": 5}
    return "&".join(f"{prefix}%5B{name}%5D={value}" for name, value in fields.items())


def _interleaved(seed: int) -> list[tuple[int, int]]:
    """Give every lead's updates in order, the leads shuffled into one another."""
    turns = [lead for lead in range(1, LEADS + 1) for _ in range(UPDATES)]
    random.Random(seed).shuffle(turns)
    numbers = dict.fromkeys(turns, 0)
    result = []
    for lead in turns:
        numbers[lead] += 1
        result.append((lead, numbers[lead]))
    return result


def _handled(program: Program, key: str) -> dict[int, list[int]]:
    return {lead: [int(price) for price in program.ran(f"{key}:{lead}")] for lead in range(1, LEADS + 1)}


def test_2000_interleaved_updates_run_once_each_and_in_order_per_lead() -> None:
    with Program() as program:
        program.web()
        program.worker("one")
        program.worker("two")
        with ThreadPoolExecutor(1) as sender:
            answers = list(sender.map(lambda update: program.post(_update(*update)), _interleaved(1)))
        assert set(answers) == {200}
        wait_for(program.settled, seconds=60, what="everything is handled")
        assert _handled(program, "lead") == {lead: list(range(1, UPDATES + 1)) for lead in range(1, LEADS + 1)}
        assert _handled(program, "retried") == {lead: [7] for lead in range(1, LEADS + 1)}


def test_nothing_is_lost_or_out_of_order_when_workers_and_redis_are_killed() -> None:
    draw = random.Random(2)
    with Program() as program:
        program.web()
        program.worker("one")
        program.worker("two")
        for index, update in enumerate(_interleaved(3)):
            wait_for(lambda update=update: program.post(_update(*update)) == 200, what=program.log("web"))
            if index % 400 == 200:
                name = draw.choice(["one", "two"])
                program.kill(name)
                program.start(name, "celery", "-A", "workers.app", "worker", "-P", "threads", "-n", name)
            if index % 700 == 500:
                program.redis_server.kill()
                program.redis_server.start()
        wait_for(program.settled, seconds=60, what=f"everything is handled: {program.log('one')}")
        for lead, prices in _handled(program, "lead").items():
            assert list(dict.fromkeys(prices)) == list(range(1, UPDATES + 1)), f"lead {lead}: {prices}"
        doubled = sum(len(prices) - UPDATES for prices in _handled(program, "lead").values())
        assert doubled <= 40, "only steps under way at a kill may run twice"
