"""The way to Kommo for whatever credentials: the same limits for the token endpoint as for all other calls."""

from dataclasses import dataclass, replace
from typing import Final

from kommo.api.turnstile import AccountTurnstile
from kommo.errors import Action, ApiError
from kommo.store.accounts import Accounts, Credentials
from kommo.store.brakes import Brakes
from kommo.store.limiter import Limiter
from kommo.store.parking import Parking

#: Where Kommo blocks the account instead of the address that its calls come from.
_AMOCRM: Final = (".amocrm.ru", ".amocrm.com")
#: Seconds for which what Kommo has blocked is left alone by calls that are past the parking.
_BLOCKED_SECONDS: Final = 300.0


class UnparkedTurnstile(AccountTurnstile):
    """The limits of an account without its parking, which is neither asked nor changed.

    For one that is not known yet, while a token is tried or a code exchanged; and for finding out what only a call can
    tell, whatever the account is parked for.
    """

    def admit(self, method: str, path: str) -> bool:  # noqa: ARG002 - every call may go out
        """Let every call pass."""
        return False

    def worked(self, method: str) -> None:
        """Change nothing."""

    def heed(self, error: ApiError, method: str) -> None:
        """Slow down. Of a block, only the pause: there may be no account whose careful call could end it."""
        if error.action is Action.SLOW_DOWN:
            super().heed(error, method)
        elif error.action is Action.STOP:
            self.brakes.slow(self._offended[-1:], after=error.after or _BLOCKED_SECONDS)


@dataclass(frozen=True)
class Ways:
    """Makes turnstiles; an account that is not known yet has a limit of its own, by the number 0."""

    accounts: Accounts
    limiter: Limiter
    brakes: Brakes
    parking: Parking

    def __call__(self, credentials: Credentials) -> AccountTurnstile:
        """Give the way through the limits for these credentials."""
        return self._made(AccountTurnstile if credentials.account_id else UnparkedTurnstile, credentials)

    def unparked(self, credentials: Credentials) -> AccountTurnstile:
        """Give the way for these credentials past the parking, without a head start: what anybody may ask for."""
        return replace(self._made(UnparkedTurnstile, credentials), urgent=False)

    def _made(self, kind: type[AccountTurnstile], credentials: Credentials) -> AccountTurnstile:
        return kind(
            credentials.account_id,
            self.accounts.scopes(credentials),
            self.limiter,
            self.brakes,
            self.parking,
            blocked_by_address=not credentials.subdomain.endswith(_AMOCRM),
        )
