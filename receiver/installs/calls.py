"""The calls that the doors make: for accounts on their first day, and to see whether one has ended.

Both go past the parking of accounts. For what an account was parked is over when it is installed anew, and whether its
token is still accepted can be told by nothing but a call.
"""

import threading
from typing import Any, Final

from kommo.api.address import api_base
from kommo.api.calls import Access, Caller, FixedAccess, Tokens
from kommo.api.client import Client
from kommo.api.clients import Shared
from kommo.api.oauth import OAuth, TokenPair
from kommo.api.tokens.access import AccountTokens
from kommo.api.transport import HttpTransport
from kommo.api.turnstile import AccountTurnstile
from kommo.errors import Action, ApiError, ServerError
from kommo.settings import Settings
from kommo.store.accounts import Accounts, Credentials
from kommo.store.limiter import Slot
from kommo.variables import Secret

ACCOUNT_PATH: Final = "/api/v4/account"
#: Seconds for which an address that Kommo has blocked is left alone by the doors.
_BLOCKED_SECONDS: Final = 300.0
#: There the account is blocked instead of the address that its calls come from.
_AMOCRM: Final = (".amocrm.ru", ".amocrm.com")


class UnparkedTurnstile(AccountTurnstile):
    """The limits of an account without its parking, which is neither asked nor changed."""

    def admit(self, method: str, path: str) -> bool:  # noqa: ARG002 - every call may go out
        """Let every call pass."""
        return False

    def worked(self, method: str) -> None:
        """Change nothing."""

    def heed(self, error: ApiError, method: str) -> None:
        """Slow down. Of a block, only the pause: whether it is over is found out for accounts that are stored."""
        if error.action is Action.SLOW_DOWN:
            super().heed(error, method)
        elif error.action is Action.STOP:
            self.brakes.slow(self.scopes[-1:], after=error.after or _BLOCKED_SECONDS)


class Calls:
    """The doors' way to Kommo; safe for threads. All of it may raise the ApiError family."""

    def __init__(self, settings: Settings, accounts: Accounts, shared: Shared) -> None:
        self._accounts = accounts
        self._shared = shared
        self._override = settings.api_base
        self._open: HttpTransport | None = None
        self._opening = threading.Lock()

    def exchange(self, code: str, host: str, client_id: str, client_secret: str, redirect_uri: str) -> TokenPair:
        """Change a code into tokens. https://developers.kommo.com/docs/oauth-20"""
        return self._oauth.exchange(code, host, client_id, client_secret, redirect_uri)

    def owner(self, host: str, client_id: str, token: Secret) -> int:
        """Say which account a new token belongs to, as `GET /api/v4/account` does."""
        answer: Any = self._caller(Credentials(0, client_id, host, token))("GET", ACCOUNT_PATH)
        number = answer.get("id") if isinstance(answer, dict) else None
        if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
            raise ServerError("the answer names no account", method="GET", path=ACCOUNT_PATH)
        return number

    def register(self, credentials: Credentials, url: str, events: tuple[str, ...]) -> None:
        """Subscribe a URL to events. https://developers.kommo.com/docs/webhooks-general"""
        client = Client(self._caller(credentials), account_id=credentials.account_id)
        client.webhooks.register(url, events)

    def ask(self, credentials: Credentials) -> None:
        """Call with what is stored, renewing it once; raises Unauthorized when Kommo accepts it no more."""
        tokens = AccountTokens(self._accounts, self._oauth, credentials.account_id, self._override)
        self._caller(credentials, tokens)("GET", ACCOUNT_PATH)

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

    @property
    def _oauth(self) -> OAuth[Slot]:
        return OAuth(self._transport, self._turnstile, api_base_override=self._override)

    def _caller(self, credentials: Credentials, tokens: Tokens | None = None) -> Caller[Slot]:
        base = api_base(credentials.subdomain, self._override or None)
        fixed = FixedAccess(Access(base, credentials.token))
        return Caller(tokens or fixed, self._transport, self._turnstile(credentials))

    def _turnstile(self, credentials: Credentials) -> UnparkedTurnstile:
        shared = self._shared
        return UnparkedTurnstile(
            credentials.account_id,
            self._accounts.scopes(credentials),
            shared.limiter,
            shared.brakes,
            shared.parking,
            blocked_by_address=not credentials.subdomain.endswith(_AMOCRM),
        )
