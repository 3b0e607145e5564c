"""A Redis without room: what lies there is drained and handled all the same, and what is over makes room."""

from collections.abc import Iterator

import pytest
from redis import Redis

from kommo.router import Router
from tests.integration.workers.logs import Lines
from tests.integration.workers.working import MakeWorker, Worker, lead_added
from workers.chores import NEARLY_FULL, trim_inboxes
from workers.drain import drain
from workers.run import run


@pytest.fixture
def ran() -> list[int]:
    return []


@pytest.fixture
def here(worker: MakeWorker, ran: list[int]) -> Worker:
    router = Router()

    @router.on("lead.added")
    def handle(event: object, _: object) -> None:
        ran.append(event.entity_id)  # type: ignore[attr-defined]

    return worker(router)


@pytest.fixture
def room(redis: Redis) -> Iterator[Redis]:
    """Take limits of memory back after the test."""
    yield redis
    redis.config_set("maxmemory", 0)


def use(redis: Redis, share: float) -> None:
    """Let Redis use this share of its memory."""
    redis.config_set("maxmemory", int(redis.info("memory")["used_memory"] / share))


def test_what_was_taken_is_drained_and_handled_though_there_is_no_room(
    here: Worker, room: Redis, ran: list[int]
) -> None:
    for lead in range(1, 4):
        here.deliver(lead_added(lead), id_=f"d{lead}")
    room.config_set("maxmemory", 1)

    drain(here.runtime)
    run(here.runtime)

    assert ran == [1, 2, 3]
    assert here.stats()["steps_done"] == 3


def test_what_is_handled_makes_room_when_there_is_hardly_any(here: Worker, room: Redis, lines: Lines) -> None:
    here.come(1, 2)
    run(here.runtime)
    here.deliver(lead_added(3), id_="waits")
    use(room, NEARLY_FULL + 0.05)

    assert trim_inboxes(here.runtime) == 2
    assert [entry.delivery.id for entry in here.runtime.inbox.read(31_415_926, after="0-0", limit=9)] == ["waits"]
    assert lines.saying("Redis is nearly full: all handled deliveries are dropped")


@pytest.mark.parametrize("share", [0.5, NEARLY_FULL - 0.05])
def test_what_is_handled_is_kept_while_there_is_room(here: Worker, room: Redis, lines: Lines, share: float) -> None:
    here.come(1)
    run(here.runtime)
    use(room, share)

    assert trim_inboxes(here.runtime) == 0
    assert not lines.saying("Redis is nearly full: all handled deliveries are dropped")
