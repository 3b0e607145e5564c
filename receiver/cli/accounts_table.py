"""Show accounts: what a person has to know of each, and nothing that is secret."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.table import Table

from kommo.api.tokens.claims import claims_of
from kommo.cli.desk import Desk
from kommo.errors import SettingsError
from kommo.store.account import Account
from kommo.store.accounts import Credentials
from kommo.store.brakes import ScopeState
from kommo.store.parking import Parked
from kommo.store.renewals import Pause
from receiver.watched import column

#: Seconds before its end from which a long-lived token is warned of.
WARN_SECONDS = 48 * 3600
_HEADINGS = (
    *("account", "subdomain", "state", "token ends", "refresh ends", "waiting writes", "requests a second"),
    "webhook",
)


def table_of(desk: Desk, *, now: float) -> Table:
    """Make the table of all accounts, the stored ones and that of the environment."""
    table = Table(*_HEADINGS)
    for row in _rows(desk, now):
        table.add_row(*row)
    return table


def moment(seconds: int, *, now: float) -> str:
    """Say a moment (unix seconds) and, when it is near or over, that it is."""
    if not seconds:
        return "not known"
    said = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    left = seconds - now
    if left <= 0:
        return f"{said} (ended)"
    return f"{said} (in {int(left // 3600)} h)" if left <= WARN_SECONDS else said


def limits(states: Sequence[ScopeState]) -> str:
    """Say what is allowed now by integration, account and address, and what stands still."""
    return ", ".join(f"{state.scope.name.partition(':')[0]} {_limit(state)}" for state in states)


def _limit(state: ScopeState) -> str:
    said = (
        str(state.allowed)
        if state.allowed == state.scope.per_second
        else f"{state.allowed} of {state.scope.per_second}"
    )
    if state.blocked:
        return f"{said} (blocked)"
    return f"{said} (paused {state.paused_seconds:.0f} s)" if state.paused_seconds else said


def _rows(desk: Desk, now: float) -> Iterator[Sequence[str]]:
    known = desk.accounts.ids()
    for account_id in known:
        try:
            account = desk.accounts.get(account_id)
        except SettingsError as error:
            yield (str(account_id), "", str(error), *[""] * (len(_HEADINGS) - 3))
            continue
        if account:
            yield _stored_row(desk, account, now)
    own = desk.accounts.environment()
    if own and own.account_id not in known:
        yield _row(desk, own, "ready, of the environment", claims_of(own.token).expires_at, "long-lived", now)


def _stored_row(desk: Desk, account: Account, now: float) -> Sequence[str]:
    state = {"needs_person": "needs a person"}.get(account.state, account.state)
    shown = f"{state}: {account.reason}" if account.reason else state
    if account.state == "ready" and (pause := desk.accounts.renewals.pause(account.account_id)):
        shown = f"{shown}; {_not_renewed(pause)}"
    refresh = moment(account.refresh_expires_at, now=now) if account.refresh_token else "long-lived"
    if not account.access_token:
        refresh = ""
    known = Credentials(
        account.account_id, desk.accounts.resolved(account).client_id, account.subdomain, account.access_token
    )
    return _row(desk, known, shown, account.expires_at, refresh, now)


def _row(desk: Desk, known: Credentials, state: str, ends: int, refresh: str, now: float) -> Sequence[str]:
    parked = desk.shared.parking.state(known.account_id)
    return (
        str(known.account_id),
        known.subdomain,
        f"{state}; {_parked(parked)}" if parked else state,
        moment(ends, now=now) if known.token else "",
        refresh,
        str(desk.outbox.waiting(known.account_id)),
        limits([desk.shared.brakes.state(scope) for scope in desk.accounts.scopes(known)]),
        column(desk.redis, desk.keys, known.account_id),
    )


def _not_renewed(pause: Pause) -> str:
    again = f"again in {pause.seconds:.0f} s" if pause.seconds else "again with the next call"
    return f"token not renewed, {again}: {pause.fault or f'Kommo gave none {pause.failed} times'}"


def _parked(parked: Parked) -> str:
    return f"writes wait ({parked.reason})"
