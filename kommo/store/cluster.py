"""A Redis Cluster with the face of one Redis: each command goes to the node that has its key.

redis-py has a client of its own for a Cluster. It connects while it is made, repeats what has failed, and asks one node
after the other while one is away: no deadline holds, and a script that ran may run again. Here, as with one Redis, a
command is sent once, and a second time only where a node has refused it and named another.
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from redis import ConnectionPool, Redis
from redis.client import Pipeline
from redis.exceptions import AskError, MovedError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from kommo.errors import StoreError
from kommo.store import across
from kommo.store.nodes import Allowance, Nodes
from kommo.store.slots import Address, slot_of
from kommo.store.wire import Command
from kommo.variables import nodes_of

_Queued = tuple[tuple[Any, ...], dict[str, Any]]

_SCRIPTS: Final = frozenset({"EVAL", "EVALSHA"})
#: What any node may answer.
_OF_ANY: Final = frozenset({"PING", "TIME"})
#: What concerns one server, where a Cluster has several: half an answer would look like a whole one.
_OF_ONE: Final = frozenset(
    {
        "CONFIG GET", "CONFIG SET", "DBSIZE", "FLUSHALL", "FLUSHDB", "INFO", "KEYS", "SCAN", "SCRIPT EXISTS",
        "SCRIPT FLUSH", "SCRIPT LOAD",
    }
)  # fmt: skip
#: Where a Redis listens unless its URL says otherwise.
_PORT: Final = 6379


class ClusterRedis(Redis):
    """A client of a Cluster; nothing is sent while it is made. Its errors are those of redis-py.

    The keys of one command, and those of a transaction, have to lie in one slot; another pipeline may mix. What
    concerns one server is refused with a StoreError.
    """

    def __init__(self, url: str, *, hop_seconds: float, options: Mapping[str, Any]) -> None:
        templates = nodes_of(url)
        # Never connected: it is what the base class has to have.
        super().__init__(connection_pool=ConnectionPool.from_url(templates[0], **options))
        self._nodes = Nodes(
            [_address_of(template) for template in templates],
            lambda address: Redis.from_url(_at(address, templates[0]), **options),
            hop_seconds=hop_seconds,
        )

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Run scripts on the nodes of their first keys; an error of any kind stands in the place of its reply."""
        return across.exchange(self._nodes, commands)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Ask the node that has the command's key."""
        allowance = self._nodes.allowance()
        address = self._address(args, allowance)
        node: Any  # redis-py has no types for this
        try:
            with self._nodes.asking(address, allowance) as node:
                return node.execute_command(*args, **options)
        except AskError as error:
            further, asks = self._nodes.target(error, address), not isinstance(error, MovedError)
        return _given(self._pipelined(further, allowance, [(args, options)], asks=asks)[0])

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:  # noqa: ARG002 - redis-py's own
        """Gather commands; unless they are a transaction, those of each node are sent together."""
        return _ClusterPipeline(self, transaction=transaction)

    def run_pipeline(self, stack: Sequence[_Queued]) -> list[Any]:
        """Execute commands, those of each node in one round trip; an error of a node stands in place of a reply."""
        allowance = self._nodes.allowance()
        groups: dict[Address, list[int]] = {}
        for place, (args, _) in enumerate(stack):
            groups.setdefault(self._address(args, allowance), []).append(place)
        replies: list[Any] = [None] * len(stack)
        for address, places in groups.items():
            told = self._pipelined(address, self._nodes.allowance(), [stack[place] for place in places])
            for place, reply in zip(places, told, strict=True):
                replies[place] = self._sent_on(reply, address, stack[place]) if isinstance(reply, AskError) else reply
        return replies

    def run_transaction(self, stack: Sequence[_Queued]) -> list[Any]:
        """Execute commands in a transaction on the node that has their keys."""
        allowance = self._nodes.allowance()
        address = self._address(stack[0][0], allowance)
        try:
            return self._at_once(address, allowance, stack)
        except AskError as error:
            # The text of the error holds the command.
            further, asks = self._nodes.target(error, address), not isinstance(error, MovedError)
        if asks:
            raise RedisConnectionError("the keys of a transaction are on the move")
        return self._at_once(further, allowance, stack)

    def now(self, beside: str) -> Any:
        """Read the clock of the node that has a key."""
        allowance = self._nodes.allowance()
        with self._nodes.asking(self._nodes.address(slot_of(beside), allowance), allowance) as node:
            return node.time()

    def info(self, section: str | None = None, *_: Any, **__: Any) -> dict[str, Any]:
        """Give INFO of the node that is worst off: keeps no append-only file, may evict, or is the fullest."""
        told: list[dict[str, Any]] = []
        for address in self._nodes.addresses(self._nodes.allowance()):
            with self._nodes.asking(address, self._nodes.allowance()) as node:
                told.append(dict(node.info(*([section] if section else []))))
        return min(told, key=_well_off)

    def is_partly_there(self) -> bool:
        """Say whether some node is there, for all that is known, though another one is away."""
        return self._nodes.has_others()

    def close(self) -> None:
        """Let go of all connections."""
        self._nodes.close()
        super().close()

    def _address(self, args: Sequence[Any], allowance: Allowance) -> Address:
        name = str(args[0])
        if name in _OF_ONE:
            raise StoreError(f"{name} concerns one server, and a Redis Cluster has several")
        if name in _OF_ANY:
            return self._nodes.addresses(allowance)[0]
        return self._nodes.address(slot_of(args[across.FIRST_KEY if name in _SCRIPTS else 1]), allowance)

    def _sent_on(self, error: AskError, asked: Address, queued: _Queued) -> Any:
        further, asks = self._nodes.target(error, asked), not isinstance(error, MovedError)
        return self._pipelined(further, self._nodes.allowance(), [queued], asks=asks)[0]

    def _pipelined(
        self, address: Address, allowance: Allowance, stack: Sequence[_Queued], *, asks: bool = False
    ) -> list[Any]:
        with self._nodes.asking(address, allowance) as node:
            pipe: Any = node.pipeline(transaction=False)
            for args, options in stack:
                if asks:
                    pipe.execute_command("ASKING")
                pipe.execute_command(*args, **options)
            replies: list[Any] = pipe.execute(raise_on_error=False)
        return replies[1::2] if asks else replies

    def _at_once(self, address: Address, allowance: Allowance, stack: Sequence[_Queued]) -> list[Any]:
        with self._nodes.asking(address, allowance) as node:
            pipe: Any = node.pipeline(transaction=True)
            for args, options in stack:
                pipe.execute_command(*args, **options)
            replies: list[Any] = pipe.execute(raise_on_error=False)
        return replies


