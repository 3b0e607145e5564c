"""One account's access token, renewed by exactly one process of the fleet while the others wait for its result."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic

import structlog

from kommo.api.address import api_base
from kommo.api.calls import Access, Slot
from kommo.api.oauth import OAuth
from kommo.api.tokens.pairs import is_nearly_over
from kommo.api.tokens.renewal import LEASE_SECONDS, Renewal
from kommo.errors import AccessEnded, StoreError, TryLater, Unauthorized, Unreachable
from kommo.store.accounts import Account, Accounts, Lock

_log = structlog.get_logger(__name__)

#: Seconds that a call waits for another process's renewal: its holder may die, and the next one take over.
WAIT_SECONDS: Final = 2 * LEASE_SECONDS
_POLL_SECONDS: Final = 0.1
#: Seconds in which a renewed token that is refused is not renewed once more: that is not what it lacks.
_FRESH_SECONDS: Final = 2


@dataclass(frozen=True)
class AccountTokens(Generic[Slot]):
    """The access of one account as the fleet knows it now. An account of the environment has a fixed one."""

    accounts: Accounts
    oauth: OAuth[Slot]
    account_id: int
    #: KOMMO_API_BASE.
    api_base_override: str = ""
    lease: float = LEASE_SECONDS
    wait: float = WAIT_SECONDS
    clock: Callable[[], float] = field(default=time.time, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def access(self) -> Access:
        """Give the address and a token that has not ended; renews one that is about to.

        Raises:
            AccessEnded: a person has to help first. No call was made.
            Unauthorized: there is no token for the account.
            TryLater: the token has ended, and Kommo could not be asked for another one.
            StoreError: Redis is away.
        """
        account = self.accounts.get(self.account_id)
        if account is None:
            return self._of_environment()
        self._check_ready(account)
        now = self.clock()
        if not account.refresh_token or not is_nearly_over(account, now=now):
            return self._access(account)
        good = account.expires_at > now
        try:
            # Whoever still has a good token need not wait until another process has a new one.
            return self._access(self._renewed(account, wait=0 if good else self.wait))
        except (TryLater, StoreError):
            if not good:
                raise
            return self._access(account)

    def renewed(self, refused: Access) -> Access | None:
        """Give what to try after an answer 401 or a redirect; None when there is nothing new.

        Raises what `access` raises.
        """
        account = self.accounts.get(self.account_id)
        if account is None:
            return None
        self._check_ready(account)
        if (current := self._access(account)) != refused:
            return current
        if not account.refresh_token:
            self._note_end(account)
            return None
        if self._is_fresh(account):
            return self._renamed(account)
        return self._access(self._renewed(account, wait=self.wait))

    def renew(self) -> Account:
        """Renew now, however long the token would still be good; raises what `access` raises."""
        account = self.accounts.get(self.account_id)
        if account is None or not account.refresh_token:
            detail = f"account {self.account_id} has no refresh token: a long-lived token is replaced by a person"
            raise Unauthorized(detail, method="renewal of", path=f"account {self.account_id}")
        return self._renewed(account, wait=self.wait)

    def _of_environment(self) -> Access:
        own = self.accounts.credentials(self.account_id)
        if own is None:
            detail = (
                f"no access token is known for account {self.account_id}: add it with `kommo accounts add`, or set "
                "KOMMO_ACCOUNT_ID and KOMMO_ACCESS_TOKEN"
            )
            raise Unauthorized(detail, method="any call to", path=f"account {self.account_id}")
        return Access(api_base(own.subdomain, self.api_base_override or None), own.token)

    def _access(self, account: Account) -> Access:
        return Access(api_base(account.subdomain, self.api_base_override or None), account.access_token)

    def _check_ready(self, account: Account) -> None:
        if account.state != "ready":
            detail = f"{account.reason or f'its state is {account.state}'}; nothing was sent"
            raise AccessEnded(detail, method="any call to", path=f"account {self.account_id}")

    def _note_end(self, account: Account) -> None:
        """Kommo's word and the token's own date together say that a long-lived token has ended."""
        if not 0 < account.expires_at <= self.clock():
            return
        reason = "its long-lived token has ended"
        if self.accounts.mark(self.account_id, "needs_person", reason, version=account.version):
            _log.error("account needs a person", account=self.account_id, reason=reason)

    def _is_fresh(self, account: Account) -> bool:
        now = self.clock()
        return account.installed_at < account.renewed_at <= now < account.renewed_at + _FRESH_SECONDS and (
            now < account.expires_at
        )

    def _renamed(self, account: Account) -> Access | None:
        """See whether the account has another name, since its token is new and yet not taken."""
        renewal = self._renewal()
        if renewal.take(account) is not Lock.HELD:
            return None
        try:
            moved = renewal.followed(account)
        finally:
            renewal.leave()
        return self._access(moved) if moved else None

    def _renewed(self, seen: Account, *, wait: float) -> Account:
        """Renew, or wait for whoever does; gives the account with another token than the one seen."""
        self._check_client(seen)
        renewal, ends = self._renewal(), time.monotonic() + wait
        while True:
            taken = renewal.take(seen)
            if taken is Lock.HELD:
                return self._run(renewal, seen)
            current = self._current()
            if current.access_token != seen.access_token:
                return current
            if taken is Lock.BUSY:
                if time.monotonic() >= ends:
                    detail = f"another process renews the token, and had no result within {wait:g} s; nothing was sent"
                    raise Unreachable(detail, method="any call to", path=f"account {self.account_id}")
                self.sleep(_POLL_SECONDS)
            seen = current

    def _run(self, renewal: Renewal[Slot], seen: Account) -> Account:
        """Renew, unless whoever held the lock before has found out that nothing but a person helps."""
        if seen.state == "ready":
            try:
                self._current()
            except BaseException:
                renewal.leave()
                raise
        return self._checked(renewal.run(seen))

    def _check_client(self, account: Account) -> None:
        """A client that this process lacks is a mistake of its settings, and no word of Kommo's."""
        whole = self.accounts.resolved(account)
        if not (whole.client_id and whole.client_secret):
            detail = "its token is renewed with KOMMO_CLIENT_ID and KOMMO_CLIENT_SECRET, which are not set here"
            raise Unauthorized(detail, method="any call to", path=f"account {self.account_id}")

    def _current(self) -> Account:
        account = self.accounts.get(self.account_id)
        if account is None:
            detail = "the account was removed; nothing was sent"
            raise AccessEnded(detail, method="any call to", path=f"account {self.account_id}")
        return self._checked(account)

    def _checked(self, account: Account) -> Account:
        self._check_ready(account)
        return account

    def _renewal(self) -> Renewal[Slot]:
        return Renewal(self.accounts, self.oauth, self.account_id, lease=self.lease, clock=self.clock, sleep=self.sleep)
