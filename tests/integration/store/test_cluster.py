"""A Cluster with a shard on each of its three nodes: the way of the work, slots that move, nodes that hang and die."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from kommo.errors import StoreError, StoreUnavailable
from kommo.settings import Settings
from kommo.store.accounts import Account, Accounts
from kommo.store.backlog import Backlogs
from kommo.store.chains import Lease
from kommo.store.connection import RECEIVER_ANSWER, RECEIVER_CONNECT, connect, now_ms, translated
from kommo.store.dead import DeadLetter, DeadLetters
from kommo.store.fleet import Fleet
from kommo.store.inbox import Batch, Delivery, Inbox, RoutedEvent, Step, Stored
from kommo.store.keys import Keys
from kommo.store.lanes import AskedWrite, Finished, Lanes, StepOutcome
from kommo.store.limiter import Limiter, Scope, Slot
from kommo.store.loops import Loops
from kommo.store.nodes import AWAY_SECONDS
from kommo.store.outbox import Outbox, PileOutcome, item_of
from kommo.store.replays import Replays
from kommo.store.returns import Returns, StepBack
from kommo.store.scripts import Call, Scripts
from kommo.variables import Secret
from tests.cluster import Node, PrivateCluster
from tests.integration.store.conftest import delivery
from tests.waiting import wait_for

SHARDS = 3
#: One of each shard, and so one on each node.
ACCOUNTS = (300, 301, 302)
TOKEN_KEY = Secret("c29tZS1rZXktdGhhdC1pcy1vbmx5LWZvci10ZXN0cyE=")
#: What a receiver's call may take in all.
DEADLINE = 0.5


@pytest.fixture(scope="module")
def cluster() -> Iterator[PrivateCluster]:
    with PrivateCluster() as cluster:
        yield cluster


@pytest.fixture
def keys() -> Keys:
    return Keys(SHARDS)


@pytest.fixture
def redis(cluster: PrivateCluster) -> Iterator[Redis]:
    """A worker's client."""
    cluster.clear()
    client = connect(cluster.url)
    yield client
    client.close()


@pytest.fixture
def quick(cluster: PrivateCluster, redis: Redis) -> Iterator[Redis]:
    """A receiver's client, which has asked every node before."""
    client = connect(cluster.url, connect_seconds=RECEIVER_CONNECT, answer_seconds=RECEIVER_ANSWER)
    wait_for(lambda: _asks_all(client))
    yield client
    client.close()


def _asks_all(client: Redis) -> bool:
    try:
        return [client.get(f"kommo:{{{shard}}}:nothing") for shard in range(SHARDS)] == [None] * SHARDS
    except RedisError:
        return False


@pytest.fixture
def node(cluster: PrivateCluster) -> Node:
    """The node of shard 1; the limits, the fleet and the other shards lie on others."""
    return cluster.node_of("kommo:{1}:")


@pytest.fixture
def halted(cluster: PrivateCluster, node: Node) -> Iterator[Callable[[bool], None]]:
    """Halt the node of shard 1, or let it go on; it goes on after the test in any case."""

    def halt(yes: bool) -> None:
        os.kill(node.pid, signal.SIGSTOP if yes else signal.SIGCONT)

    yield halt
    halt(False)
    cluster.wait()


@pytest.fixture
def killed(cluster: PrivateCluster, redis: Redis, node: Node) -> Iterator[Node]:
    """The node of shard 1, dead after all nodes were emptied; it is back after the test."""
    assert redis.ping()
    node.kill()
    yield node
    node.start()
    cluster.wait()


def test_the_shards_and_what_all_accounts_share_lie_on_different_nodes(cluster: PrivateCluster) -> None:
    assert len({cluster.node_of(f"kommo:{{{shard}}}:").port for shard in range(SHARDS)}) == SHARDS
    assert len({cluster.node_of(f"kommo:{{{tag}}}").port for tag in ("limits", "fleet", "answers")}) == SHARDS


