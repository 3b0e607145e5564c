"""The nodes of a Redis Cluster: a client for each, which of them is asked for a key, and which are away.

A node that is away is asked by one caller at a time, once in a while; all others hear at once that it is away. So the
deadline of a call holds, and a node that hangs costs the work on the other nodes little.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from redis import Redis
from redis.exceptions import AskError, MovedError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kommo.store.slots import Address, SlotTable

#: Seconds for which a node that was away is not asked again.
AWAY_SECONDS: Final = 0.5
#: Seconds between two looks at who has which slots while something about it is in doubt.
RELOAD_SECONDS: Final = 1.0
#: By which share a call may take longer when it has to ask several nodes.
_SLACK: Final = 1.1
#: What tells that a node is away, rather than that it is there and refuses.
NOT_HEARD: Final = (RedisConnectionError, RedisTimeoutError)


class Allowance:
    """The time that one call has, however many nodes it has to ask."""

    def __init__(self, hop_seconds: float, clock: Callable[[], float]) -> None:
        self._hop = hop_seconds
        self._clock = clock
        self._ends = clock() + hop_seconds * _SLACK

    def left(self) -> float:
        return max(0.0, self._ends - self._clock())

    def check(self) -> None:
        """See that there is time to ask one more node, even one that hangs; raises redis-py's TimeoutError."""
        if self.left() < self._hop:
            raise RedisTimeoutError("no time left to ask another node of the cluster")


class Nodes:
    """All nodes; safe for threads. Errors are those of redis-py.

    `hop_seconds` is how long a node takes at most to be found away: to connect, and to answer.
    """

    def __init__(
        self,
        seeds: Sequence[Address],
        make: Callable[[Address], Redis],
        *,
        hop_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seeds = seeds
        self._make = make
        self._hop = hop_seconds
        self._clock = clock
        self._clients: dict[Address, Redis] = {}
        self._lock = threading.Lock()
        #: Until when nobody asks those that did not answer when they were asked last.
        self._away: dict[Address, float] = {}
        self._table: SlotTable | None = None
        self._loading = threading.Lock()
        self._in_doubt = False
        self._looked = float("-inf")

    def allowance(self) -> Allowance:
        """Begin the time of a call."""
        return Allowance(self._hop, self._clock)

    def address(self, slot: int, allowance: Allowance) -> Address:
        """Say which node to ask for a slot."""
        address = self._known(allowance).address(slot)
        if address is None:
            self._in_doubt = True
            raise RedisConnectionError(f"no node of the cluster has slot {slot}")
        return address

    def addresses(self, allowance: Allowance) -> Sequence[Address]:
        """Name the nodes that have slots."""
        return self._known(allowance).addresses()

    @contextmanager
    def asking(self, address: Address, allowance: Allowance) -> Iterator[Redis]:
        """Give a node's client; a connection that fails inside the block means that the node is away."""
        allowance.check()
        client = self.claim(address)
        try:
            yield client
        except NOT_HEARD:
            self.lost(address)
            raise
        except RedisError:
            self.answered(address)
            raise
        self.answered(address)

    def claim(self, address: Address) -> Redis:
        """Give a node's client, to be followed by `lost` or `answered`; raises ConnectionError when it is away."""
        if address in self._away:
            with self._lock:
                if self._clock() < self._away.get(address, float("-inf")):
                    raise RedisConnectionError(f"{address} was away a moment ago")
                # This caller asks; the others do not wait for what comes of it.
                self._away[address] = self._clock() + max(self._hop, AWAY_SECONDS)
        return self._client(address)

    def lost(self, address: Address) -> None:
        """Note that a node has not answered."""
        with self._lock:
            self._away[address] = self._clock() + AWAY_SECONDS
        self._in_doubt = True

    def answered(self, address: Address) -> None:
        """Note that a node has answered."""
        if address in self._away:
            with self._lock:
                self._away.pop(address, None)

    def has_others(self) -> bool:
        """Say whether some node is there, for all that is known, though another one is away."""
        table = self._table
        return table is not None and any(address not in self._away for address in table.addresses())

    def target(self, error: AskError, asked: Address) -> Address:
        """Say to where a node has sent a call on. MOVED is for good, ASK for this call.

        https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#moved-redirection
        """
        # A node that does not know its own name means itself, at another port.
        address = Address(str(error.host) or asked.host, int(error.port))
        if isinstance(error, MovedError):
            if self._table is not None:
                self._table = self._table.with_correction(int(error.slot_id), address)
            self._in_doubt = True
        return address

    def close(self) -> None:
        """Let go of all connections; what is asked later connects again."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _client(self, address: Address) -> Redis:
        client = self._clients.get(address)
        if client is None:
            with self._lock:
                client = self._clients.setdefault(address, self._make(address))
        return client

    def _known(self, allowance: Allowance) -> SlotTable:
        table = self._table
        if table is not None and not (self._in_doubt and self._clock() - self._looked >= RELOAD_SECONDS):
            return table
        if self._loading.acquire(timeout=allowance.left() if table is None else 0):
            try:
                if self._table is table:
                    self._load(allowance)
            finally:
                self._loading.release()
        if self._table is None:
            raise RedisConnectionError("no node of the cluster says who has which keys")
        return self._table

    def _load(self, allowance: Allowance) -> None:
        """Ask one node after the other until one tells; nothing changes when none does."""
        self._looked = self._clock()
        known = self._table.addresses() if self._table else []
        node: Any  # redis-py has no types for this
        likely_first = sorted(dict.fromkeys([*known, *self._seeds]), key=self._away.__contains__)
        for address in likely_first:
            try:
                with self.asking(address, allowance) as node:
                    answer = node.execute_command("CLUSTER", "SLOTS")
            except RedisError:
                continue
            if answer:
                self._table, self._in_doubt = SlotTable.read(answer, address), False
                return
