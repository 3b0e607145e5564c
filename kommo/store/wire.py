"""Send commands over one connection in one go, and read their replies.

redis-py puts about 20 µs of its own around each command of a pipeline: commands are objects there, and each reply
passes through callbacks, retries and metrics. The scripts are what this program does all day, so that they go without.
"""

from collections.abc import Sequence
from typing import Any, Final

from hiredis import pack_command
from redis import Redis
from redis.exceptions import ResponseError

Command = tuple[str | int | bytes, ...]
#: Its stub knows tuples of one element only.
_pack: Final[Any] = pack_command


def exchange(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """Send commands, and give for each its reply; an error of the server stands in its place as a ResponseError.

    Raises:
        redis.exceptions.ConnectionError, redis.exceptions.TimeoutError: which of them were executed is not known.
    """
    pool = redis.connection_pool
    connection: Any = pool.get_connection()
    try:
        packed = b"".join([_pack(command) for command in commands])
        connection.send_packed_command([packed], check_health=False)
        return [_reply(connection) for _ in commands]
    except BaseException:
        # Replies that are still on their way must not be taken for those of the next commands.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
