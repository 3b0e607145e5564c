"""Connect to Redis: no retries behind our back, short deadlines, one error for "Redis is away"."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from kommo.errors import StoreUnavailable
from kommo.store.cluster import ClusterRedis
from kommo.variables import is_cluster

#: Seconds in which a receiver's connection has to stand and an answer has to come: together they stay under the
#: half second after which a delivery counts as not stored.
RECEIVER_CONNECT: Final = 0.2
RECEIVER_ANSWER: Final = 0.25
#: The same for workers, who have nobody waiting.
WORKER_CONNECT: Final = 1.0
WORKER_ANSWER: Final = 2.0

_AWAY: Final = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    ClusterDownError,
    ClusterError,
    # Sent elsewhere by a cluster on the move (a MovedError is one too), without the words below in the text.
    AskError,
    TryAgainError,
)
#: Answers of a Redis that is there but cannot store; an error inside a script comes with the script's name around it.
_AWAY_ANSWERS: Final = re.compile(
    r"(?:^|[\s-])(?:BUSY|OOM|MISCONF|READONLY|LOADING|CLUSTERDOWN|MASTERDOWN|NOREPLICAS|TRYAGAIN)\b"
)


def connect(url: str, *, connect_seconds: float = WORKER_CONNECT, answer_seconds: float = WORKER_ANSWER) -> Redis:
    """Make a client for `url`; nothing is sent yet. Retries are off: a script that is sent twice runs twice."""
    options: dict[str, Any] = {
        "socket_connect_timeout": connect_seconds,
        "socket_timeout": answer_seconds,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": 0,
    }
    if is_cluster(url):
        return ClusterRedis(url, hop_seconds=connect_seconds + answer_seconds, options=options)
    return Redis.from_url(url, **options)


@contextmanager
def translated() -> Iterator[None]:
    """Turn every error that means "Redis is away" into StoreUnavailable, and let the others through."""
    try:
        yield
    except _AWAY as error:
        raise StoreUnavailable(_sentence(error)) from error
    except ResponseError as error:
        if not _AWAY_ANSWERS.search(str(error)):
            raise
        raise StoreUnavailable(_sentence(error)) from error


def now_ms(redis: Redis, *, beside: str = "") -> int:
    """Read Redis's clock, the one by which leases and due times are kept; of a Cluster that `beside` a key."""
    answer: Any = redis.now(beside) if beside and isinstance(redis, ClusterRedis) else redis.time()
    seconds, micros = answer
    return int(seconds) * 1000 + int(micros) // 1000


def is_partly_away(redis: Redis) -> bool:
    """Say of a Redis that was just found away whether that is a node of a Cluster, and others are there."""
    return isinstance(redis, ClusterRedis) and redis.is_partly_there()


def _sentence(error: RedisError) -> str:
    return f"Redis cannot do it now: {error}"