class _ClusterPipeline(Pipeline):
    """Gathers commands as redis-py's pipeline does; WATCH is not for a Cluster."""

    def __init__(self, cluster: ClusterRedis, *, transaction: bool) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, transaction, None)
        self._run: Callable[[Sequence[_Queued]], list[Any]] = (
            cluster.run_transaction if transaction else cluster.run_pipeline
        )

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Execute what was gathered, and raise the first error unless told otherwise."""
        stack: Sequence[_Queued] = self.command_stack
        self.reset()
        replies = self._run(stack) if stack else []
        return [_given(reply) for reply in replies] if raise_on_error else replies


def _given(reply: Any) -> Any:
    if isinstance(reply, RedisError):
        raise reply
    return reply


def _address_of(node_url: str) -> Address:
    parts = urlsplit(node_url)
    return Address(parts.hostname or "", parts.port or _PORT)


def _at(address: Address, template: str) -> str:
    """Write a node's URL with the credentials and options of another one."""
    parts = urlsplit(template)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}{address}"))


def _well_off(info: Mapping[str, Any]) -> tuple[bool, bool, float]:
    most = int(info.get("maxmemory") or 0)
    evicts = most > 0 and info.get("maxmemory_policy") != "noeviction"
    return bool(info.get("aof_enabled", 1)), not evicts, -int(info.get("used_memory", 0)) / most if most else 0.0
