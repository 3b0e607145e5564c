"""The watchdog: it fires on one thing only, a worker with room that takes nothing of what lies there for a minute."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from redis import Redis

from kommo.store.connection import connect
from kommo.store.server import PrivateServer
from tests.integration.workers.logs import logged
from workers.watchdog import EVERY_SECONDS, STARVED_SECONDS, Watchdog

QUEUES = ("drain", "run")


@dataclass
class Tasks:
    """A pool that does what the test says."""

    started: int = 0
    taken: int = 0
    room: bool = True

    def begun(self) -> int:
        return self.started

    def waiting(self) -> int:
        return self.taken

    def has_room(self) -> bool:
        return self.room


class Watched:
    """A worker, its broker, and a clock."""

    def __init__(self, broker: Redis) -> None:
        self.broker, self.pool, self.now, self.ended = broker, Tasks(), 0.0, 0
        self.dog = Watchdog(broker, QUEUES, self.pool, self.end, clock=lambda: self.now)

    def end(self) -> None:
        self.ended += 1

    def pass_seconds(self, seconds: float) -> None:
        ends = self.now + seconds
        while self.now < ends:
            self.now += EVERY_SECONDS
            self.dog.look()


@pytest.fixture
def watched(redis: Redis) -> Watched:
    return Watched(redis)


def test_a_worker_beside_hints_that_nobody_takes_is_ended_after_a_minute(watched: Watched) -> None:
    watched.broker.lpush("run", "hint")
    watched.pass_seconds(STARVED_SECONDS)
    assert watched.ended == 0
    with logged() as lines:
        watched.pass_seconds(2 * EVERY_SECONDS)
    assert watched.ended == 1
    assert lines.saying("work lies there and none is taken: this worker ends")


def test_so_is_one_whose_pool_does_not_begin_what_was_taken(watched: Watched) -> None:
    watched.pool.taken = 2
    watched.pass_seconds(STARVED_SECONDS + 2 * EVERY_SECONDS)
    assert watched.ended == 1


def test_an_idle_one_is_not(watched: Watched) -> None:
    watched.pass_seconds(10 * STARVED_SECONDS)
    assert watched.ended == 0


def test_nor_one_whose_slots_are_all_busy(watched: Watched) -> None:
    watched.broker.lpush("run", "hint")
    watched.pool.room = False
    watched.pass_seconds(10 * STARVED_SECONDS)
    assert watched.ended == 0


def test_nor_one_that_takes_something_now_and_then(watched: Watched) -> None:
    watched.broker.lpush("run", "hint")
    for _ in range(10):
        watched.pass_seconds(STARVED_SECONDS - EVERY_SECONDS)
        watched.pool.started += 1
    assert watched.ended == 0


def test_nor_for_hints_of_queues_that_it_does_not_serve(watched: Watched) -> None:
    watched.broker.lpush("flush", "hint")
    watched.pass_seconds(10 * STARVED_SECONDS)
    assert watched.ended == 0


class TestAbsentBroker:
    @pytest.fixture
    def server(self) -> Iterator[PrivateServer]:
        with PrivateServer(fsync="no") as server:
            yield server

    def test_one_whose_broker_is_away_is_not_ended_and_has_its_minute_again(self, server: PrivateServer) -> None:
        broker = connect(server.url)
        watched = Watched(broker)
        broker.lpush("run", "hint")
        watched.pass_seconds(STARVED_SECONDS)
        server.kill()
        watched.pass_seconds(2 * STARVED_SECONDS)
        server.start()
        watched.pass_seconds(STARVED_SECONDS)
        assert watched.ended == 0
        watched.pass_seconds(2 * EVERY_SECONDS)
        assert watched.ended == int(broker.llen("run") > 0)
        broker.close()
