"""Talking to a Redis that hangs, dies, forgets and fills up."""

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.store.brakes import Brakes
from kommo.store.chains import Lease
from kommo.store.connection import RECEIVER_ANSWER, RECEIVER_CONNECT, connect, now_ms, translated
from kommo.store.dead import DeadLetters
from kommo.store.fleet import Fleet
from kommo.store.inbox import Batch, Delivery, Inbox, RoutedEvent, Step, Stored
from kommo.store.keys import Keys
from kommo.store.lanes import AskedWrite, Finished, Lanes, StepOutcome
from kommo.store.limiter import RELEASE_SECONDS, Limiter, Scope, Slot
from kommo.store.loops import Loops
from kommo.store.outbox import Outbox, PileOutcome
from kommo.store.parking import Parking
from kommo.store.scripts import Call, Scripts, source
from kommo.store.server import PrivateServer

ACCOUNT = 101
KEYS = Keys()


@pytest.fixture
def server() -> Iterator[PrivateServer]:
    """A Redis of the test's own, as durable as in production."""
    with PrivateServer(fsync="always") as server:
        yield server


@pytest.fixture
def client(server: PrivateServer) -> Iterator[Redis]:
    client = connect(server.url, connect_seconds=RECEIVER_CONNECT, answer_seconds=RECEIVER_ANSWER)
    yield client
    client.close()


@pytest.fixture
def halted(server: PrivateServer) -> Iterator[Callable[[bool], None]]:
    """Halt the server, or let it go on; it goes on after the test in any case."""
    pid = server.pid

    def halt(yes: bool) -> None:
        os.kill(pid, signal.SIGSTOP if yes else signal.SIGCONT)

    yield halt
    halt(False)


def restarted(server: PrivateServer) -> None:
    server.kill()
    server.start()


def delivery(number: int) -> Delivery:
    return Delivery(f"d{number}", ACCOUNT, b"leads[add][0][id]=%d" % number, "form", 1_795_000_000_000)


def leased(client: Redis, numbers: int = 2) -> Lease:
    """Put steps into a lane and lease the first."""
    inbox = Inbox(client, KEYS)
    for number in range(numbers):
        inbox.add(delivery(number))
        (entry,) = inbox.read(ACCOUNT, after=(cursor := inbox.cursor(ACCOUNT)), limit=1)
        step = Step("lead:1:h", b"%d" % number)
        event = RoutedEvent(f"e{number}", entry.stream_id, [step])
        assert inbox.commit(Batch(ACCOUNT, cursor, entry.stream_id, [event], []), hold_ms=0).moved
    (lease,) = Lanes(client, KEYS).take(ACCOUNT, "t1").leases
    return lease


class TestAStall:
    def test_one_call_fails_within_its_deadline_and_is_not_repeated(
        self, client: Redis, halted: Callable[[bool], None]
    ) -> None:
        client.set("counter", 0)
        halted(True)
        began = time.perf_counter()
        with pytest.raises(StoreUnavailable), translated():
            client.incr("counter")
        assert time.perf_counter() - began < RECEIVER_ANSWER + 0.2
        halted(False)
        # The one that was sent before the deadline is still in the socket; a second would be a retry of the client's.
        assert client.get("counter") == b"1"

    def test_a_script_fails_the_same_way_and_ran_at_most_once(
        self, client: Redis, halted: Callable[[bool], None]
    ) -> None:
        inbox = Inbox(client, KEYS)
        inbox.add(delivery(1))
        halted(True)
        with pytest.raises(StoreUnavailable):
            inbox.add(delivery(2))
        halted(False)
        assert inbox.add(delivery(2))[0] in {Stored.REPEATED_CALL, Stored.NEW}
        assert [entry.delivery.id for entry in inbox.read(ACCOUNT, after="0-0", limit=9)] == ["d1", "d2"]

    def test_a_new_connection_fails_within_its_deadline_too(
        self, server: PrivateServer, halted: Callable[[bool], None]
    ) -> None:
        halted(True)
        with connect(server.url, connect_seconds=RECEIVER_CONNECT, answer_seconds=RECEIVER_ANSWER) as fresh:
            began = time.perf_counter()
            with pytest.raises(StoreUnavailable), translated():
                fresh.ping()
            assert time.perf_counter() - began < RECEIVER_CONNECT + RECEIVER_ANSWER + 0.1

    def test_a_late_answer_is_not_taken_for_that_of_the_next_call(
        self, client: Redis, halted: Callable[[bool], None]
    ) -> None:
        client.mset({"one": "1", "two": "2"})
        halted(True)
        with pytest.raises(StoreUnavailable), translated():
            client.get("one")
        halted(False)
        assert client.get("two") == b"2"


