"""Chores: what is done now and then by the clock, whatever else happens."""

import time

import structlog

from workers.runtime import Runtime

_log = structlog.get_logger(__name__)


def trim_inboxes(runtime: Runtime) -> int:
    """Drop handled deliveries past KOMMO_RETENTION or KOMMO_RETENTION_BYTES; say how many."""
    settings = runtime.settings
    received_after_ms = time.time_ns() // 1_000_000 - settings.retention * 1000
    dropped = 0
    for account_id in runtime.inbox.accounts():
        dropped += runtime.inbox.trim(
            account_id, received_after_ms=received_after_ms, max_bytes=settings.retention_bytes
        )
    if dropped:
        _log.info("handled deliveries dropped", deliveries=dropped)
    return dropped
