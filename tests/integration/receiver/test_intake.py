"""Deliveries on their way into Redis, with a Redis that comes and goes."""

import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.store.breaker import Breaker
from kommo.store.connection import RECEIVER_ANSWER, RECEIVER_CONNECT, connect, translated
from kommo.store.inbox import SEEN_SECONDS, Delivery, Inbox
from kommo.store.keys import Keys
from kommo.store.server import PrivateServer
from receiver.intake import Intake, Taken
from receiver.segments import segments
from receiver.spool import Spool
from receiver.storing import Storing
from receiver.unspooling import ROUND, Unspooling, Ways
from tests.integration.receiver.conftest import ROOT
from tests.integration.receiver.trickling import Wire, trickling
from tests.integration.receiver.wire import ACCOUNT, lead
from tests.integration.workers.logs import Lines
from tests.unit.receiver.test_batches import run_together
from tests.waiting import wait_for


class Woken:
    """Notes for which queues a loop was asked."""

    def __init__(self) -> None:
        self.queues: list[str] = []

    def wake(self, queue: str) -> None:
        self.queues.append(queue)


@dataclass
class Process:
    """What one receiver has of its own."""

    url: str
    folder: Path
    breaker: Breaker = field(default_factory=Breaker)
    woken: Woken = field(default_factory=Woken)

    def __post_init__(self) -> None:
        redis = connect(self.url, connect_seconds=RECEIVER_CONNECT, answer_seconds=RECEIVER_ANSWER)
        self.spool = Spool(self.folder)
        storing = Storing(Inbox(redis, Keys()), cast(Any, self.woken))
        patient = Storing(Inbox(connect(self.url), Keys()), cast(Any, self.woken))
        self.unspooling = Unspooling(self.spool, self.breaker, Ways(lambda: self._probe(redis), patient, storing))
        self.intake = Intake(storing, self.spool, self.breaker, self.unspooling)

    def _probe(self, redis: Redis) -> None:
        with translated():
            redis.set("probe", 1, ex=5)

    def take(self, *numbers: int, body: bytes | None = None, account: int = ACCOUNT) -> list[Taken]:
        return [self.intake.take(delivery(number, body, account)) for number in numbers]


def delivery(number: int, body: bytes | None = None, account: int = ACCOUNT) -> Delivery:
    now = time.time_ns() // 1_000_000
    return Delivery(
        f"{now:012x}{secrets.token_hex(10)}",
        account,
        lead(number) if body is None else body,
        "application/x-www-form-urlencoded",
        now,
    )


Start = Callable[[], Process]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def start(lone_server: PrivateServer, folder: Path) -> Iterator[Start]:
    """Start a receiver's way into the lone Redis; all of them share a folder."""
    made: list[Process] = []

    def make() -> Process:
        made.append(Process(lone_server.url, folder))
        return made[-1]

    yield make
    for process in made:
        process.intake.close()


@pytest.fixture
def process(start: Start) -> Process:
    return start()


@pytest.fixture
def bodies(lone_server: PrivateServer) -> Callable[..., list[bytes]]:
    """What lies in an account's inbox, in order."""

    def read(account: int = ACCOUNT) -> list[bytes]:
        with connect(lone_server.url) as redis:
            return [one.delivery.body for one in Inbox(redis, Keys()).read(account, after="0-0", limit=100_000)]

    return read


Bodies = Callable[..., list[bytes]]


def drained(process: Process) -> None:
    wait_for(lambda: not process.spool.is_used, seconds=20, what="the spool is empty")


