"""Which of Redis's errors mean that it is away, and which are faults of ours."""

import pytest
from redis import exceptions

from kommo.errors import StoreUnavailable
from kommo.store.connection import translated

AWAY = [
    exceptions.ConnectionError("Error 111 connecting to 127.0.0.1:6379. Connection refused."),
    exceptions.TimeoutError("Timeout reading from socket"),
    exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    exceptions.ReadOnlyError("You can't write against a read only replica."),
    exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
    exceptions.ClusterDownError("CLUSTERDOWN The cluster is down"),
    exceptions.ClusterError("TTL exhausted."),
    exceptions.MovedError("3999 127.0.0.1:6381"),
    exceptions.AskError("3999 127.0.0.1:6381"),
    exceptions.TryAgainError("Multiple keys request during rehashing of slot"),
    exceptions.MasterDownError("MASTERDOWN Link with MASTER is down"),
    exceptions.MaxConnectionsError("Too many connections"),
    exceptions.AuthenticationError("invalid username-password pair"),
    exceptions.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
    exceptions.ResponseError("LOADING Redis is loading the dataset in memory"),
    exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."),
    exceptions.ResponseError("TRYAGAIN Multiple keys request during rehashing of slot"),
    # As Redis 7 and Redis 6.2 report what stopped a script half-way.
    exceptions.ResponseError("MISCONF Errors writing to the AOF file: disk full script: 5e1, on @user_script:9."),
    exceptions.ResponseError(
        "Error running script (call to f_5e1): @user_script:9: @user_script: 9: "
        "-OOM command not allowed when used memory > 'maxmemory'."
    ),
    exceptions.ResponseError(
        "Error running script (call to f_5e1): @user_script:9: @user_script: 9: "
        "-MISCONF Errors writing to the AOF file: No space left on device"
    ),
    exceptions.ResponseError(
        "Error running script (call to f_5e1): @user_script:9: @user_script: 9: "
        "-READONLY You can't write against a read only replica."
    ),
]

OURS = [
    exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
    exceptions.ResponseError("user_script:9: Script attempted to access nonexistent global variable 'x'"),
    exceptions.NoScriptError("No matching script. Please use EVAL."),
    exceptions.DataError("Invalid input of type: 'NoneType'."),
    exceptions.NoPermissionError("this user has no permissions to run the 'eval' command"),
    exceptions.ResponseError("unknown command 'ROOM'"),
    exceptions.ResponseError("wrong: OOMPH and MISCONFIGURED are no words of Redis's"),
    ValueError("OOM"),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: f"{type(error).__name__} {str(error)[:12]}")
def test_a_redis_that_cannot_do_it_now_is_away(error: Exception) -> None:
    with pytest.raises(StoreUnavailable, match="Redis cannot do it now: ") as caught, translated():
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", OURS, ids=lambda error: f"{type(error).__name__} {str(error)[:12]}")
def test_anything_else_comes_through_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, translated():
        raise error
    assert caught.value is error


def test_nothing_wrong_is_nothing_changed() -> None:
    with translated():
        value = 1
    assert value == 1