class TestTheWayOfTheWork:
    def test_leads_from_the_inbox_to_the_writes_that_are_done(self, redis: Redis, keys: Keys) -> None:
        inbox, lanes, outbox = Inbox(redis, keys), Lanes(redis, keys), Outbox(redis, keys)
        stored = inbox.add_together([(delivery(number, account=number), True) for number in ACCOUNTS])
        assert stored == [(Stored.NEW, True)] * SHARDS
        assert inbox.accounts() == [*ACCOUNTS]
        assert inbox.stored_as([delivery(number, account=number) for number in ACCOUNTS]) == [
            f"d{number:06}" for number in ACCOUNTS
        ]
        for number, account in enumerate(ACCOUNTS):
            assert Loops("inbox", redis, keys).pick(keys.shard(account), "drain", first=True).account_id == account
            (entry,) = inbox.read(account, after="0-0", limit=9)
            event = RoutedEvent(f"e{number}", entry.stream_id, [Step("lead:1:h", b"step")])
            assert inbox.commit(Batch(account, "0-0", entry.stream_id, [event], []), hold_ms=0).moved
            (lease,) = lanes.take(account, "t").leases
            assert lanes.renew([lease]) == {lease: True}
            write = AskedWrite("lead:1", item_of("leads:update", b"write"))
            outcome = StepOutcome(lease, "done", "runner", entry.stream_id, writes=[write])
            finished, _, taken = lanes.finish_and_take(outcome, "t2")
            assert (finished, taken.leases) == (Finished.RECORDED, [])
            (pile,) = outbox.take_piles(account, "o", most=50, depth=9).piles
            assert pile.items == [b"write"]
            done = PileOutcome(pile.lease, "done", done=1, results={f"w{account}": "77"})
            assert outbox.finish_piles(account, "o", "sender", [done]) == [True]
            assert outbox.results(account, [f"w{account}", "other"]) == {f"w{account}": "77"}
        assert [(one.accounts, one.depth) for one in Backlogs(redis, keys).all()] == [(0, 0)] * 3

    def test_of_what_is_given_up_keeps_letters_that_are_found_and_put_back(self, redis: Redis, keys: Keys) -> None:
        inbox, dead, returns = Inbox(redis, keys), DeadLetters(redis, keys), Returns(redis, keys)
        for account in ACCOUNTS:
            inbox.add(delivery(1, account=account))
            (entry,) = inbox.read(account, after="0-0", limit=1)
            letter = DeadLetter(f"l{account}", "step", account, "rejected", "no", 1, "d1")
            assert inbox.commit(Batch(account, "0-0", entry.stream_id, [], [letter]), hold_ms=0).moved
        found = list(dead.newest())
        assert sorted(key.account_id for key in found) == [*ACCOUNTS]
        for kept in dead.read(found):
            assert returns.put_back(kept, StepBack(Step("lead:1:h", b"again"), "")).done
        assert [lease.item for account in ACCOUNTS for lease in Lanes(redis, keys).take(account, "t").leases] == [
            b"again"
        ] * SHARDS

    def test_is_limited_in_all_scopes_at_once(self, redis: Redis) -> None:
        limiter = Limiter(redis)
        scopes = [Scope("integration:c:300", 2), Scope("account:300", 5), Scope("ip:default", 7)]
        slots = [limiter.try_acquire(scopes, ticket="t") for _ in range(3)]
        assert [isinstance(slot, Slot) for slot in slots] == [True, True, False]

    def test_knows_the_accounts_of_every_shard(self, redis: Redis, keys: Keys) -> None:
        accounts = Accounts(Settings(shards=SHARDS, token_keys=(TOKEN_KEY,)), redis, keys)
        for number in ACCOUNTS:
            accounts.save(Account(account_id=number, subdomain=f"shop{number}", access_token=Secret("token")))
        assert [account.subdomain for account in accounts.list()] == ["shop300", "shop301", "shop302"]
        assert accounts.remove(301)
        assert accounts.ids() == [300, 302]

    def test_is_seen_by_the_fleet_and_replayed(self, redis: Redis, keys: Keys) -> None:
        fleet, replays = Fleet(redis), Replays(redis, keys)
        assert fleet.announce("p", {"lanes": 3}, ["h"], sweep_ms=500)
        assert (fleet.size(), fleet.capacity()["lanes"]) == (1, 3)
        fleet.check_shards(SHARDS)
        replays.keep("r", b"asked")
        assert replays.asked("r") == b"asked"
        assert replays.add("r", 301, after="0-0", up_to="5-0", events=[]).moved
        assert replays.place("r", 301) == "5-0"