class TestWhileRedisIsThere:
    def test_a_delivery_goes_straight_into_the_inbox_and_wakes_a_drain(
        self, process: Process, bodies: Bodies, folder: Path
    ) -> None:
        assert process.take(1, 2) == [Taken.NEW, Taken.NEW]
        assert bodies() == [lead(1), lead(2)]
        assert process.woken.queues == ["drain"]
        assert not folder.exists()

    def test_a_repetition_is_dropped_unless_an_item_of_it_has_no_time(self, process: Process, bodies: Bodies) -> None:
        timeless = lead(2, at=None)
        assert process.take(1, 1) == [Taken.NEW, Taken.DUPLICATE]
        assert process.take(2, 2, body=timeless) == [Taken.NEW, Taken.NEW]
        assert bodies() == [lead(1), timeless, timeless]

    def test_the_same_delivery_again_is_a_repeated_call(self, process: Process, bodies: Bodies) -> None:
        one = delivery(1)
        assert [process.intake.take(one), process.intake.take(one)] == [Taken.NEW, Taken.REPEATED_CALL]
        assert [process.intake.take(one, droppable=False) for _ in range(2)] == [Taken.NEW, Taken.REPEATED_CALL]
        assert len(bodies()) == 2

    def test_what_threads_bring_at_once_is_stored_once_each(self, process: Process, bodies: Bodies) -> None:
        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(lambda number: process.take(number)[0], range(400)))
        assert set(answers) == {Taken.NEW}
        assert sorted(bodies()) == sorted(map(lead, range(400)))

    def test_a_fault_with_one_account_harms_no_other(
        self, process: Process, lone_server: PrivateServer, bodies: Bodies
    ) -> None:
        with connect(lone_server.url) as redis:
            redis.set(Keys().of_account(7, "inbox", "stream"), "what no stream can be")

        def take(number: int) -> str:
            try:
                return process.take(number, account=7 if number % 2 else ACCOUNT)[0].value
            except StoreUnavailable:
                return "away"
            except Exception as error:
                return type(error).__name__

        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(take, range(200)))
        assert answers == ["new", "ResponseError"] * 100
        assert len(bodies()) == 100


class TestWhileRedisIsAway:
    def test_deliveries_go_to_the_spool_and_into_redis_in_order_when_it_is_back(
        self, process: Process, lone_server: PrivateServer, bodies: Bodies, folder: Path
    ) -> None:
        process.take(0)
        lone_server.kill()
        assert process.take(*range(1, 250)) == [Taken.SPOOLED] * 249
        lone_server.start()
        drained(process)
        assert process.take(250) == [Taken.NEW]
        assert bodies() == [lead(number) for number in range(251)]
        assert not list(folder.glob("*.spool"))
        assert process.woken.queues[-1:] == ["drain"]

    def test_one_delivery_waits_for_redis_and_no_other(
        self, process: Process, stalled: Callable[[PrivateServer], None], lone_server: PrivateServer
    ) -> None:
        process.take(0)
        stalled(lone_server)
        took = []
        for number in range(1, 100):
            began = time.perf_counter()
            assert process.take(number) == [Taken.SPOOLED]
            took.append(time.perf_counter() - began)
        assert took[0] < 0.7
        # Had each waited as the first did, it would be 25 s.
        assert sum(took[1:]) < 10 * took[0]

    def test_threads_behind_the_one_that_waits_do_not_wait_once_more(
        self, process: Process, stalled: Callable[[PrivateServer], None], lone_server: PrivateServer
    ) -> None:
        process.take(0)
        stalled(lone_server)
        began = time.perf_counter()
        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(lambda number: process.take(number)[0], range(1, 17)))
        assert answers == [Taken.SPOOLED] * 16
        assert time.perf_counter() - began < 0.9

    @pytest.mark.parametrize(
        ("setting", "value", "back"), [("maxmemory", "1", "0"), ("min-replicas-to-write", "1", "0")]
    )
    def test_a_redis_that_cannot_store_is_away(
        self, process: Process, lone_server: PrivateServer, bodies: Bodies, setting: str, value: str, back: str
    ) -> None:
        with connect(lone_server.url) as redis:
            redis.config_set(setting, value)
            assert process.take(1, 2) == [Taken.SPOOLED] * 2
            redis.config_set(setting, back)
        drained(process)
        assert bodies() == [lead(1), lead(2)]

    def test_what_may_have_been_stored_is_stored_once(
        self, process: Process, stalled: Callable[[PrivateServer], None], lone_server: PrivateServer, bodies: Bodies
    ) -> None:
        """The answer does not come in time; Redis does the work when it wakes up."""
        process.take(0)
        stalled(lone_server)
        assert process.take(1, 2) == [Taken.SPOOLED] * 2
        assert process.take(3, body=lead(3, at=None)) == [Taken.SPOOLED]
        subprocess.run(["kill", "-CONT", str(lone_server.pid)], check=True)
        drained(process)
        assert bodies() == [lead(0), lead(1), lead(2), lead(3, at=None)]

    def test_repetitions_are_told_by_the_same_rule_as_ever(
        self, process: Process, lone_server: PrivateServer, bodies: Bodies
    ) -> None:
        timeless = lead(2, at=None)
        process.take(1)
        lone_server.kill()
        process.take(1, 3, 3)
        process.take(2, body=timeless)
        process.take(4)
        process.take(2, body=timeless)
        process.take(5)
        lone_server.start()
        drained(process)
        assert bodies() == [lead(1), lead(3), timeless, lead(4), timeless, lead(5)]

    def test_it_is_logged_once_that_redis_is_away_and_once_that_all_is_well_again(
        self, process: Process, lone_server: PrivateServer, lines: Lines
    ) -> None:
        lone_server.kill()
        process.take(*range(20))
        lone_server.start()
        drained(process)
        wait_for(lambda: lines.saying("spool drained"), what="the drain tells")
        away, spooling = "Redis is away: nobody waits for it until it is back", "deliveries go to the spool"
        said = [line["message"] for line in lines.all]
        assert [said.count(text) for text in (away, spooling, "Redis is back", "spool drained")] == [1] * 4
        assert lines.saying("spool drained")[0]["deliveries"] == 20

    def test_deliveries_of_a_former_run_are_brought_into_redis_at_the_start(
        self, start: Start, lone_server: PrivateServer, bodies: Bodies
    ) -> None:
        first = start()
        lone_server.kill()
        first.take(1, 2)
        first.intake.close()
        second = start()
        second.intake.start()
        assert second.take(3) == [Taken.SPOOLED]
        lone_server.start()
        drained(second)
        assert bodies() == [lead(1), lead(2), lead(3)]

    def test_neither_redis_nor_a_disk_is_the_only_way_to_lose_an_answer(
        self, lone_server: PrivateServer, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        process = Process(lone_server.url, tmp_path / "file" / "spool")
        assert process.take(1) == [Taken.NEW]
        lone_server.kill()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="KOMMO_SPOOL_DIR"):
                process.take(2)
        lone_server.start()
        wait_for(lambda: not process.breaker.is_open, what="Redis is found back")
        assert process.take(2) == [Taken.NEW]
        process.intake.close()


