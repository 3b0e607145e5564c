"""Which integrations can be installed here: the environment's, and the private ones of stored accounts."""

from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from kommo.errors import SettingsError
from kommo.settings import Settings
from kommo.store.accounts import Account, Accounts
from kommo.variables import Secret

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Integration:
    """Whose keys are used: the environment's, or those of the one account that has a private integration."""

    client_id: str
    client_secret: Secret
    redirect_uri: str
    #: The account to which a private integration belongs.
    owner: Account | None = None


def find_integration(settings: Settings, accounts: Accounts, client_id: str) -> Integration | None:
    """Look an integration up by its id, "" being the environment's; None when nobody knows it."""
    if client_id in ("", settings.client_id):
        return Integration(settings.client_id, settings.client_secret, settings.redirect)
    for stored in _readable(accounts):
        if stored.client_id == client_id and stored.client_secret:
            known = accounts.resolved(stored)
            return Integration(client_id, known.client_secret, known.redirect_uri, stored)
    return None


def stored_account(accounts: Accounts, account_id: int) -> Account | None:
    """Read a stored account; None, and a line in the log, for one that no key of KOMMO_TOKEN_KEYS opens."""
    try:
        return accounts.get(account_id)
    except SettingsError as error:
        _log.warning("stored account cannot be opened", account=account_id, error=str(error))
        return None


def _readable(accounts: Accounts) -> Iterator[Account]:
    """Give the stored accounts one by one; a record that cannot be read is its own account's affair."""
    for account_id in accounts.ids():
        if stored := stored_account(accounts, account_id):
            yield stored
