"""What the stores promise on one Redis they keep on a Cluster: the same tests, over three nodes."""

from collections.abc import Iterator
from itertools import chain
from types import ModuleType
from typing import Any, Final

import pytest
from redis import Redis

from kommo.store.cluster import ClusterRedis
from tests.cluster import PrivateCluster
from tests.integration.store import (
    test_accounts,
    test_brakes,
    test_chains,
    test_dead,
    test_echoes,
    test_fleet,
    test_inbox,
    test_inbox_together,
    test_lanes,
    test_limiter,
    test_loops,
    test_outbox,
    test_parking,
    test_replays,
    test_returns,
    test_stories,
)

_MODULES: Final = (
    test_accounts, test_brakes, test_chains, test_dead, test_echoes, test_fleet, test_inbox, test_inbox_together,
    test_lanes, test_limiter, test_loops, test_outbox, test_parking, test_replays, test_returns, test_stories,
)  # fmt: skip
#: Commands of tests alone, which concern all keys.
_OF_ALL: Final = frozenset({"CONFIG SET", "KEYS", "SCRIPT FLUSH"})


class WholeCluster(ClusterRedis):
    """Asks every node for what concerns all keys, as the tests ask one Redis."""

    def __init__(self, cluster: PrivateCluster) -> None:
        self._cluster = cluster
        super().__init__(cluster.url, hop_seconds=10, options={"socket_timeout": 5})

    def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] not in _OF_ALL:
            return super().execute_command(*args, **options)
        answers: list[Any] = []
        for node in self._cluster.nodes:
            with node.client() as client:
                answers.append(_asked(client, *args, **options))
        return [*chain(*answers)] if args[0] == "KEYS" else answers[0]

    def scan_iter(
        self,
        match: Any = None,
        count: Any = None,  # noqa: ARG002 - redis-py's own
        _type: Any = None,
        **_: Any,
    ) -> Iterator[Any]:
        yield from self.keys(match or "*")


def _asked(client: Any, *args: Any, **options: Any) -> Any:
    return client.execute_command(*args, **options)


@pytest.fixture(scope="module")
def redis_server() -> Iterator[PrivateCluster]:
    with PrivateCluster() as cluster:
        yield cluster


@pytest.fixture
def redis(redis_server: PrivateCluster) -> Iterator[Redis]:
    redis_server.clear()
    client = WholeCluster(redis_server)
    yield client
    client.close()


def _taken(module: ModuleType) -> dict[str, Any]:
    """Name a module's tests after it, and its fixtures as they are."""
    own = module.__name__.rpartition("test_")[2]
    found: dict[str, Any] = {}
    for name, thing in vars(module).items():
        if name.startswith("test_"):
            found[f"test_{own}_{name.removeprefix('test_')}"] = thing
        elif name.startswith("Test") and getattr(thing, "__module__", "") == module.__name__:
            found[f"Test{own.title()}{name}"] = thing
        elif isinstance(thing, type(redis)):
            found[name] = thing
    return found


for _module in _MODULES:
    for _name, _thing in _taken(_module).items():
        globals().setdefault(_name, _thing)

#: Looks into the connection to one Redis.
del globals()["TestAccountsTestProofs"]
#: Counts the commands that one Redis was sent.
del globals()["test_echoes_a_batch_of_fifty_is_noted_in_one_round_trip_and_each_is_known_again"]
