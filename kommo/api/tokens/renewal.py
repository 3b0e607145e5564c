"""One renewal of an account's tokens, by the one process that holds the lock for it.

https://developers.kommo.com/docs/oauth-20: a refresh token is good once, and whoever spends one that was spent loses
the installation; but the one whose answer got lost may be sent again. So the same token is sent until an answer is
read, the new pair is stored before anything is called with it, and stored only in place of the one that it was
given for.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final, Generic
from uuid import uuid4

import structlog

from kommo.api.address import account_host
from kommo.api.calls import Slot
from kommo.api.oauth import PATIENCE_SECONDS, OAuth, TokenPair
from kommo.api.tokens.keeping import Keeping
from kommo.api.tokens.pairs import with_pair
from kommo.api.tokens.refusal import client_refused, fault_of
from kommo.api.transport import DEADLINE_SECONDS
from kommo.errors import (
    AccessEnded,
    ApiError,
    ClientRefused,
    NeedsAttention,
    NotFound,
    PaymentRequired,
    RateLimited,
    RequestError,
    StoreUnavailable,
    TryLater,
    Unreachable,
)
from kommo.store.accounts import Account, Accounts
from kommo.store.renewals import Backoff, Lock

_log = structlog.get_logger(__name__)

#: Seconds that the lock lasts when its holder dies. It is taken anew before each call, and outlasts the call.
LEASE_SECONDS: Final = PATIENCE_SECONDS + DEADLINE_SECONDS + 5
#: Seconds before the same refresh token is sent again after an answer that did not come.
_REPEATS: Final = (0.5, 2.0)
TRIES: Final = 1 + len(_REPEATS)
#: When Kommo wants to be left alone for longer than so many seconds, nobody waits for it here.
_LONGEST_PAUSE: Final = 5.0
#: Seconds for which nobody tries after a renewal that failed: what passes by itself, and what a person has to mend.
_PASSING: Final = (1.0, 60.0)
_LASTING: Final = (30.0, 600.0)


@dataclass(frozen=True)
class Renewal(Generic[Slot]):
    """The right to renew one account's tokens: `take` asks for it, `leave` gives it back."""

    accounts: Accounts
    oauth: OAuth[Slot]
    account_id: int
    lease: float = LEASE_SECONDS
    clock: Callable[[], float] = field(default=time.time, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    #: How often the same refresh token is sent at most.
    tries: int = TRIES
    token: str = field(default_factory=lambda: uuid4().hex)

    def take(self, account: Account, *, hurry: bool = False) -> Lock:
        """Begin with the account as it was read, or go on for another lease; `hurry` heeds no pause."""
        return self.accounts.renewals.lock(
            account, self.token, lease_ms=int(self.lease * 1000), client=self._mark_of_client(account), hurry=hurry
        )

    def leave(self, *, backoff: Backoff | None = None) -> None:
        """Let others begin; after a while if it has failed."""
        with suppress(StoreUnavailable):
            self.accounts.renewals.unlock(self.account_id, self.token, backoff=backoff)

    def run(self, seen: Account) -> Account:
        """Renew, once `take` has given the right; returns the account with its new pair, and gives the right back.

        Raises:
            AccessEnded: Kommo has revoked the access; the account is marked as needing a person.
            ClientRefused: Kommo does not take the keys it was asked with; the account stays as it is.
            TryLater: Kommo could not be asked. The refresh token is as good as before.
            PaymentRequired: nor does it answer before somebody has paid.
            StoreError: the new pair could not be stored yet; a thread goes on trying.
        """
        try:
            renewed = self._result(seen)
        except AccessEnded:
            self.leave()
            raise
        except BaseException as error:
            self.leave(backoff=self._backoff(seen, error))
            raise
        self.leave()
        return renewed

    def _result(self, seen: Account) -> Account:
        try:
            account, pair = self._asked(seen)
        except (TryLater, PaymentRequired):
            raise
        except ApiError as error:
            return self._refused(seen, error)
        fresh = with_pair(account, pair, now=self.clock())
        return Keeping(self.accounts, self.token, self.sleep).stored(fresh, spent=account.refresh_token)

    def renamed(self, account: Account) -> Account | None:
        """Do what `followed` does, and give the right back."""
        try:
            return self.followed(account)
        finally:
            self.leave()

    def followed(self, account: Account) -> Account | None:
        """Ask under which name the account lives now and store it; None when it is the one that we know."""
        self._hold(account)
        try:
            host = self.oauth.current_subdomain(self.accounts.resolved(account))
            if host == account_host(account.subdomain):
                return None
        except TryLater:
            raise
        except (ApiError, RequestError):
            return None
        _log.warning("account renamed", account=self.account_id, host=host)
        return self.accounts.update(replace(account, subdomain=host), lock=self.token)

    # Asking

    def _asked(self, account: Account) -> tuple[Account, TokenPair]:
        for pause in _REPEATS[: self.tries - 1]:
            try:
                return self._asked_once(account)
            except TryLater as error:
                if isinstance(error, RateLimited) or (error.after or 0.0) > _LONGEST_PAUSE:
                    raise
                _log.warning("token not renewed, again with the same", account=self.account_id, error=str(error))
                self.sleep(max(pause, error.after or 0.0))
            # A new name of the account may have been stored before the answer got lost.
            account = self.accounts.get(self.account_id) or account
            self._hold(account)
        return self._asked_once(account)

    def _asked_once(self, account: Account) -> tuple[Account, TokenPair]:
        try:
            return account, self._refreshed(account)
        except (AccessEnded, PaymentRequired):
            raise
        except (NotFound, NeedsAttention):
            # A wrong client, or the host of an account that was renamed.
            moved = self.followed(account)
            if moved is None:
                raise
        self._hold(moved)
        return moved, self._refreshed(moved)

    def _refreshed(self, account: Account) -> TokenPair:
        return self.oauth.refresh(self.accounts.resolved(account))

    def _hold(self, account: Account) -> None:
        if self.take(account) is not Lock.HELD:
            detail = "another process has taken over the renewal of the token; nothing was sent"
            raise Unreachable(detail, method="any call to", path=f"account {self.account_id}")

    # What a refusal means

    def _refused(self, seen: Account, error: ApiError) -> Account:
        """Say whose trouble a refusal is, unless somebody has stored another pair meanwhile."""
        current = self.accounts.get(self.account_id)
        if current and current.refresh_token != seen.refresh_token:
            return current
        if not isinstance(error, AccessEnded):
            raise self._fault(seen, error) from error
        reason = f"Kommo has revoked the refresh token: {error.status} {error.detail}"
        if self.accounts.mark(self.account_id, "needs_person", reason, version=current.version if current else None):
            _log.error("account needs a person", account=self.account_id, reason=reason)
        raise AccessEnded(
            reason, method=error.method, path=error.path, status=error.status, code=error.code, hint=error.hint
        ) from error

    def _fault(self, account: Account, error: ApiError) -> ClientRefused:
        """Say once an hour what is wrong with the keys; the account's tokens are as good as before."""
        fault = fault_of(error)
        whose = f"account {self.account_id}"
        if not (account.client_secret or isinstance(error, NotFound)):
            whose = self.accounts.resolved(account).client_id
        with suppress(StoreUnavailable):
            if self.accounts.remind_of_client(whose):
                _log.error("token renewal refused", account=self.account_id, reason=fault, check=ClientRefused.remedy)
        return client_refused(fault, self.account_id, after=_LASTING[0])

    def _backoff(self, account: Account, error: BaseException) -> Backoff:
        if isinstance(error, ClientRefused):
            return Backoff(*_LASTING, fault=error.detail, client=self._mark_of_client(account))
        if isinstance(error, PaymentRequired):
            return Backoff(*_LASTING)
        return Backoff(*_PASSING, least=min(_LASTING[1], (error.after or 0.0) if isinstance(error, TryLater) else 0.0))

    def _mark_of_client(self, account: Account) -> str:
        """Tell keys apart without telling them: with others, there is no reason to wait."""
        whole = self.accounts.resolved(account)
        keys = f"{whole.client_id}|{whole.client_secret}|{whole.redirect_uri}"
        return sha256(keys.encode()).hexdigest()[:16]