class TestARedisThatAnswersSlowly:
    """Each answer comes before a reply counts as lost, and the half second is for all of them."""

    @pytest.fixture
    def wire(self, lone_server: PrivateServer) -> Iterator[Wire]:
        with trickling(lone_server.url) as wire:
            yield wire

    @pytest.fixture
    def process(self, wire: Wire, folder: Path) -> Iterator[Process]:
        process = Process(wire.url, folder)
        process.take(0)
        wire.seconds = 0.2
        yield process
        process.intake.close()

    @pytest.mark.parametrize("size", [0, 700_000], ids=["in one piece", "in a piece for each"])
    def test_a_batch_of_requests_does_not_wait_for_it_longer_than_one_does(
        self, process: Process, wire: Wire, bodies: Bodies, size: int
    ) -> None:
        sent = [lead(number, text="x" * size) for number in range(1, 17)]
        began = time.monotonic()
        taken = run_together([lambda body=body: process.take(0, body=body)[0] for body in sent])
        assert time.monotonic() - began < 1.2
        assert set(taken) <= {Taken.NEW, Taken.SPOOLED}
        assert taken.count(Taken.SPOOLED) > 10
        wire.seconds = 0.0
        drained(process)
        assert sorted(bodies()) == sorted([lead(0), *sent])

    def test_nor_if_redis_has_forgotten_the_scripts_meanwhile(
        self, process: Process, wire: Wire, lone_server: PrivateServer, bodies: Bodies
    ) -> None:
        with connect(lone_server.url) as redis:
            redis.script_flush()
        began = time.monotonic()
        run_together([lambda number=number: process.take(number) for number in range(1, 17)])
        assert time.monotonic() - began < 1.2
        wire.seconds = 0.0
        drained(process)
        assert sorted(bodies()) == sorted(lead(number) for number in range(17))

    def test_nor_do_threads_that_share_a_round_trip(self, process: Process, wire: Wire, bodies: Bodies) -> None:
        began = time.monotonic()
        with ThreadPoolExecutor(16) as threads:
            taken = list(threads.map(lambda number: process.take(number)[0], range(1, 17)))
        assert time.monotonic() - began < 1.2
        assert Taken.SPOOLED in taken
        wire.seconds = 0.0
        drained(process)
        assert sorted(bodies()) == sorted(lead(number) for number in range(17))

    def test_writers_are_not_kept_out_of_the_spool_by_its_last_round(self, process: Process) -> None:
        for number in range(1, 21):
            process.spool.put(delivery(number), begin=True)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            process.unspooling._end()
        assert time.monotonic() - began < 1.2
        assert process.spool.put(delivery(21), begin=False)
        assert (census := process.spool.census()) is not None
        assert census.deliveries == 21