class TestANodeThatHangs:
    def test_costs_a_receiver_half_a_second_once_and_then_nothing(
        self, quick: Redis, keys: Keys, halted: Callable[[bool], None]
    ) -> None:
        inbox = Inbox(quick, keys)
        inbox.add(delivery(1, account=301))
        halted(True)
        assert self.seconds(lambda: self.refused(inbox, 2)) < DEADLINE
        assert self.seconds(lambda: self.refused(inbox, 3)) < AWAY_SECONDS / 5

    def test_holds_up_no_delivery_of_another_node_for_longer(
        self, quick: Redis, keys: Keys, halted: Callable[[bool], None]
    ) -> None:
        inbox = Inbox(quick, keys)
        halted(True)
        began = time.monotonic()
        outcomes = inbox.add_together([(delivery(number, account=number), True) for number in ACCOUNTS])
        assert time.monotonic() - began < DEADLINE
        assert [type(outcome) for outcome in outcomes] == [tuple, StoreUnavailable, tuple]

    def test_is_asked_by_one_at_a_time(self, quick: Redis, keys: Keys, halted: Callable[[bool], None]) -> None:
        inbox = Inbox(quick, keys)
        waits: list[float] = []
        halted(True)
        self.refused(inbox, 1)
        time.sleep(AWAY_SECONDS)  # until it may be asked again
        threads = [
            threading.Thread(target=lambda n=number: waits.append(self.seconds(lambda: self.refused(inbox, n))))
            for number in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(wait > RECEIVER_ANSWER / 2 for wait in waits) == 1

    def test_may_have_done_what_it_was_given_and_knows_it_again(
        self, quick: Redis, keys: Keys, halted: Callable[[bool], None]
    ) -> None:
        inbox = Inbox(quick, keys)
        inbox.add(delivery(1, account=301))
        halted(True)
        self.refused(inbox, 2)
        halted(False)
        outcome = wait_for(lambda: self.outcome(inbox, 2))
        assert outcome in {Stored.REPEATED_CALL, Stored.NEW}
        stored = [entry.delivery.id for entry in inbox.read(301, after="0-0", limit=9)]
        assert stored == ["d000001", "d000002"]

    def test_a_late_reply_is_not_taken_for_that_of_the_next_command(
        self, quick: Redis, halted: Callable[[bool], None]
    ) -> None:
        for name in ("one", "two"):
            quick.set(f"kommo:{{1}}:{name}", name)
        halted(True)
        with pytest.raises(StoreUnavailable), translated():
            quick.get("kommo:{1}:one")
        halted(False)
        assert wait_for(lambda: self.read(quick, "kommo:{1}:two")) == b"two"

    @staticmethod
    def refused(inbox: Inbox, number: int) -> None:
        with pytest.raises(StoreUnavailable):
            inbox.add(delivery(number, account=301))

    @staticmethod
    def seconds(act: Callable[[], object]) -> float:
        began = time.monotonic()
        act()
        return time.monotonic() - began

    @staticmethod
    def outcome(inbox: Inbox, number: int) -> Stored | None:
        try:
            return inbox.add(delivery(number, account=301))[0]
        except StoreUnavailable:
            return None

    @staticmethod
    def read(client: Redis, key: str) -> Any:
        try:
            return client.get(key)
        except RedisError:
            return None


class TestANodeThatIsDead:
    @pytest.mark.usefixtures("killed")
    def test_is_away_for_its_shards_alone(self, redis: Redis, keys: Keys) -> None:
        inbox, fleet = Inbox(redis, keys), Fleet(redis)
        outcomes = inbox.add_together([(delivery(number, account=number), True) for number in ACCOUNTS])
        assert [type(outcome) for outcome in outcomes] == [tuple, StoreUnavailable, tuple]
        assert fleet.announce("p", {"inbox": 1}, [], sweep_ms=1)
        for ask in (lambda: inbox.cursor(301), inbox.accounts, lambda: Lanes(redis, keys).take(301, "t")):
            with pytest.raises(StoreUnavailable):
                ask()

    @pytest.mark.usefixtures("killed")
    def test_gives_loops_nothing_to_pick_and_sweepers_nothing_to_wake_for(self, redis: Redis, keys: Keys) -> None:
        Inbox(redis, keys).add(delivery(1, account=302))
        loops = Loops("inbox", redis, keys)
        picked = [loops.pick(shard, "loop", first=True).account_id for shard in range(SHARDS)]
        assert picked == [None, None, 302]
        assert [loops.overdue(shard, by_ms=-60_000) for shard in range(SHARDS)] == [False, False, True]

    def test_lets_the_leases_on_other_nodes_be_renewed_and_handed_back(
        self, cluster: PrivateCluster, redis: Redis, keys: Keys, node: Node
    ) -> None:
        lanes = Lanes(redis, keys)
        leases: list[Lease] = []
        for account in (301, 302):
            self.fill(redis, keys, account)
            leases += lanes.take(account, "t").leases
        node.kill()
        assert lanes.renew(leases) == {leases[1]: True}
        assert lanes.give_back(leases) == 1
        with pytest.raises(StoreUnavailable):
            lanes.renew(leases[:1])
        node.start()
        cluster.wait()
        wait_for(lambda: self.is_there(redis))
        assert lanes.renew(leases[:1]) == {leases[0]: True}

    def test_comes_back_with_what_it_had_and_without_the_scripts(
        self, cluster: PrivateCluster, redis: Redis, keys: Keys, node: Node
    ) -> None:
        inbox = Inbox(redis, keys)
        inbox.add(delivery(1, account=301))
        node.kill()
        node.start()
        cluster.wait()
        wait_for(lambda: self.is_there(redis))
        assert inbox.add(delivery(1, account=301))[0] is Stored.REPEATED_CALL
        both = inbox.add_together([(delivery(n, account=301), True) for n in (2, 3)], in_order=True)
        assert [isinstance(one, tuple) and one[0] for one in both] == [Stored.NEW] * 2

    def test_may_be_the_first_that_a_url_names(self, cluster: PrivateCluster, keys: Keys, killed: Node) -> None:
        others = ",".join(f"127.0.0.1:{node.port}" for node in cluster.nodes if node is not killed)
        with connect(f"redis+cluster://127.0.0.1:{killed.port},{others}/0") as client:
            assert Inbox(client, keys).add(delivery(7, account=302))[0] is Stored.NEW

    def test_leaves_a_sweep_to_whoever_asks_when_it_is_the_one_of_the_fleet(
        self, cluster: PrivateCluster, redis: Redis
    ) -> None:
        node, fleet = cluster.node_of("kommo:{fleet}"), Fleet(redis)
        fleet.announce("p", {}, [], sweep_ms=60_000)
        node.kill()
        assert fleet.announce("p", {}, [], sweep_ms=60_000)
        with pytest.raises(StoreUnavailable):
            fleet.size()
        node.start()
        cluster.wait()

    @staticmethod
    def fill(redis: Redis, keys: Keys, account: int) -> None:
        inbox = Inbox(redis, keys)
        inbox.add(delivery(1, account=account))
        (entry,) = inbox.read(account, after="0-0", limit=1)
        event = RoutedEvent("e", entry.stream_id, [Step("lead:1:h", b"step")])
        assert inbox.commit(Batch(account, "0-0", entry.stream_id, [event], []), hold_ms=0).moved

    @staticmethod
    def is_there(redis: Redis) -> bool:
        try:
            return redis.get("kommo:{1}:nothing") is None
        except RedisError:
            return False


class TestASlotThatMoves:
    """To another node: tag `{moving}`."""

    KEY = "kommo:{moving}:stream"

    @pytest.fixture
    def ends(self, cluster: PrivateCluster) -> Iterator[tuple[Node, Node]]:
        """From where, and to where; it is back after the test."""
        source = cluster.node_of(self.KEY)
        target = next(node for node in cluster.nodes if node is not source)
        yield source, target
        cluster.clear()
        cluster.announce(self.KEY, source)

    def test_is_followed_by_commands_pipelines_transactions_and_scripts(
        self, cluster: PrivateCluster, redis: Redis, ends: tuple[Node, Node]
    ) -> None:
        source, target = ends
        for way in (self.by_command, self.by_pipeline, self.by_transaction, self.by_script):
            for owner in (target, source):
                cluster.announce(self.KEY, owner)
                way(redis)
                with owner.client() as client:
                    assert client.delete(self.KEY) == 1, way.__name__

    def by_command(self, redis: Redis) -> None:
        redis.rpush(self.KEY, "a")

    def by_pipeline(self, redis: Redis) -> None:
        pipe = redis.pipeline(transaction=False)
        pipe.get("kommo:{1}:nothing")
        pipe.rpush(self.KEY, "a")
        pipe.rpush(self.KEY, "b")
        assert pipe.execute() == [None, 1, 2]

    def by_transaction(self, redis: Redis) -> None:
        pipe = redis.pipeline(transaction=True)
        pipe.rpush(self.KEY, "a")
        pipe.lrange(self.KEY, 0, -1)
        assert pipe.execute() == [1, [b"a"]]

    def by_script(self, redis: Redis) -> None:
        calls = [Call("gap_open", [self.KEY], [since, 0, "why"]) for since in (90, 80, 70)]
        assert Scripts(redis).run_together(calls) == [1, 0, 0]

    def test_is_asked_for_at_its_target_while_it_is_on_its_way(
        self, cluster: PrivateCluster, redis: Redis, ends: tuple[Node, Node]
    ) -> None:
        cluster.begin_to_move(self.KEY, source=ends[0], target=ends[1])
        self.by_pipeline(redis)
        assert redis.rpush(self.KEY, "c") == 3
        assert redis.delete(self.KEY) == 1
        self.by_script(redis)
        assert Scripts(redis).run(Call("gap_shut", [self.KEY], [95])) == 1
        with pytest.raises(StoreUnavailable, match="on the move"), translated():
            self.by_transaction(redis)

    def test_that_each_of_two_nodes_says_the_other_has_is_away(
        self, cluster: PrivateCluster, redis: Redis, ends: tuple[Node, Node]
    ) -> None:
        cluster.dispute(self.KEY, *ends)
        with pytest.raises(StoreUnavailable), translated():
            redis.get(self.KEY)
        with pytest.raises(StoreUnavailable):
            Scripts(redis).run(Call("park_try", [self.KEY], []))


class TestWhatAClusterCannotDo:
    @pytest.mark.parametrize(
        "ask",
        [
            lambda redis: redis.dbsize(),
            lambda redis: redis.flushall(),
            lambda redis: redis.keys(),
            lambda redis: list(redis.scan_iter()),
            lambda redis: redis.config_set("maxmemory", 1),
            lambda redis: redis.script_flush(),
        ],
    )
    def test_is_refused_instead_of_done_by_half(self, redis: Redis, ask: Callable[[Redis], object]) -> None:
        with pytest.raises(StoreError, match="concerns one server, and a Redis Cluster has several"):
            ask(redis)

    def test_keys_of_several_slots_in_one_command_are_refused_by_the_nodes(self, redis: Redis) -> None:
        with pytest.raises(Exception, match="same slot"):
            redis.mget(["kommo:{0}:a", "kommo:{1}:a"])


def test_the_clock_is_that_of_the_node_with_the_key(redis: Redis) -> None:
    before = time.time_ns() // 1_000_000
    for shard in range(SHARDS):
        assert before - 5 <= now_ms(redis, beside=f"kommo:{{{shard}}}:x") <= time.time_ns() // 1_000_000 + 5
    assert redis.ping()
    assert before - 5 <= now_ms(redis)


def test_info_is_that_of_the_node_which_is_worst_off(redis: Redis, node: Node) -> None:
    assert redis.info("persistence")["aof_enabled"] == 1
    with node.client() as alone:
        alone.config_set("maxmemory", "1gb")
        assert redis.info("memory")["maxmemory"] == 1024**3
        alone.config_set("maxmemory", "0")
        alone.config_set("appendonly", "no")
        try:
            assert redis.info("persistence")["aof_enabled"] == 0
        finally:
            alone.config_set("appendonly", "yes")


def test_making_a_client_sends_nothing_and_a_cluster_that_is_not_there_is_away() -> None:
    client = connect("redis+cluster://127.0.0.1:1,127.0.0.1:2")
    with pytest.raises(StoreUnavailable, match="no node of the cluster says who has which keys"):
        Inbox(client, Keys()).add(Delivery("d", 1, b"", "form", 1))
    with pytest.raises(StoreUnavailable):
        Loops("inbox", client, Keys()).pick(0, "loop", first=True)
    client.close()
