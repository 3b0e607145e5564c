"""Send commands over one connection in one go, and read their replies.

redis-py puts about 20 µs of its own around each command of a pipeline: commands are objects there, and each reply
passes through callbacks, retries and metrics. The scripts are what this program does all day, so that they go without.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from hiredis import pack_command
from redis import Redis
from redis.exceptions import ResponseError

Command = tuple[str | int | bytes, ...]
#: Its stub knows tuples of one element only.
_pack: Final[Any] = pack_command
#: Seconds for which a reply is waited for when there is no time left: what has come already is taken.
_LEAST_SECONDS: Final = 0.001


def exchange(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """Send commands, and give for each its reply; an error of the server stands in its place as a ResponseError.

    Raises:
        redis.exceptions.ConnectionError, redis.exceptions.TimeoutError: which of them were executed is not known.
    """
    return receive(redis, send(redis, commands), len(commands))


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
        if left is None:
            return [_reply(connection) for _ in range(number)]
        usual = connection.socket_timeout
        return [_reply(connection, timeout=max(min(left(), usual), _LEAST_SECONDS)) for _ in range(number)]
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


def _reply(connection: Any, **wait: float) -> Any:
    try:
        return connection.read_response(**wait)
    except ResponseError as error:
        return error