class TestSeveralProcesses:
    def test_all_spool_as_long_as_one_of_them_has_something_there(
        self, start: Start, lone_server: PrivateServer, bodies: Bodies
    ) -> None:
        one, other = start(), start()
        lone_server.kill()
        one.take(1)
        # The other one has not noticed anything, and is not to: its delivery came after the first was answered.
        one.intake.close()
        lone_server.start()
        assert other.take(2) == [Taken.SPOOLED]
        drained(other)
        assert other.take(3) == [Taken.NEW]
        assert bodies() == [lead(1), lead(2), lead(3)]

    def test_deliveries_of_one_account_get_there_in_the_order_in_which_they_came_to_whichever(
        self, start: Start, lone_server: PrivateServer, bodies: Bodies
    ) -> None:
        """A delivery follows the answer to the one before it, now here and now there, while Redis comes and goes."""
        processes = [start() for _ in range(3)]
        taken = []
        for number in range(900):
            if number in {100, 400, 650}:
                lone_server.kill()
            if number in {250, 500, 800}:
                lone_server.start()
            taken += processes[number % 3].take(number)
        drained(processes[0])
        assert bodies() == [lead(number) for number in range(900)]
        assert {Taken.NEW, Taken.SPOOLED} <= set(taken)

    def test_who_still_thinks_that_redis_is_away_does_not_begin_anew_after_another_has_emptied_the_spool(
        self, start: Start, lone_server: PrivateServer, bodies: Bodies
    ) -> None:
        one, other = start(), start()
        lone_server.kill()
        assert one.take(1) + other.take(2) == [Taken.SPOOLED] * 2
        one.intake.close()
        one.breaker.trip("as it was")
        lone_server.start()
        drained(other)
        assert one.take(3) == [Taken.NEW]
        assert not one.breaker.is_open
        assert bodies() == [lead(1), lead(2), lead(3)]

    def test_under_a_steady_stream_the_spool_gets_empty_and_every_lane_stays_in_order(
        self, start: Start, lone_server: PrivateServer, bodies: Bodies
    ) -> None:
        processes = [start(), start()]
        accounts = range(101, 109)
        ended = threading.Event()
        direct: list[int] = []

        def send(account: int) -> int:
            number = 0
            while not ended.wait(0.004):
                number += 1
                body = b"leads[add][0][id]=%d&leads[add][0][last_modified]=%d" % (account, number)
                taken = processes[number % 2].take(number, body=body, account=account)
                if back.is_set() and taken == [Taken.NEW]:
                    direct.append(account)
            return number

        back = threading.Event()
        lone_server.kill()
        with ThreadPoolExecutor(len(accounts)) as threads:
            senders = [threads.submit(send, account) for account in accounts]
            try:
                wait_for(lambda: (census := processes[0].spool.census()) and census.deliveries > 2 * ROUND, seconds=30)
                lone_server.start()
                back.set()
                wait_for(lambda: set(accounts) <= set(direct), seconds=40, what="all are direct again")
            finally:
                ended.set()
            sent = [sender.result() for sender in senders]
        drained(processes[0])
        for account, number in zip(accounts, sent, strict=True):
            assert [int(body.rpartition(b"=")[2]) for body in bodies(account)] == list(range(1, number + 1))

    def test_files_of_a_process_that_was_killed_are_drained_by_another(
        self, start: Start, lone_server: PrivateServer, folder: Path, bodies: Bodies
    ) -> None:
        lone_server.kill()
        script = (
            "import os, sys; from pathlib import Path; from receiver.spool import Spool\n"
            "from tests.integration.receiver.test_intake import delivery\n"
            "spool = Spool(Path(sys.argv[1]))\n"
            "for number in range(1, 31): spool.put(delivery(number), begin=True)\n"
            "os.kill(os.getpid(), 9)"
        )
        ended = subprocess.run([sys.executable, "-c", script, str(folder)], cwd=ROOT, check=False)
        assert ended.returncode == -9
        process = start()
        assert process.take(31) == [Taken.SPOOLED]
        lone_server.start()
        drained(process)
        assert bodies() == [lead(number) for number in range(1, 32)]


