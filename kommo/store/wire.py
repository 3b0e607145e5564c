"""Send commands over one connection in one go, and read their replies.

redis-py puts about 20 µs of its own around each command of a pipeline: commands are objects there, and each reply
passes through callbacks, retries and metrics. The scripts are what this program does all day, so that they go without.
"""

import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from typing import Any, Final

from hiredis import pack_command
from redis import Redis
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

Command = tuple[str | int | bytes, ...]
#: Its stub knows tuples of one element only.
_pack: Final[Any] = pack_command
#: Seconds for which a reply is waited for when there is no time left: what has come already is taken.
_LEAST_SECONDS: Final = 0.001
_ENDS: Final[ContextVar[float | None]] = ContextVar("ends", default=None)


class Until:
    """Lets every exchange in a `with` block wait for its replies up to then (time.monotonic), all of them together.

    Without it each reply may take as long as is usual for the connection: fifty of them fifty times as long. After then
    nothing is sent. How long connecting and sending may take is not changed by this, nor is what redis-py itself sends;
    a Redis Cluster has an allowance of its own for each exchange.
    """

    # No generator, which would cost three times as much: each delivery passes here.
    __slots__ = ("_ends", "_token")

    _token: Token[float | None]

    def __init__(self, ends: float) -> None:
        self._ends = ends

    def __enter__(self) -> None:
        self._token = _ENDS.set(self._ends)

    def __exit__(self, *_: object) -> None:
        _ENDS.reset(self._token)


def exchange(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """Send commands, and give for each its reply; an error of the server stands in its place as a ResponseError.

    Raises:
        redis.exceptions.ConnectionError, redis.exceptions.TimeoutError: which of them were executed is not known.
    """
    ends = _ENDS.get()
    if ends is None:
        return receive(redis, send(redis, commands), len(commands))
    if time.monotonic() >= ends:
        raise RedisTimeoutError("no time was left to ask")
    return receive(redis, send(redis, commands), len(commands), left=lambda: ends - time.monotonic())


def send(redis: Redis, commands: Sequence[Command]) -> Any:
    """Send commands; give the connection on which `receive` has to wait for their replies, or `abandon` not to."""
    connection: Any = redis.connection_pool.get_connection()
    try:
        packed = b"".join([_pack(command) for command in commands])
        connection.send_packed_command([packed], check_health=False)
    except BaseException:
        abandon(redis, connection)
        raise
    return connection


def receive(redis: Redis, connection: Any, number: int, *, left: Callable[[], float] | None = None) -> list[Any]:
    """Read so many replies; with `left` none is waited for longer than so many seconds, whatever is usual."""
    try:
        return [_reply(connection, left) for _ in range(number)]
    except BaseException:
        # Replies that are still on their way must not be taken for those of the next commands.
        connection.disconnect()
        raise
    finally:
        redis.connection_pool.release(connection)


def abandon(redis: Redis, connection: Any) -> None:
    """Give a connection up on which replies may still come."""
    connection.disconnect()
    redis.connection_pool.release(connection)


def _reply(connection: Any, left: Callable[[], float] | None) -> Any:
    wait: dict[str, float] = {}
    if left is not None and (most := left()) < connection.socket_timeout:
        wait["timeout"] = max(most, _LEAST_SECONDS)
    try:
        return connection.read_response(**wait)
    except ResponseError as error:
        return error
