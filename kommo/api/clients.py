"""The callers and clients of a process: one connection pool, every account through the fleet's limiter."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from redis import Redis

from kommo.api.address import api_base
from kommo.api.calls import Access, Caller, FixedAccess, Turnstile
from kommo.api.client import Client
from kommo.api.coalescing import Coalescer
from kommo.api.doubt import may_be_done
from kommo.api.later import Later
from kommo.api.oauth import OAuth
from kommo.api.per_account import PerAccount
from kommo.api.protocol import Params
from kommo.api.resources.metadata import Metadata
from kommo.api.tokens.access import AccountTokens
from kommo.api.transport import HttpTransport, Transport
from kommo.api.turnstile import AccountTurnstile
from kommo.api.ways import Ways
from kommo.errors import KommoError, RequestError, SettingsError, Unauthorized
from kommo.settings import Settings
from kommo.store.accounts import Accounts, Credentials
from kommo.store.brakes import Brakes
from kommo.store.echoes import Echoes
from kommo.store.keys import Keys
from kommo.store.limiter import Limiter, Slot
from kommo.store.parking import Parking

Headers = Mapping[str, str] | None
Call = tuple[str, str, Params | None, object, Headers]


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


@dataclass(frozen=True)
class Shared:
    """What the fleet shares about its calls."""

    limiter: Limiter
    brakes: Brakes
    parking: Parking
    echoes: Echoes

    @classmethod
    def on(cls, redis: Redis, keys: Keys) -> "Shared":
        """Make the parts on one Redis."""
        return cls(Limiter(redis), Brakes(redis), Parking(redis, keys), Echoes(redis, keys))

    def ways(self, accounts: Accounts) -> Ways:
        """Give the way through them for whatever credentials."""
        return Ways(accounts, self.limiter, self.brakes, self.parking)


class Clients:
    """Makes clients for accounts; safe for threads."""

    def __init__(
        self, accounts: Accounts, shared: Shared, api_base_override: str, transport: Transport | None = None
    ) -> None:
        self._accounts = accounts
        self._shared = shared
        self._override = api_base_override
        self._transport = transport or HttpTransport()
        self._ways = shared.ways(accounts)
        self.oauth = OAuth(self._transport, self._ways, api_base_override=api_base_override)
        # Reads under way at the same time, and names that were looked up, are shared by all clients of an account.
        self._sends = PerAccount(lambda account_id: Coalescer(_Lazy(self, account_id)))
        self._metadata = PerAccount(lambda account_id: Metadata(self._sends[account_id]))

    def client(self, account_id: int, later: Later | None = None) -> Client:
        """Make the `kommo` object for an account."""
        metadata = self._metadata[account_id]
        return Client(self._sends[account_id], account_id=account_id, later=later, metadata=metadata)

    def turnstile(self, account_id: int, *, urgent: bool = True) -> AccountTurnstile:
        """Give the account's way through the limiter; `urgent` comes before writes for later.

        Raises:
            Unauthorized: there is no token for it.
        """
        return replace(self._ways(self._credentials(account_id)), urgent=urgent)

    def caller(self, account_id: int, turnstile: Turnstile[Slot] | None = None) -> Caller[Slot]:
        """Make what sends the account's calls.

        Raises:
            Unauthorized: there is no token for it.
        """
        return Caller(self._tokens(account_id), self._transport, turnstile or self.turnstile(account_id))

    def is_ready(self, account_id: int) -> bool:
        """Say whether there is a good token for the account; a renewal is begun where it has to be, not waited for.

        Raises what AccountTokens.access raises.
        """
        return self._tokens(account_id).is_ready()

    def known_turnstile(self, account_id: int) -> AccountTurnstile | None:
        """Give the account's way through the limiter; None when there is no token for it."""
        credentials = self._accounts.credentials(account_id)
        return self._ways(credentials) if credentials else None

    def careful(self, account_id: int, turnstile: Turnstile[Slot]) -> Caller[Slot]:
        """Make what calls with the account's token as it is: nothing is renewed."""
        credentials = self._credentials(account_id)
        access = Access.at(credentials.subdomain, credentials.token, self._override)
        return Caller(FixedAccess(access), self._transport, turnstile)

    def send(self, account_id: int, call: Call) -> Any:
        """Make a call now; what it writes is known as our own before its webhook can come."""
        method, path, _, json, _ = call
        if method == "GET":
            return self.caller(account_id)(*call)
        expected = self._shared.echoes.expect(account_id, method, path, json)
        try:
            return self.caller(account_id)(*call)
        except KommoError as error:
            if not may_be_done(error):
                self._shared.echoes.withdraw(expected)
            raise

    def close(self) -> None:
        self._transport.close()

    def _tokens(self, account_id: int) -> AccountTokens[Slot]:
        return AccountTokens(self._accounts, self.oauth, account_id, self._override)

    def _credentials(self, account_id: int) -> Credentials:
        credentials = self._accounts.credentials(account_id)
        if credentials is None:
            raise Unauthorized(
                f"no access token is known for account {account_id}: set KOMMO_ACCOUNT_ID and KOMMO_ACCESS_TOKEN, or "
                "add the account with `kommo accounts add`",
                method="any call to",
                path=f"account {account_id}",
            )
        return credentials


@dataclass(frozen=True)
class _Lazy:
    """Looks the account up when something is sent, so that a handler that calls nothing needs no token."""

    clients: Clients
    account_id: int

    def __call__(
        self, method: str, path: str, params: Params | None = None, json: object = None, headers: Headers = None
    ) -> Any:
        return self.clients.send(self.account_id, (method, path, params, json, headers))
