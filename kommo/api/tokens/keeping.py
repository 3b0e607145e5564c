"""Keep a new pair of tokens: it is all that is left of the installation once the old refresh token is spent."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from kommo.api.tokens.pairs import with_pair_of
from kommo.errors import AccessEnded, StoreError
from kommo.store.accounts import Account, Accounts

_log = structlog.get_logger(__name__)

#: Seconds for which a call waits until the new pair is stored, and between two attempts.
_STORE_SECONDS: Final = 10.0
_STORE_AGAIN_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Keeping:
    """Stores what the renewal with this lock's token has brought."""

    accounts: Accounts
    token: str
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def stored(self, fresh: Account, *, spent: str) -> Account:
        """Store the account with its new pair in place of the refresh token that was spent for it.

        Raises:
            AccessEnded: the account was removed meanwhile.
            StoreError: it could not be stored yet; a thread tries for as long as this process lives.
        """
        ends = time.monotonic() + _STORE_SECONDS
        while True:
            try:
                return self._stored_once(fresh, spent)
            except StoreError:
                if time.monotonic() >= ends:
                    _log.error("renewed token not stored yet, trying on", account=fresh.account_id)
                    threading.Thread(target=self._keep, args=(fresh, spent), name="keep token", daemon=True).start()
                    raise
            self.sleep(_STORE_AGAIN_SECONDS)

    def _stored_once(self, fresh: Account, spent: str) -> Account:
        while True:
            if stored := self.accounts.update(fresh, lock=self.token):
                _log.info("token renewed", account=fresh.account_id)
                return stored
            current = self.accounts.get(fresh.account_id)
            if current is None:
                raise AccessEnded("the account was removed", method="any call to", path=f"account {fresh.account_id}")
            if current.refresh_token != spent:
                # A later pair, or another installation: that one counts.
                return current
            fresh = with_pair_of(current, fresh)

    def _keep(self, fresh: Account, spent: str) -> None:
        while True:
            try:
                self._stored_once(fresh, spent)
            except StoreError:
                self.sleep(_STORE_AGAIN_SECONDS)
            except AccessEnded:
                return
            else:
                return