class TestADeath:
    def test_the_call_fails_at_once_and_the_next_one_after_the_restart_works(
        self, client: Redis, server: PrivateServer
    ) -> None:
        client.set("kept", "yes")
        server.kill()
        with pytest.raises(StoreUnavailable), translated():
            client.get("kept")
        server.start()
        assert client.get("kept") == b"yes"

    def test_every_store_says_the_same_of_a_redis_that_is_gone(self, client: Redis, server: PrivateServer) -> None:
        lease = leased(client)
        server.kill()
        inbox, lanes, outbox = Inbox(client, KEYS), Lanes(client, KEYS), Outbox(client, KEYS)
        fleet, loops, limiter = Fleet(client), Loops("lanes", client, KEYS), Limiter(client)
        brakes, parking = Brakes(client), Parking(client, KEYS)
        outcome = StepOutcome(lease, "done", "r", "0-0")
        scopes = (Scope("account:1", 7),)
        for ask in (
            lambda: inbox.add(delivery(3)),
            lambda: inbox.cursor(ACCOUNT),
            lambda: inbox.read(ACCOUNT, after="0-0", limit=1),
            inbox.accounts,
            lambda: inbox.trim(ACCOUNT, received_after_ms=0, max_bytes=0),
            lambda: lanes.take(ACCOUNT, "t"),
            lambda: lanes.renew([lease]),
            lambda: lanes.finish(outcome),
            lambda: lanes.finish_and_take(outcome, "t"),
            lambda: outbox.results(ACCOUNT, ["w"]),
            lambda: outbox.has_work(ACCOUNT),
            lambda: outbox.take_piles(ACCOUNT, "t", most=1, depth=1),
            lambda: outbox.finish_piles(ACCOUNT, "t", "s", [PileOutcome(lease, "done")]),
            lambda: outbox.hold(ACCOUNT, seconds=1),
            lambda: outbox.shrink(ACCOUNT, 1),
            lambda: outbox.waiting(ACCOUNT),
            lambda: parking.park(ACCOUNT, "token"),
            lambda: parking.admit(ACCOUNT, read=True),
            lambda: parking.resume(ACCOUNT),
            lambda: parking.state(ACCOUNT),
            lambda: brakes.claim_probe(address="ip:here"),
            lambda: brakes.release("account:1"),
            lambda: brakes.state(scopes[0]),
            fleet.size,
            lambda: fleet.announce("p", {"inbox": 1}, [], sweep_ms=1),
            lambda: fleet.check_shards(1),
            lambda: loops.pick(0, "l", first=True),
            lambda: loops.want_sibling(0, at_most=1),
            lambda: loops.overdue(0, by_ms=1),
            lambda: limiter.try_acquire(scopes, ticket="t"),
            lambda: DeadLetters(client, KEYS).count(ACCOUNT),
            lambda: list(DeadLetters(client, KEYS).newest()),
        ):
            with pytest.raises(StoreUnavailable):
                ask()

    def test_a_slot_that_cannot_be_given_back_is_offered_for_a_while_and_a_pause_is_forgotten(
        self, client: Redis, server: PrivateServer
    ) -> None:
        server.kill()
        now, scopes = [0.0], (Scope("account:1", 7),)
        limiter = Limiter(client, sleep=lambda seconds: now.append(now[-1] + seconds), clock=lambda: now[-1])
        limiter.release(Slot("s", scopes))
        Brakes(client).slow(scopes, after=1)
        assert now[-1] >= RELEASE_SECONDS


class TestARestartThatForgetsTheScripts:
    def test_a_script_is_loaded_again(self, client: Redis, server: PrivateServer) -> None:
        inbox = Inbox(client, KEYS)
        inbox.add(delivery(1))
        restarted(server)
        assert inbox.add(delivery(1))[0] is Stored.REPEATED_CALL
        assert inbox.add(delivery(2))[0] is Stored.NEW

    def test_so_are_all_of_a_pipeline_in_their_order(self, client: Redis, server: PrivateServer) -> None:
        lease = leased(client)
        restarted(server)
        outcome = StepOutcome(lease, "done", "r", "0-0", writes=[AskedWrite("lead:1", b"w")])
        finished, _, taken = Lanes(client, KEYS).finish_and_take(outcome, "t2")
        assert finished is Finished.RECORDED
        assert [lease.item for lease in taken.leases] == [b"1"]
        assert [lease.item for lease in Outbox(client, KEYS).take(ACCOUNT, "o").leases] == [b"w"]

    def test_one_that_is_known_beside_one_that_is_not_gives_every_call_its_own_answer(self, client: Redis) -> None:
        scripts = Scripts(client)
        pick = Call("loop_pick", ["r", "a", "f"], ["loop", 250, 1, 0])
        release = Call("limiter_release", ["s"], ["slot", 0])
        scripts.run(pick)
        client.script_flush()
        scripts.run(pick)
        assert scripts.run_together([release, pick, release]) == [0, [b"", -1], 0]


class TestAFullRedis:
    def test_what_would_store_more_says_so_and_works_once_there_is_room(self, client: Redis) -> None:
        inbox = Inbox(client, KEYS)
        client.config_set("maxmemory", "1")
        with pytest.raises(StoreUnavailable):
            inbox.add(delivery(1))
        client.config_set("maxmemory", "0")
        assert inbox.add(delivery(1))[0] is Stored.NEW

    def test_a_pipeline_of_scripts_reports_the_first_that_failed(self, client: Redis) -> None:
        append = Call("inbox_append", [f"k{number}" for number in range(7)], [1, "d", "t", 1, "b", 60])
        client.config_set("maxmemory", "1")
        with pytest.raises(StoreUnavailable):
            Scripts(client).run_together([append])


def test_a_fault_in_a_script_is_not_taken_for_an_absence(client: Redis) -> None:
    client.set("wrong", "text")
    with pytest.raises(Exception, match="WRONGTYPE") as caught:
        Scripts(client).run_together([Call("limiter_release", ["wrong"], ["slot", 0])])
    assert not isinstance(caught.value, StoreUnavailable)


def test_the_clock_is_that_of_redis(client: Redis) -> None:
    before = time.time_ns() // 1_000_000
    assert before - 5 <= now_ms(client) <= time.time_ns() // 1_000_000 + 5


def test_making_a_client_sends_nothing() -> None:
    connect("redis://127.0.0.1:1/0").close()


def test_a_script_comes_with_what_it_uses_in_front_and_nothing_else() -> None:
    text = source("chain_take")
    assert text.index("local function now_ms") < text.index("local function settle") < text.index("Lease chains")
    assert "local function" not in source("inbox_trim")
