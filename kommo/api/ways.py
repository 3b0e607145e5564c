"""The way to Kommo for whatever credentials: the same limits for the token endpoint as for all other calls."""

from dataclasses import dataclass
from typing import Final

from kommo.api.turnstile import AccountTurnstile
from kommo.store.accounts import Accounts, Credentials
from kommo.store.brakes import Brakes
from kommo.store.limiter import Limiter
from kommo.store.parking import Parking

#: Where Kommo blocks the account instead of the address that its calls come from.
_AMOCRM: Final = (".amocrm.ru", ".amocrm.com")


@dataclass(frozen=True)
class Ways:
    """Makes turnstiles; an account that is not known yet has a limit of its own, by the number 0."""

    accounts: Accounts
    limiter: Limiter
    brakes: Brakes
    parking: Parking

    def __call__(self, credentials: Credentials) -> AccountTurnstile:
        """Give the way through the limits for these credentials."""
        return AccountTurnstile(
            credentials.account_id,
            self.accounts.scopes(credentials),
            self.limiter,
            self.brakes,
            self.parking,
            blocked_by_address=not credentials.subdomain.endswith(_AMOCRM),
        )
