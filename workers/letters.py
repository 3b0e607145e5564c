"""The dead letters of writes, and of what cannot even be read: stored by another version, kept as it lay there."""

import time
import traceback

import structlog

from kommo.api.writes import Write
from kommo.errors import named
from kommo.store.chains import Lease
from kommo.store.dead import DeadLetter, Kind

_log = structlog.get_logger(__name__)


def unreadable(kind: Kind, lease: Lease, error: Exception) -> DeadLetter:
    """Make the dead letter of a leased step or write that cannot be read, with its bytes.

    It is named after lease and chain: a chain that was empty counts its items anew, one token leases many chains, and
    no letter may replace another.
    """
    _log.error(
        "write given up" if kind == "write" else "given up",
        reason="unreadable",
        account=lease.account_id,
        chain=lease.chain,
        exc_info=error,
    )
    return DeadLetter(
        id=f"{lease.token}.{lease.chain}",
        kind=kind,
        account_id=lease.account_id,
        reason="unreadable",
        error=named(error),
        at_ms=time.time_ns() // 1_000_000,
        delivery_id="",
        traceback="".join(traceback.format_exception(error)),
        item={"chain": lease.chain},
        body=lease.item,
    )


def given_up(write: Write, lease: Lease, reason: str, sentence: str, error: Exception | None = None) -> DeadLetter:
    """Make the dead letter of a write."""
    return DeadLetter(
        id=write.id,
        kind="write",
        account_id=lease.account_id,
        reason=reason,
        error=sentence,
        at_ms=time.time_ns() // 1_000_000,
        delivery_id=write.delivery_id,
        traceback="".join(traceback.format_exception(error)) if error else "",
        handler=write.handler,
        attempt=lease.runs + 1,
        item=write.to_record(),
    )
