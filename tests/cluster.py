"""A Redis Cluster of our own: three nodes on free ports of this computer, each of which can be killed and come back."""

import random
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from redis import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import RedisError

from kommo.store.server import find_server
from tests.waiting import wait_for

#: How far the port on which a node speaks with the others is from the one on which it serves.
_BUS: Final = 10_000
#: Both ports are below those that the system gives to connections, one of which might take them while a node is dead.
_PORTS: Final = range(11_000, 20_000)
#: Where the slots of one node end and those of the next begin: so that shards 2, 1 and 0 lie on nodes 0, 1 and 2.
_BORDERS: Final = (0, 6_000, 10_923, REDIS_CLUSTER_HASH_SLOTS)
#: ms without a word after which a node takes another one for gone.
_GONE_MS: Final = 1_000


class Node:
    """One server of a cluster, as durable as in production."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, with what it had stored before; it is back when the others have heard of it."""
        command = [str(find_server()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
        command += ["--dir", str(self._folder), "--logfile", "redis.log", "--cluster-enabled", "yes"]
        command += ["--cluster-node-timeout", str(_GONE_MS), "--cluster-require-full-coverage", "no"]
        self._process = subprocess.Popen(command, start_new_session=True)
        with self.client() as client:
            wait_for(lambda: _answers(client), what=f"a node answers: {self._folder / 'redis.log'}")

    def kill(self) -> None:
        """Kill it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    @contextmanager
    def client(self) -> Iterator[Redis]:
        """Speak with this node alone."""
        client = Redis(port=self.port, socket_timeout=5)
        try:
            yield client
        finally:
            client.close()


class PrivateCluster:
    """The three nodes."""

    def __init__(self) -> None:
        self.nodes: Sequence[Node] = ()
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> Self:
        """Start the nodes, join them and give each its slots."""
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="kommo-cluster-")))
        self.nodes = [Node(folder / str(number), port) for number, port in enumerate(_free_ports(len(_BORDERS) - 1))]
        for node in self.nodes:
            self._stack.callback(node.kill)
            node.start()
        for node, first, beyond in zip(self.nodes, _BORDERS, _BORDERS[1:], strict=False):
            told(node, "ADDSLOTS", *range(first, beyond))
            told(self.nodes[0], "MEET", "127.0.0.1", node.port)
        self.wait()
        return self

    def stop(self) -> None:
        """End the nodes and remove what they stored."""
        self._stack.close()

    def wait(self, *, seconds: float = 30) -> None:
        """Wait until every node knows who has which slots and serves its own."""
        wait_for(lambda: all(self._is_whole(node) for node in self.nodes), seconds=seconds, what="a whole cluster")

    def node_of(self, key: str) -> Node:
        """Give the node that has had a key's slot from the beginning."""
        slot = key_slot(key.encode())
        return next(node for node, beyond in zip(self.nodes, _BORDERS[1:], strict=True) if slot < beyond)

    def clear(self) -> None:
        """Remove all keys."""
        for node in self.nodes:
            with node.client() as client:
                client.flushall()

    def announce(self, key: str, owner: Node) -> None:
        """Say, whoever had a key's slot before, that a node has it: for good, and without the keys."""
        slot, name = key_slot(key.encode()), told(owner, "MYID")
        for node in (owner, *self.nodes):
            told(node, "SETSLOT", slot, "STABLE")
            told(node, "SETSLOT", slot, "NODE", name)

    def dispute(self, key: str, one: Node, other: Node) -> None:
        """Let each of two nodes say that the other has a key's slot."""
        slot = key_slot(key.encode())
        for node, wrong in ((other, one), (one, other)):
            told(node, "SETSLOT", slot, "NODE", told(wrong, "MYID"))

    def begin_to_move(self, key: str, *, source: Node, target: Node) -> None:
        """Begin to move a key's slot: what is not there any more is asked for at the target."""
        slot = key_slot(key.encode())
        told(target, "SETSLOT", slot, "IMPORTING", told(source, "MYID"))
        told(source, "SETSLOT", slot, "MIGRATING", told(target, "MYID"))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _is_whole(self, node: Node) -> bool:
        known = told(node, "INFO")
        peers = told(node, "NODES").decode().splitlines()
        served = all(fact in known for fact in (b"cluster_state:ok", b"cluster_slots_ok:16384"))
        return served and len(peers) == len(self.nodes) and not any("fail" in peer for peer in peers)


def told(node: Node, *command: str | bytes | int) -> Any:
    """Give a node's raw answer to a CLUSTER command."""
    with node.client() as client:
        # redis-py gives the answers to some of these another shape.
        connection: Any = client.connection_pool.get_connection()
        try:
            connection.send_command("CLUSTER", *command)
            return connection.read_response()
        finally:
            client.connection_pool.release(connection)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def _free_ports(number: int) -> list[int]:
    """Find ports that are free, as are those of the bus."""
    found: set[int] = set()
    while len(found) < number:
        port = random.choice(_PORTS)
        if _is_free(port) and _is_free(port + _BUS):
            found.add(port)
    return sorted(found)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
