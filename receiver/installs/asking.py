"""The calls of errands: what asks Kommo about a token as it is, and waits longer for a turn than anybody else.

Anybody can bring a code to the doors, so that what comes of it has no head start. It has the patience instead to
outlast that of the calls in front of it.
"""

from typing import Final

from kommo.api.oauth import OAuth, TokenPair
from kommo.api.tokens.access import AccountTokens
from kommo.store.account import Account
from kommo.store.accounts import Credentials
from receiver.installs.calls import ACCOUNT_PATH, Calls

#: Seconds that an exchange waits for its turn: more than the head start of others, so that its turn comes.
_PATIENCE_SECONDS: Final = 20.0


class Asking(Calls):
    """The doors' way to Kommo as errands use it."""

    def exchange(self, code: str, host: str, client_id: str, client_secret: str, redirect_uri: str) -> TokenPair:
        """Change a code into tokens. https://developers.kommo.com/docs/oauth-20"""
        patient = OAuth(self._transport, self._turnstile, api_base_override=self._override, patience=_PATIENCE_SECONDS)
        return patient.exchange(code, host, client_id, client_secret, redirect_uri)

    def ask(self, credentials: Credentials) -> None:
        """Call with this token and no other, whatever the account is marked as; raises Unauthorized for a refusal."""
        self._caller(credentials)("GET", ACCOUNT_PATH)

    def renew(self, account_id: int) -> Account:
        """Renew an account's tokens, whatever it is marked as.

        Raises the ApiError family; AccessEnded has a status if that is what the token endpoint has answered.
        """
        return AccountTokens(self._accounts, self._oauth, account_id, self._override, in_background=False).renew()
