"""Renew in a thread of its own, so that a call waits for the result no longer than it can."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import structlog

from kommo.errors import KommoError, PaymentRequired, TryLater

_log = structlog.get_logger(__name__)
T = TypeVar("T")


def begin(renewal: Callable[[], T], account_id: int) -> Future[T]:
    """Begin a renewal; when its process ends meanwhile, another one sends the same refresh token again.

    Raises:
        RuntimeError: there can be no more threads.
    """
    came: Future[T] = Future()
    threading.Thread(target=_run, args=(renewal, account_id, came), name="renew token", daemon=True).start()
    return came


def _run(renewal: Callable[[], T], account_id: int, came: Future[T]) -> None:
    try:
        came.set_result(renewal())
    except (TryLater, PaymentRequired) as error:
        _log.warning("token not renewed, again with the same", account=account_id, error=str(error))
        came.set_exception(error)
    except KommoError as error:
        came.set_exception(error)
    except BaseException as error:  # perhaps nobody waits who could tell it
        _log.exception("renewal failed", account=account_id)
        came.set_exception(error)
