"""Who is asked, and who is left alone: nodes over clients that answer as they are told, by a clock that is told too."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from redis.exceptions import AskError, MovedError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kommo.store.nodes import AWAY_SECONDS, RELOAD_SECONDS, Nodes
from kommo.store.slots import Address

ONE, TWO, THREE = (Address("10.0.0.1", port) for port in (7001, 7002, 7003))
HALF = [[0, 8_000, [b"10.0.0.1", 7001]], [8_001, 16_383, [b"10.0.0.1", 7002]]]
HOP = 1.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Client:
    """Answers CLUSTER SLOTS."""

    def __init__(self, address: Address, clock: Clock) -> None:
        self.address, self._clock = address, clock
        self.answer: Callable[[], Any] = lambda: HALF
        self.takes = 0.0
        self.asked = 0
        self.is_closed = False

    def execute_command(self, *command: str) -> Any:
        assert command == ("CLUSTER", "SLOTS")
        self.asked += 1
        self._clock.now += self.takes
        return self.answer()

    def close(self) -> None:
        self.is_closed = True


class Cluster:
    """Nodes over three clients, of which the first two are named by the URL."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clients = {address: Client(address, self.clock) for address in (ONE, TWO, THREE)}
        self.nodes = Nodes([ONE, TWO], self._make, hop_seconds=HOP, clock=self.clock)

    def _make(self, address: Address) -> Any:
        return self.clients[address]

    def address(self, slot: int) -> Address:
        return self.nodes.address(slot, self.nodes.allowance())

    def ask(self, address: Address, error: Exception | None = None) -> Client:
        with self.nodes.asking(address, self.nodes.allowance()) as client:
            if error:
                raise error
        return cast(Client, client)

    def raises(self, address: Address, error: RedisError) -> Client:
        """Make a node unable to say who has which slots."""
        client = self.clients[address]

        def fail() -> Any:
            raise error

        client.answer = fail
        return client


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


class TestWhoHasASlot:
    def test_is_asked_of_one_node_once(self, cluster: Cluster) -> None:
        assert [cluster.address(slot) for slot in (0, 8_000, 8_001)] == [ONE, ONE, TWO]
        assert [client.asked for client in cluster.clients.values()] == [1, 0, 0]

    @pytest.mark.parametrize("error", [RedisConnectionError("gone"), RedisTimeoutError(), ResponseError("not allowed")])
    def test_is_asked_of_the_next_when_the_first_does_not_tell(self, cluster: Cluster, error: RedisError) -> None:
        cluster.raises(ONE, error)
        assert cluster.address(9_000) == TWO

    def test_is_not_known_when_none_tells(self, cluster: Cluster) -> None:
        cluster.raises(ONE, RedisConnectionError())
        cluster.clients[TWO].answer = lambda: []
        with pytest.raises(RedisConnectionError, match="no node of the cluster says who has which keys"):
            cluster.address(0)

    def test_is_not_asked_of_a_second_node_when_the_first_took_too_long(self, cluster: Cluster) -> None:
        cluster.raises(ONE, RedisTimeoutError()).takes = HOP
        with pytest.raises(RedisConnectionError):
            cluster.address(0)
        assert cluster.clients[TWO].asked == 0
        assert cluster.address(0) == ONE, "the next call begins with the other one"
        assert cluster.clients[TWO].asked == 1

    def test_of_a_slot_that_nobody_has_is_asked_again_later(self, cluster: Cluster) -> None:
        cluster.clients[ONE].answer = lambda: HALF[:1]
        for _ in range(2):
            with pytest.raises(RedisConnectionError, match="no node of the cluster has slot 9000"):
                cluster.address(9_000)
        cluster.clients[ONE].answer = lambda: HALF
        cluster.clock.now += RELOAD_SECONDS
        assert cluster.address(9_000) == TWO
        assert cluster.clients[ONE].asked == 2

    def test_is_asked_again_when_a_node_was_lost_first_of_those_that_are_there(self, cluster: Cluster) -> None:
        cluster.address(0)
        cluster.clients[TWO].answer = lambda: [[0, 16_383, [b"10.0.0.1", 7003]]]
        cluster.nodes.lost(ONE)
        assert cluster.address(0) == ONE, "not at once"
        cluster.clock.now += RELOAD_SECONDS
        assert cluster.address(0) == THREE
        assert cluster.clients[ONE].asked == 1

    def test_stays_as_it_was_known_when_none_tells_any_more(self, cluster: Cluster) -> None:
        cluster.address(0)
        for address in (ONE, TWO):
            cluster.raises(address, RedisConnectionError())
        cluster.nodes.lost(TWO)
        cluster.clock.now += RELOAD_SECONDS
        assert cluster.address(0) == ONE


class TestBeingSentOn:
    def test_for_good_changes_who_has_the_slot(self, cluster: Cluster) -> None:
        cluster.address(5)
        assert cluster.nodes.target(MovedError("5 10.0.0.1:7003"), ONE) == THREE
        assert [cluster.address(slot) for slot in (5, 6)] == [THREE, ONE]

    def test_for_one_call_changes_nothing(self, cluster: Cluster) -> None:
        cluster.address(5)
        assert cluster.nodes.target(AskError("5 10.0.0.1:7003"), ONE) == THREE
        assert cluster.address(5) == ONE

    def test_to_a_node_without_a_name_is_to_the_one_that_was_asked(self, cluster: Cluster) -> None:
        assert cluster.nodes.target(MovedError("5 :7003"), ONE) == THREE


class TestANodeThatIsAway:
    @pytest.mark.parametrize("error", [RedisConnectionError("gone"), RedisTimeoutError("late")])
    def test_is_left_alone_for_a_moment_and_then_asked_by_one(self, cluster: Cluster, error: RedisError) -> None:
        with pytest.raises(type(error)):
            cluster.ask(ONE, error)
        with pytest.raises(RedisConnectionError, match=r"10\.0\.0\.1:7001 was away a moment ago"):
            cluster.ask(ONE)
        cluster.clock.now += AWAY_SECONDS
        cluster.nodes.claim(ONE)
        with pytest.raises(RedisConnectionError, match="a moment ago"):
            cluster.nodes.claim(ONE)
        cluster.nodes.answered(ONE)
        assert cluster.ask(ONE).address == ONE

    def test_is_not_one_that_refuses(self, cluster: Cluster) -> None:
        with pytest.raises(ResponseError):
            cluster.ask(ONE, ResponseError("WRONGTYPE"))
        assert cluster.ask(ONE).address == ONE

    def test_leaves_the_others(self, cluster: Cluster) -> None:
        assert not cluster.nodes.has_others(), "nothing is known yet"
        cluster.address(0)
        cluster.nodes.lost(ONE)
        assert cluster.nodes.has_others()
        cluster.nodes.lost(TWO)
        cluster.clock.now += 10 * AWAY_SECONDS
        assert not cluster.nodes.has_others(), "until one has answered"
        cluster.nodes.answered(TWO)
        assert cluster.nodes.has_others()

    def test_is_not_one_for_which_there_was_no_time(self, cluster: Cluster) -> None:
        allowance = cluster.nodes.allowance()
        cluster.clock.now += HOP / 2
        with pytest.raises(RedisTimeoutError, match="no time left"), cluster.nodes.asking(ONE, allowance):
            raise AssertionError("not asked")
        assert cluster.ask(ONE).address == ONE
        cluster.clock.now += HOP
        assert allowance.left() == 0


def test_closed_connections_are_made_anew(cluster: Cluster) -> None:
    client = cluster.ask(ONE)
    cluster.nodes.close()
    assert client.is_closed
    assert cluster.ask(ONE) is client
