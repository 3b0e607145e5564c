"""The calls that the doors make: for accounts on their first day, and to see whether one has ended.

Both go past the parking of accounts. For what an account was parked is over when it is installed anew, and whether its
token is still accepted can be told by nothing but a call. Anybody can bring a code to the doors, so that what comes of
it has no head start in the limiter; it has the patience instead to outlast that of the calls in front of it.
"""

import threading
from typing import Final

from kommo.api.calls import Access, Caller, FixedAccess
from kommo.api.client import Client
from kommo.api.clients import Shared
from kommo.api.oauth import PATIENCE_SECONDS, OAuth, TokenPair
from kommo.api.tokens.access import AccountTokens
from kommo.api.transport import HttpTransport
from kommo.errors import ServerError
from kommo.settings import Settings
from kommo.store.account import Account
from kommo.store.accounts import Accounts, Credentials
from kommo.store.limiter import Slot
from kommo.variables import Secret

ACCOUNT_PATH: Final = "/api/v4/account"
#: Seconds that an exchange waits for its turn: more than the head start of others, so that its turn comes.
_PATIENCE_SECONDS: Final = 20.0


def account_number(answer: object) -> int:
    """Read the number of an account out of what `GET /api/v4/account` has answered; raises ServerError."""
    number = answer.get("id") if isinstance(answer, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
        raise ServerError("the answer names no account", method="GET", path=ACCOUNT_PATH)
    return number


class Calls:
    """The doors' way to Kommo; safe for threads. All of it may raise the ApiError family."""

    def __init__(self, settings: Settings, accounts: Accounts, shared: Shared) -> None:
        self._accounts = accounts
        self._ways = shared.ways(accounts)
        self._override = settings.api_base
        self._open: HttpTransport | None = None
        self._opening = threading.Lock()

    def exchange(self, code: str, host: str, client_id: str, client_secret: str, redirect_uri: str) -> TokenPair:
        """Change a code into tokens. https://developers.kommo.com/docs/oauth-20"""
        return self._oauth(patience=_PATIENCE_SECONDS).exchange(code, host, client_id, client_secret, redirect_uri)

    def owner(self, host: str, client_id: str, token: Secret) -> int:
        """Say which account a new token belongs to, as `GET /api/v4/account` does."""
        return account_number(self._caller(Credentials(0, client_id, host, token))("GET", ACCOUNT_PATH))

    def ask(self, credentials: Credentials) -> None:
        """Call with this token and no other, whatever the account is marked as; raises Unauthorized for a refusal."""
        self._caller(credentials)("GET", ACCOUNT_PATH)

    def renew(self, account_id: int) -> Account:
        """Renew an account's tokens, whatever it is marked as.

        Raises the ApiError family; AccessEnded has a status if that is what the token endpoint has answered.
        """
        return AccountTokens(self._accounts, self._oauth(), account_id, self._override, in_background=False).renew()

    def register(self, credentials: Credentials, url: str, events: tuple[str, ...]) -> None:
        """Subscribe a URL to events. https://developers.kommo.com/docs/webhooks-general"""
        client = Client(self._caller(credentials), account_id=credentials.account_id)
        client.webhooks.register(url, events)

    def rest(self) -> None:
        """Let go of every connection while there is nothing to call for; no call may be under way."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @property
    def _transport(self) -> HttpTransport:
        # Made with the first call: most processes never make one, and it belongs behind a server's fork.
        with self._opening:
            self._open = self._open or HttpTransport()
            return self._open

    def _oauth(self, *, patience: float = PATIENCE_SECONDS) -> OAuth[Slot]:
        return OAuth(self._transport, self._ways.unparked, api_base_override=self._override, patience=patience)

    def _caller(self, credentials: Credentials) -> Caller[Slot]:
        fixed = FixedAccess(Access.at(credentials.subdomain, credentials.token, self._override))
        return Caller(fixed, self._transport, self._ways.unparked(credentials))
