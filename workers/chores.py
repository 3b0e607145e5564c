"""Chores: what is done now and then by the clock, whatever else happens."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from redis import Redis

from kommo.api.tokens.access import AccountTokens
from kommo.api.tokens.claims import claims_of
from kommo.errors import KommoError, SettingsError, StoreUnavailable
from kommo.store.accounts import Account
from kommo.store.connection import translated
from kommo.store.limiter import Slot
from workers.runtime import Runtime

_log = structlog.get_logger(__name__)
#: Seconds after which a pair is renewed though nobody needs it; Kommo's refresh tokens are good for three months.
IDLE_SECONDS: Final = 30 * 86_400
#: How many pairs are renewed in one go: their calls take turns with those of the handlers.
RENEWED_AT_ONCE: Final = 20
#: Seconds before its end from which a token that nothing renews is warned of.
WARN_SECONDS: Final = 48 * 3600
#: The share of its memory from which Redis counts as nearly full.
NEARLY_FULL: Final = 0.9


def trim_inboxes(runtime: Runtime) -> int:
    """Drop handled deliveries past KOMMO_RETENTION or KOMMO_RETENTION_BYTES; say how many.

    All of them when Redis has hardly any memory left: what is to come is worth more than what is over.
    """
    settings = runtime.settings
    received_after_ms = time.time_ns() // 1_000_000
    if used := memory_used(runtime.redis):
        _log.error("Redis is nearly full: all handled deliveries are dropped", used=f"{used:.0%}")
    else:
        received_after_ms -= settings.retention * 1000
    dropped = 0
    for account_id in runtime.inbox.accounts():
        dropped += runtime.inbox.trim(
            account_id, received_after_ms=received_after_ms, max_bytes=settings.retention_bytes
        )
    if dropped:
        _log.info("handled deliveries dropped", deliveries=dropped)
    return dropped


def memory_used(redis: Redis) -> float:
    """Say how much of its `maxmemory` Redis uses if that is nearly all, else 0."""
    with translated():
        memory: Any = redis.info("memory")
    most = int(memory.get("maxmemory") or 0)
    share = int(memory["used_memory"]) / most if most else 0.0
    return share if share >= NEARLY_FULL else 0.0


def renew_tokens(runtime: Runtime) -> int:
    """Renew the pairs that nobody has renewed for 30 days, first those that nobody has tried to; say how many were."""
    before = time.time() - IDLE_SECONDS
    due = [
        account
        for account in _stored(runtime)
        if account.state == "ready" and account.refresh_token and account.renewed_at < before
    ]
    # By the last attempt, or those that fail for months would be the oldest, and the only ones that are tried.
    due.sort(key=lambda account: max(account.renewed_at, account.tried_at))
    return sum(
        _renewed(AccountTokens(runtime.accounts, runtime.clients.oauth, account.account_id))
        for account in due[:RENEWED_AT_ONCE]
        if not runtime.stopping.is_set()
    )


def warn_of_ends(runtime: Runtime) -> int:
    """Warn once a day of each token that ends within 48 h and that nothing renews; say how many were warned of."""
    now, warned = time.time(), 0
    for account_id, ends in _ends(runtime):
        if 0 < ends < now + WARN_SECONDS and runtime.accounts.remind(account_id):
            moment = datetime.fromtimestamp(ends, UTC).isoformat()
            _log.warning("long-lived token ends: make a new one in Kommo", account=account_id, ends=moment)
            warned += 1
    return warned


def _renewed(tokens: AccountTokens[Slot]) -> bool:
    try:
        tokens.renew()
    except StoreUnavailable:
        raise
    except KommoError as error:
        _log.warning("idle token not renewed", account=tokens.account_id, error=str(error))
        return False
    return True


def _ends(runtime: Runtime) -> Iterator[tuple[int, int]]:
    """Give the accounts with long-lived tokens and when these end."""
    own = runtime.accounts.environment()
    if own:
        yield own.account_id, claims_of(own.token).expires_at
    for account in _stored(runtime):
        if account.state == "ready" and not account.refresh_token:
            yield account.account_id, account.expires_at


def _stored(runtime: Runtime) -> Iterator[Account]:
    for account_id in runtime.accounts.ids():
        try:
            account = runtime.accounts.get(account_id)
        except SettingsError as error:
            _log.error("account cannot be opened", account=account_id, error=str(error))
            continue
        if account:
            yield account
