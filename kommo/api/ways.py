"""The way to Kommo for whatever credentials: the same limits for the token endpoint as for all other calls."""

from dataclasses import dataclass
from typing import Final

from kommo.api.turnstile import AccountTurnstile
from kommo.errors import Action, ApiError
from kommo.store.accounts import Accounts, Credentials
from kommo.store.brakes import Brakes
from kommo.store.limiter import Limiter
from kommo.store.parking import Parking

#: Where Kommo blocks the account instead of the address that its calls come from.
_AMOCRM: Final = (".amocrm.ru", ".amocrm.com")
#: Seconds for which an address that Kommo has blocked is left alone by calls for unknown accounts.
_BLOCKED_SECONDS: Final = 300.0


class StrangersTurnstile(AccountTurnstile):
    """The limits of an account that is not known yet: a token is tried, or a code exchanged, before it has a number.

    It cannot be parked, and there is no account whose careful call could find out that a block is over.
    """

    def admit(self, method: str, path: str) -> bool:  # noqa: ARG002 - every call may go out
        """Let every call pass."""
        return False

    def heed(self, error: ApiError, method: str) -> None:
        """Slow down; of a block, only the pause."""
        if error.action is Action.SLOW_DOWN:
            super().heed(error, method)
        elif error.action is Action.STOP:
            self.brakes.slow(self.scopes[-1:], after=error.after or _BLOCKED_SECONDS)


@dataclass(frozen=True)
class Ways:
    """Makes turnstiles; an account that is not known yet has a limit of its own, by the number 0."""

    accounts: Accounts
    limiter: Limiter
    brakes: Brakes
    parking: Parking

    def __call__(self, credentials: Credentials) -> AccountTurnstile:
        """Give the way through the limits for these credentials."""
        kind = AccountTurnstile if credentials.account_id else StrangersTurnstile
        return kind(
            credentials.account_id,
            self.accounts.scopes(credentials),
            self.limiter,
            self.brakes,
            self.parking,
            blocked_by_address=not credentials.subdomain.endswith(_AMOCRM),
        )
