"""The callers and clients of a process: one connection pool, every account through the fleet's limiter."""

from dataclasses import dataclass
from typing import Any

from kommo.api.address import api_base
from kommo.api.calls import Access, Caller, Turnstile
from kommo.api.client import Client
from kommo.api.later import Later
from kommo.api.protocol import Params
from kommo.api.transport import HttpTransport, Transport
from kommo.errors import RequestError, SettingsError, Unauthorized
from kommo.settings import Settings
from kommo.store.accounts import Accounts, Credentials
from kommo.store.limiter import Limiter, Scope, Slot


@dataclass(frozen=True)
class AccountTurnstile:
    """The limiter as one account's calls meet it."""

    limiter: Limiter
    scopes: tuple[Scope, ...]

    def acquire(self, seconds: float) -> Slot | None:
        return self.limiter.acquire(self.scopes, seconds=seconds)

    def release(self, slot: Slot) -> None:
        self.limiter.release(slot)

    def pause(self, seconds: float) -> None:
        self.limiter.pause(self.scopes[0], seconds=seconds)


class HeldSlot:
    """A slot that was taken before it was known what it is for; spent by one call, or given back."""

    def __init__(self, behind: AccountTurnstile, slot: Slot) -> None:
        self._behind = behind
        self._slot = slot
        self._spent = False

    def acquire(self, seconds: float) -> Slot | None:  # noqa: ARG002 - it is there already
        self._spent = True
        return self._slot

    def release(self, slot: Slot) -> None:
        self._behind.release(slot)

    def pause(self, seconds: float) -> None:
        self._behind.pause(seconds)

    def give_back(self) -> None:
        """Free the slot at once if no call has spent it."""
        if not self._spent:
            self._spent = True
            self._behind.limiter.release(self._slot, used=False)


def check_address(settings: Settings) -> None:
    """See, before anything is sent, that the account's address can be one.

    Raises:
        SettingsError: naming the variable to mend.
    """
    if not settings.access_token:
        return
    missing = [
        f"{name} is not set: KOMMO_ACCESS_TOKEN is, and the account it belongs to has to be known"
        for name, given in (
            ("KOMMO_ACCOUNT_ID", settings.account_id),
            ("KOMMO_SUBDOMAIN", settings.subdomain or settings.api_base),
        )
        if not given
    ]
    if missing:
        raise SettingsError(missing)
    try:
        api_base(settings.subdomain, settings.api_base or None)
    except RequestError as error:
        name = "KOMMO_API_BASE" if settings.api_base else "KOMMO_SUBDOMAIN"
        raise SettingsError([f"{name}: {error}"]) from None


class Clients:
    """Makes clients for accounts; safe for threads."""

    def __init__(
        self, accounts: Accounts, limiter: Limiter, api_base_override: str, transport: Transport | None = None
    ) -> None:
        self._accounts = accounts
        self._limiter = limiter
        self._override = api_base_override or None
        self._transport = transport or HttpTransport()

    def client(self, account_id: int, later: Later | None = None) -> Client:
        """Make the `kommo` object for an account."""
        return Client(_Lazy(self, account_id), account_id=account_id, later=later)

    def turnstile(self, account_id: int) -> AccountTurnstile:
        """Give the account's way through the limiter.

        Raises:
            Unauthorized: there is no token for it.
        """
        return AccountTurnstile(self._limiter, self._accounts.scopes(self._credentials(account_id)))

    def caller(self, account_id: int, turnstile: Turnstile[Slot] | None = None) -> Caller[Slot]:
        """Make what sends the account's calls.

        Raises:
            Unauthorized: there is no token for it.
        """
        credentials = self._credentials(account_id)
        access = Access(api_base(credentials.subdomain, self._override), credentials.token)
        return Caller(access, self._transport, turnstile or self.turnstile(account_id))

    def close(self) -> None:
        self._transport.close()

    def _credentials(self, account_id: int) -> Credentials:
        credentials = self._accounts.credentials(account_id)
        if credentials is None:
            raise Unauthorized(
                f"no access token is known for account {account_id}: set KOMMO_ACCOUNT_ID and KOMMO_ACCESS_TOKEN",
                method="any call to",
                path=f"account {account_id}",
            )
        return credentials


@dataclass(frozen=True)
class _Lazy:
    """Looks the account up when something is sent, so that a handler that calls nothing needs no token."""

    clients: Clients
    account_id: int

    def __call__(self, method: str, path: str, params: Params | None = None, json: object = None) -> Any:
        return self.clients.caller(self.account_id)(method, path, params, json)