class TestTheDrain:
    def test_a_round_that_redis_does_not_finish_is_repeated_and_stores_nothing_twice(
        self, process: Process, lone_server: PrivateServer, bodies: Bodies
    ) -> None:
        for number in range(3 * ROUND):
            process.spool.put(delivery(number), begin=True)
        process.intake.start()
        wait_for(bodies, what="the drain has begun")
        lone_server.kill()
        lone_server.start()
        drained(process)
        assert bodies() == [lead(number) for number in range(3 * ROUND)]

    def test_a_delivery_that_redis_refuses_is_kept_in_a_file_and_holds_up_no_other(
        self, process: Process, lone_server: PrivateServer, bodies: Bodies, folder: Path, lines: Lines
    ) -> None:
        with connect(lone_server.url) as redis:
            redis.set(Keys().of_account(7, "inbox", "stream"), "what no stream can be")
        process.spool.put(refused := delivery(1, account=7), begin=True)
        process.spool.put(delivery(2), begin=True)
        process.intake.start()
        drained(process)
        assert bodies() == [lead(2)]
        assert [file.name for file in folder.glob("*.broken")] == [f"{refused.id}.broken"]
        (told,) = lines.saying("delivery of the spool refused by Redis, kept in a file")
        assert (told["delivery"], told["account"]) == (refused.id, 7)

    @pytest.mark.parametrize("tried", [True, False])
    def test_after_an_outage_longer_than_redis_remembers_only_what_was_tried_is_looked_for(
        self, process: Process, lone_server: PrivateServer, bodies: Bodies, tried: bool
    ) -> None:
        long_ago = int(time.time() * 1000) - (SEEN_SECONDS + 60) * 1000
        old = replace(delivery(1), received_ms=long_ago, id=f"{long_ago:012x}{secrets.token_hex(10)}")
        with connect(lone_server.url) as redis:
            fields: Any = {"id": old.id, "type": old.content_type, "at": long_ago, "body": old.body}
            redis.xadd(Keys().of_account(ACCOUNT, "inbox", "stream"), fields, id=f"{long_ago}-0")
        process.spool.put(old, tried=tried, begin=True)
        process.intake.start()
        drained(process)
        assert bodies() == [old.body] * (1 if tried else 2)

    def test_what_came_first_is_stored_first_whoever_wrote_it_when(self, start: Start, bodies: Bodies) -> None:
        """A delivery that waited for Redis in vain is written after some that came later, to another file perhaps."""
        one, other = start(), start()
        came = [delivery(number) for number in range(6)]
        late = [replace(delivery, received_ms=came[0].received_ms + number) for number, delivery in enumerate(came)]
        for number in (1, 0, 4):
            one.spool.put(late[number], begin=True)
        for number in (2, 5, 3):
            other.spool.put(late[number], begin=True)
        one.intake.start()
        drained(one)
        assert bodies() == [lead(number) for number in range(6)]

    def test_a_fault_of_the_drain_is_logged_and_tried_again(
        self, process: Process, bodies: Bodies, lines: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(process.unspooling, "_drain", lambda: 1 / 0)
        process.spool.put(delivery(1), begin=True)
        process.intake.start()
        wait_for(lambda: lines.saying("spool not drained, again in a moment"), what="the fault is told")
        monkeypatch.undo()
        drained(process)
        assert bodies() == [lead(1)]


def test_a_record_knows_what_an_intake_tells_it(start: Start, lone_server: PrivateServer, folder: Path) -> None:
    process = start()
    lone_server.kill()
    process.intake.take(delivery(1))
    process.intake.take(delivery(2), droppable=False)
    found = segments(folder, all_closed=True)
    records = [piece.record for segment in found for piece in segment.pieces() if piece.record]
    assert [(record.tried, record.droppable) for record in records] == [(True, True), (False, False)]
