"""A worker whose consumer goes deaf as soon as it has started: it lives, and takes nothing."""

import os
from typing import Any

from celery import signals

from tests.scenario import dying
from workers import sweeper, watchdog

router = dying.router

watchdog.STARVED_SECONDS = 3.0  # type: ignore[misc]  # a minute is too long for a test
watchdog.EVERY_SECONDS = 0.5  # type: ignore[misc]


@signals.worker_ready.connect
def deafen(sender: Any, **_: Any) -> None:
    """Stop listening; with `DEAF=sweeping` the sweepers go on doing the work, and nobody is ended for it."""
    how = os.environ.get("DEAF")
    if how == "sweeping":
        watchdog.STARVED_SECONDS = 600.0  # type: ignore[misc]  # the other half is to be seen
    elif how:
        sweeper._UNHEARD_MS = 10**9  # type: ignore[misc]  # likewise
    if how:
        sender.task_consumer.cancel()
