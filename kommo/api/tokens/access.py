"""One account's access token, renewed by exactly one process of the fleet while the others wait for its result."""

import time
from collections.abc import Callable
from concurrent import futures
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Generic, TypeVar

import structlog

from kommo.api.calls import NO_TURN, Access, Slot
from kommo.api.oauth import OAuth
from kommo.api.tokens import background
from kommo.api.tokens.pairs import is_nearly_over
from kommo.api.tokens.refusal import client_refused
from kommo.api.tokens.renewal import LEASE_SECONDS, TRIES, Renewal
from kommo.api.transport import NOT_SENT
from kommo.errors import AccessEnded, StoreUnavailable, TryLater, Unauthorized, Unreachable
from kommo.store.accounts import Account, Accounts
from kommo.store.renewals import Lock, Pause

_log = structlog.get_logger(__name__)
T = TypeVar("T")

#: Seconds that a call without a good token waits for another one. Far below a handler's 60, which then fails by an
#: error and not by its time.
WAIT_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.1
#: Seconds after which a call that did not wait any longer may come again, at the least.
_SOON_SECONDS: Final = 1.0
#: Seconds in which a renewed token that is refused is not renewed once more: that is not what it lacks.
_FRESH_SECONDS: Final = 2


@dataclass(frozen=True)
class AccountTokens(Generic[Slot]):
    """The access of one account as the fleet knows it now. An account of the environment has a fixed one.

    While a token is good no call waits for a renewal, and none fails because of one.
    """

    accounts: Accounts
    oauth: OAuth[Slot]
    account_id: int
    #: KOMMO_API_BASE.
    api_base_override: str = ""
    lease: float = LEASE_SECONDS
    wait: float = WAIT_SECONDS
    clock: Callable[[], float] = field(default=time.time, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    #: Whether to renew in a thread, and before it has to be. Not where the process, or its connections, may end before
    #: the thread: there a token is used to its end, and then renewed by the call itself.
    in_background: bool = True

    def access(self) -> Access:
        """Give the address and a token that has not ended; begins to renew one that is about to.

        Raises:
            AccessEnded: a person has to help first. No call was made.
            Unauthorized: there is no token for the account; ClientRefused: or none to renew it with.
            TryLater: the token has ended, and Kommo gave no other in time.
            StoreError: Redis is away.
        """
        account = self.accounts.get(self.account_id)
        if account is None:
            return self._of_environment()
        self._checked(account)
        now = self.clock()
        if account.refresh_token and is_nearly_over(account, now=now):
            if account.expires_at <= now:
                return self._access(self._renewed(account))
            if self.in_background:
                self._begin_early(account)
        return self._access(account)

    def is_ready(self) -> bool:
        """Say whether there is a good token; begins to renew one that is about to end, or has ended, and does not wait.

        Raises what `access` raises.
        """
        account = self.accounts.get(self.account_id)
        if account is None:
            self._of_environment()
            return True
        self._checked(account)
        now = self.clock()
        if not account.refresh_token or not is_nearly_over(account, now=now):
            return True
        good = account.expires_at > now
        if not good:
            self._check_client(account)
        self._begin_early(account)
        if not good and (pause := self.accounts.renewals.pause(self.account_id)) and pause.seconds:
            self._check_pause(pause, time.monotonic())
        return good

    def renewed(self, refused: Access) -> Access | None:
        """Give what to try after an answer 401 or a redirect; None when there is nothing new.

        Raises what `access` raises.
        """
        account = self.accounts.get(self.account_id)
        if account is None:
            return None
        self._checked(account)
        if (current := self._access(account)) != refused:
            return current
        if not account.refresh_token:
            self._note_end(account)
            return None
        if self._is_fresh(account):
            return self._renamed(account)
        return self._access(self._renewed(account))

    def renew(self) -> Account:
        """Renew now, by this thread, however long the token would still be good.

        Raises what `access` raises, PaymentRequired, and the ApiError family of the token endpoint as it is.
        """
        account = self.accounts.get(self.account_id)
        if account is None or not account.refresh_token:
            detail = f"account {self.account_id} has no refresh token: a long-lived token is replaced by a person"
            raise Unauthorized(detail, method="renewal of", path=f"account {self.account_id}")
        return self._awaited(account, by_hand=True)

    def _of_environment(self) -> Access:
        own = self.accounts.credentials(self.account_id)
        if own is None:
            detail = (
                f"no access token is known for account {self.account_id}: add it with `kommo accounts add`, or set "
                "KOMMO_ACCOUNT_ID and KOMMO_ACCESS_TOKEN"
            )
            raise Unauthorized(detail, method="any call to", path=f"account {self.account_id}")
        return Access.at(own.subdomain, own.token, self.api_base_override)

    def _access(self, account: Account) -> Access:
        return Access.at(account.subdomain, account.access_token, self.api_base_override)

    def _checked(self, account: Account) -> Account:
        if account.state != "ready":
            detail = f"{account.reason or f'its state is {account.state}'}; nothing was sent"
            raise AccessEnded(detail, method="any call to", path=f"account {self.account_id}")
        return account

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
        moved = self._run_until(time.monotonic() + self.wait, renewal, partial(renewal.renamed, account))
        return self._access(moved) if moved else None

    # Renewing

    def _begin_early(self, seen: Account) -> None:
        """Let a thread renew, unless another one of the fleet does, or did in vain a moment ago."""
        renewal = self._renewal(tries=1)
        with suppress(StoreUnavailable):
            if not self._has_client(seen) or renewal.take(seen) is not Lock.HELD:
                return
            try:
                background.begin(partial(renewal.run, seen), self.account_id)
            except RuntimeError:
                renewal.leave()

    def _renewed(self, seen: Account) -> Account:
        """Give the account with another token; an error says that the call was not made, not what the endpoint said."""
        try:
            return self._awaited(seen)
        except TryLater as error:
            if error.code in {NO_TURN, NOT_SENT}:
                raise
            said = f"{error.status} {error.detail}" if error.status else error.detail
            after = error.after or self._seconds_paused()
            raise self._not_sent(f"its token could not be renewed: {said}", after=after) from error

    def _awaited(self, seen: Account, *, by_hand: bool = False) -> Account:
        """Renew, or wait for whoever does; gives the account with another token than the one seen."""
        renewal, ends = self._renewal(), time.monotonic() + self.wait
        while True:
            taken = renewal.take(seen, hurry=by_hand)
            if taken is Lock.HELD:
                self._check_worth_it(renewal, seen)
                if by_hand:
                    return renewal.run(seen)
                return self._checked(self._run_until(ends, renewal, partial(renewal.run, seen)))
            current = self._current()
            if current.access_token != seen.access_token:
                return current
            if taken is Lock.PAUSED and (pause := self.accounts.renewals.pause(self.account_id)):
                self._check_pause(pause, ends)
            if taken is not Lock.MOVED:
                if time.monotonic() >= ends:
                    raise self._not_sent(f"its token is being renewed, and was not within {self.wait:g} s")
                self.sleep(_POLL_SECONDS)
            seen = current

    def _check_worth_it(self, renewal: Renewal[Slot], seen: Account) -> None:
        """Give the lock back if whoever held it before has found out that only a person helps."""
        try:
            if seen.state == "ready":
                self._current()
            self._check_client(seen)
        except BaseException:
            renewal.leave()
            raise

    def _run_until(self, ends: float, renewal: Renewal[Slot], work: Callable[[], T]) -> T:
        """Do a renewal's work, which gives the lock back; it goes on when the call does not wait any longer."""
        if not self.in_background:
            return work()
        try:
            came = background.begin(work, self.account_id)
        except RuntimeError as error:
            renewal.leave()
            raise self._not_sent("its token is not renewed by a process that ends") from error
        futures.wait([came], timeout=max(0.0, ends - time.monotonic()))
        if not came.done():
            raise self._not_sent(f"its token could not be renewed within {self.wait:g} s")
        return came.result()

    def _check_pause(self, pause: Pause, ends: float) -> None:
        """Raise when the next renewal comes too late for this call."""
        if pause.fault and pause.seconds:
            raise client_refused(pause.fault, self.account_id, after=pause.seconds)
        if time.monotonic() + pause.seconds >= ends:
            raise self._not_sent(f"its token could not be renewed {pause.failed} times", after=pause.seconds)

    def _seconds_paused(self) -> float:
        with suppress(StoreUnavailable):
            if pause := self.accounts.renewals.pause(self.account_id):
                return max(_SOON_SECONDS, pause.seconds)
        return _SOON_SECONDS

    def _check_client(self, account: Account) -> None:
        """A client that this process lacks is a mistake of its settings, and no word of Kommo's."""
        if not self._has_client(account):
            missing = "its token is renewed with KOMMO_CLIENT_ID and KOMMO_CLIENT_SECRET, which are not set here"
            raise client_refused(missing, self.account_id)

    def _has_client(self, account: Account) -> bool:
        whole = self.accounts.resolved(account)
        return bool(whole.client_id and whole.client_secret)

    def _current(self) -> Account:
        account = self.accounts.get(self.account_id)
        if account is None:
            detail = "the account was removed; nothing was sent"
            raise AccessEnded(detail, method="any call to", path=f"account {self.account_id}")
        return self._checked(account)

    def _not_sent(self, detail: str, *, after: float = _SOON_SECONDS) -> Unreachable:
        path = f"account {self.account_id}"
        return Unreachable(f"{detail}; nothing was sent", method="any call to", path=path, code=NOT_SENT, after=after)

    def _renewal(self, *, tries: int = TRIES) -> Renewal[Slot]:
        return Renewal(
            self.accounts,
            self.oauth,
            self.account_id,
            lease=self.lease,
            clock=self.clock,
            sleep=self.sleep,
            tries=tries,
        )
