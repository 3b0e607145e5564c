"""The accounts: whose secret proves a delivery, and with which token and address Kommo is called."""

from dataclasses import dataclass

from kommo.settings import Settings
from kommo.store.limiter import Scope
from kommo.variables import Secret


@dataclass(frozen=True, slots=True)
class Proof:
    """What a delivery of an account is proven with."""

    client_id: str
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Credentials:
    """With what an account's API is called."""

    account_id: int
    client_id: str
    #: The account's name at Kommo, or its full host.
    subdomain: str
    token: Secret


class Accounts:
    """The accounts that this process may serve: those of the environment.

    An integration proves deliveries of any account that installed it; it calls those that it has a token for.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def proof(self, account_id: int) -> Proof:  # noqa: ARG002 - every account's integration is the environment's
        """Give what a delivery of this account has to be proven with."""
        return Proof(self._settings.client_id, self._settings.client_secrets)

    def credentials(self, account_id: int) -> Credentials | None:
        """Give what the account's API is called with; None when there is no token for it."""
        settings = self._settings
        if settings.account_id != account_id or not settings.access_token:
            return None
        return Credentials(account_id, settings.client_id, settings.subdomain, settings.access_token)

    def scopes(self, credentials: Credentials) -> tuple[Scope, ...]:
        """Name the limits that a call to this account counts in."""
        limits, settings = self._settings.rate_limits, self._settings
        return (
            Scope(f"integration:{credentials.client_id}:{credentials.account_id}", limits["integration"]),
            Scope(f"account:{credentials.account_id}", limits["account"]),
            Scope(f"ip:{settings.egress}", limits["ip"]),
        )
