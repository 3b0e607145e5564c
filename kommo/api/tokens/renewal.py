"""One renewal of an account's tokens, by the one process that holds the lock for it.

https://developers.kommo.com/docs/oauth-20: a refresh token is good once, and whoever spends one that was spent loses
the installation; but the one whose answer got lost may be sent again. So the same token is sent until an answer is
read, the new pair is stored before anything is called with it, and stored only in place of the one that it was
given for.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, Generic
from uuid import uuid4

import structlog

from kommo.api.address import account_host
from kommo.api.calls import Slot
from kommo.api.oauth import PATIENCE_SECONDS, OAuth, TokenPair
from kommo.api.tokens.pairs import with_pair, with_pair_of
from kommo.api.transport import DEADLINE_SECONDS
from kommo.errors import (
    AccessEnded,
    ApiError,
    NeedsAttention,
    NotFound,
    PaymentRequired,
    RateLimited,
    RequestError,
    StoreError,
    StoreUnavailable,
    TryLater,
    Unauthorized,
    Unreachable,
)
from kommo.store.accounts import Account, Accounts, Lock

_log = structlog.get_logger(__name__)

#: Seconds that the lock lasts when its holder dies. It is taken anew before each call, and outlasts the call.
LEASE_SECONDS: Final = PATIENCE_SECONDS + DEADLINE_SECONDS + 5
#: Seconds before the same refresh token is sent again after an answer that did not come.
_REPEATS: Final = (0.5, 2.0)
#: When Kommo wants to be left alone for longer than so many seconds, nobody waits for it here.
_LONGEST_PAUSE: Final = 5.0
#: ms for which nobody tries after a renewal that failed.
_PAUSE_MS: Final = 1_000
#: Seconds for which a call waits until the new pair is stored, and between two attempts.
_STORE_SECONDS: Final = 10.0
_STORE_AGAIN_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Renewal(Generic[Slot]):
    """The right to renew one account's tokens: `take` asks for it, `leave` gives it back."""

    accounts: Accounts
    oauth: OAuth[Slot]
    account_id: int
    lease: float = LEASE_SECONDS
    clock: Callable[[], float] = field(default=time.time, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    token: str = field(default_factory=lambda: uuid4().hex)

    def take(self, account: Account) -> Lock:
        """Begin with the account as it was read, or go on for another lease."""
        return self.accounts.lock(account, self.token, lease_ms=int(self.lease * 1000))

    def leave(self, *, after_ms: int = 0) -> None:
        """Let others begin; after so many ms."""
        with suppress(StoreUnavailable):
            self.accounts.unlock(self.account_id, self.token, after_ms=after_ms)

    def run(self, seen: Account) -> Account:
        """Renew, once `take` has given the right; returns the account with its new pair, and gives the right back.

        Raises:
            AccessEnded: Kommo takes neither token; the account is marked as needing a person.
            TryLater: Kommo could not be asked. The refresh token is as good as before.
            PaymentRequired: nor does it answer before somebody has paid.
            StoreError: the new pair could not be stored yet; a thread goes on trying.
        """
        try:
            renewed = self._result(seen)
        except BaseException:
            self.leave(after_ms=_PAUSE_MS)
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
        return self._stored(with_pair(account, pair, now=self.clock()), spent=account.refresh_token)

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
        for pause in _REPEATS:
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

    def _refused(self, seen: Account, error: ApiError) -> Account:
        """Kommo takes the refresh token no more; unless somebody has stored another one, a person has to help."""
        current = self.accounts.get(self.account_id)
        if current and current.refresh_token != seen.refresh_token:
            return current
        reason = _reason(error)
        if self.accounts.mark(self.account_id, "needs_person", reason, version=current.version if current else None):
            _log.error("account needs a person", account=self.account_id, reason=reason)
        raise AccessEnded(reason, method=error.method, path=error.path, status=error.status) from error

    # Keeping

    def _stored(self, fresh: Account, *, spent: str) -> Account:
        """Store the new pair, or hand it to a thread that tries for as long as this process lives."""
        ends = time.monotonic() + _STORE_SECONDS
        while True:
            try:
                return self._stored_once(fresh, spent)
            except StoreError:
                if time.monotonic() >= ends:
                    _log.error("renewed token not stored yet, trying on", account=self.account_id)
                    threading.Thread(target=self._keep, args=(fresh, spent), name="keep token", daemon=True).start()
                    raise
            self.sleep(_STORE_AGAIN_SECONDS)

    def _stored_once(self, fresh: Account, spent: str) -> Account:
        while True:
            if stored := self.accounts.update(fresh, lock=self.token):
                _log.info("token renewed", account=self.account_id)
                return stored
            current = self.accounts.get(self.account_id)
            if current is None:
                raise AccessEnded("the account was removed", method="any call to", path=f"account {self.account_id}")
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


def _reason(error: ApiError) -> str:
    if isinstance(error, AccessEnded):
        sentence = "Kommo has revoked the refresh token"
    elif isinstance(error, Unauthorized):
        sentence = "Kommo does not accept client id and secret"
    elif isinstance(error, NotFound):
        sentence = "the account is no longer at its address"
    else:
        sentence = "Kommo refused to renew the token"
    return f"{sentence}: {error.status} {error.detail}"
