"""Send scripts to the nodes of a Redis Cluster that have their keys, all nodes at once, and read their replies.

What a node sends on to another one was not executed, and is sent there, once. Those with the same first key go to the
same node, in their order.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis
from redis.exceptions import AskError, MovedError, RedisError

from kommo.store import wire
from kommo.store.nodes import NOT_HEARD, Allowance, Nodes
from kommo.store.slots import Address, slot_of

#: Where EVAL and EVALSHA have their first key: command, script, number of keys, key.
FIRST_KEY: Final = 3
_ASKING: Final[wire.Command] = ("ASKING",)


@dataclass(frozen=True, slots=True)
class _Errand:
    """A script on its way: its place among all of them, and the node that is asked."""

    place: int
    command: wire.Command
    address: Address
    asks: bool = False


@dataclass(frozen=True, slots=True)
class _Asked:
    """A node that was given errands, and the connection on which it answers."""

    address: Address
    client: Redis
    connection: Any
    errands: Sequence[_Errand]


def exchange(nodes: Nodes, commands: Sequence[wire.Command]) -> list[Any]:
    """Send scripts (EVAL, EVALSHA), and give for each its reply; an error of any kind stands in its place.

    A script that was given to a node that does not answer may have been executed or not.
    """
    allowance, replies = nodes.allowance(), [None] * len(commands)
    errands = _addressed(nodes, commands, allowance, replies)
    _go(nodes, errands, allowance, replies)
    _go(nodes, _sent_on(nodes, errands, replies), allowance, replies)
    return replies


def _addressed(
    nodes: Nodes, commands: Sequence[wire.Command], allowance: Allowance, replies: list[Any]
) -> list[_Errand]:
    errands: list[_Errand] = []
    for place, command in enumerate(commands):
        try:
            address = nodes.address(slot_of(str(command[FIRST_KEY])), allowance)
        except NOT_HEARD as error:
            replies[place] = error
        else:
            errands.append(_Errand(place, command, address))
    return errands


def _sent_on(nodes: Nodes, errands: Iterable[_Errand], replies: Sequence[Any]) -> list[_Errand]:
    return [
        _Errand(one.place, one.command, nodes.target(reply, one.address), asks=not isinstance(reply, MovedError))
        for one in errands
        if isinstance(reply := replies[one.place], AskError)
    ]


def _go(nodes: Nodes, errands: Iterable[_Errand], allowance: Allowance, replies: list[Any]) -> None:
    """Give all nodes their errands before the first reply is waited for."""
    groups: dict[Address, list[_Errand]] = {}
    for one in errands:
        groups.setdefault(one.address, []).append(one)
    asked: deque[_Asked] = deque()
    try:
        for address, group in groups.items():
            try:
                asked.append(_give(nodes, address, group, allowance))
            except NOT_HEARD as error:
                _fail(group, error, replies)
        while asked:
            _hear(nodes, asked.popleft(), allowance, replies)
    finally:
        for left in asked:
            wire.abandon(left.client, left.connection)


def _give(nodes: Nodes, address: Address, group: Sequence[_Errand], allowance: Allowance) -> _Asked:
    allowance.check()
    client = nodes.claim(address)
    commands = [command for one in group for command in ((_ASKING, one.command) if one.asks else (one.command,))]
    try:
        return _Asked(address, client, wire.send(client, commands), group)
    except NOT_HEARD:
        nodes.lost(address)
        raise


def _hear(nodes: Nodes, asked: _Asked, allowance: Allowance, replies: list[Any]) -> None:
    number = sum(1 + one.asks for one in asked.errands)
    try:
        heard = iter(wire.receive(asked.client, asked.connection, number, left=allowance.left))
    except NOT_HEARD as error:
        nodes.lost(asked.address)
        _fail(asked.errands, error, replies)
        return
    nodes.answered(asked.address)
    for one in asked.errands:
        if one.asks:
            next(heard)
        replies[one.place] = next(heard)


def _fail(errands: Iterable[_Errand], error: RedisError, replies: list[Any]) -> None:
    for one in errands:
        replies[one.place] = error
