"""Which node of a Redis Cluster keeps which keys.

A key's slot is computed, and CLUSTER SLOTS says which node has the slot.
https://redis.io/docs/latest/commands/cluster-slots/
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from redis.crc import key_slot


class Address(NamedTuple):
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Range(NamedTuple):
    """Slots that follow one another, both ends included, and the node that may write to their keys."""

    first: int
    last: int
    address: Address


@dataclass(frozen=True, slots=True)
class SlotTable:
    """All slots as one node knew them, in order, and those that other nodes have since corrected."""

    ranges: Sequence[Range]
    corrected: Mapping[int, Address] = field(default_factory=dict)

    @classmethod
    def read(cls, answer: Sequence[Any], asked: Address) -> "SlotTable":
        """Read the answer to CLUSTER SLOTS. A node that does not know its own name is the one that was asked."""
        ranges = [Range(int(first), int(last), _address(node, asked)) for first, last, node, *_replicas in answer]
        return cls(sorted(ranges))

    def address(self, slot: int) -> Address | None:
        """Give the node that has a slot; None when no node has it."""
        if slot in self.corrected:
            return self.corrected[slot]
        place = bisect_right(self.ranges, slot, key=lambda one: one.first) - 1
        return self.ranges[place].address if place >= 0 and slot <= self.ranges[place].last else None

    def with_correction(self, slot: int, address: Address) -> "SlotTable":
        """Note that a slot is elsewhere by now."""
        return replace(self, corrected={**self.corrected, slot: address})

    def addresses(self) -> Sequence[Address]:
        """Name every node that has slots, each once."""
        return list(dict.fromkeys([*(one.address for one in self.ranges), *self.corrected.values()]))


def slot_of(key: str | bytes) -> int:
    """Compute a key's slot; keys with the same text in braces have the same one."""
    return key_slot(key.encode() if isinstance(key, str) else key)


def _address(node: Sequence[Any], asked: Address) -> Address:
    host = node[0].decode() if isinstance(node[0], bytes) else node[0]
    return Address(host if host and host != "?" else asked.host, int(node[1]))
