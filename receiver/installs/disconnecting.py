"""Disconnect: find out whether a hint is true, and if it is, tell the handlers, forget the tokens, keep the writes.

The signature of a disconnect call is the one in every webhook URL, so whoever has seen such a URL can make the call.
It is therefore believed only once Kommo itself refuses the stored token, before and after a renewal.
https://developers.kommo.com/docs/oauth-20
"""

import json
import time
from dataclasses import dataclass, replace
from typing import Final

import structlog

from kommo.errors import AccessEnded, ApiError, RequestError, SettingsError, Unauthorized
from kommo.hooks.kinds import OWN_DELIVERY
from kommo.queue import LOOPS, Waker
from kommo.store.account import Account
from kommo.store.accounts import Accounts, Credentials
from kommo.store.inbox import QUEUE as INBOX
from kommo.store.inbox import Delivery, Inbox
from kommo.store.outbox import QUEUE as OUTBOX
from kommo.store.parking import Parking
from kommo.variables import Secret
from receiver.installs.background import Again, Done
from receiver.installs.calls import Calls
from receiver.installs.errands import Errand

_log = structlog.get_logger(__name__)
KIND: Final = "disconnect"
#: Seconds for which an account that cannot be asked is asked again.
_HINT_SECONDS: Final = 24 * 3600
_LONGEST_REST: Final = 3600.0
#: Seconds after which a token that still works is tried again: Kommo may call before it has taken the token away.
_WORKS_STILL: Final = (15.0, 60.0, 300.0)
#: Seconds after which an account is asked again whose tokens have changed while it was asked.
_CHANGED_SECONDS: Final = 1.0
#: The status by which Kommo refuses a token.
_REFUSED: Final = 401
_TAKEN_OUT: Final = "the integration was taken out in Kommo; install it again"


def hint_errand(account_id: int) -> Errand:
    """Make the errand of a hint; while it is under way, further hints for the account are part of it."""
    now = time.time()
    return Errand(f"{KIND}:{account_id}", now + _HINT_SECONDS, {"account_id": account_id, "at": int(now), "worked": 0})


def disconnection(account_id: int, *, installed_at: int, at: int) -> Delivery:
    """Make the delivery that says an installation has ended: one for each, however often it is made."""
    item = {"id": account_id, "updated_at": at}
    body = {"account": {"id": account_id}, "installation": {"disconnect": [item]}}
    return Delivery(
        id=f"{OWN_DELIVERY}disconnect-{account_id}-{installed_at}",
        account_id=account_id,
        body=json.dumps(body).encode(),
        content_type="application/json",
        received_ms=at * 1000,
    )


@dataclass(frozen=True)
class Disconnecting:
    """Does the errands of hints."""

    accounts: Accounts
    calls: Calls
    inbox: Inbox
    parking: Parking
    waker: Waker

    def __call__(self, errand: Errand) -> Done | Again:
        """Ask Kommo and draw the conclusion, if there is one; raises StoreUnavailable."""
        account_id = errand.record["account_id"]
        try:
            seen = self.accounts.get(account_id)
            credentials = self.accounts.credentials(account_id)
            if credentials is None:
                _log.info("disconnect call: there is no token", account=account_id)
                return Done()
            return self._judge(errand, credentials, seen)
        except (ApiError, RequestError, SettingsError) as error:
            return _again(errand, error)

    def _judge(self, errand: Errand, credentials: Credentials, seen: Account | None) -> Done | Again:
        refused = self._refused(credentials, seen)
        if refused is None:
            self._let_go_on(credentials.account_id)
            return _works_still(errand)
        now = self.accounts.get(credentials.account_id)
        if (now and now.installed_at) != (seen and seen.installed_at):
            _log.info("disconnect call: installed again meanwhile", account=credentials.account_id)
            return Done()
        if now and now.access_token != refused:
            # Renewed elsewhere, or installed again within a second: nothing is known of these tokens yet.
            return Again(errand, _CHANGED_SECONDS)
        return self._disconnected(errand, now)

    def _refused(self, credentials: Credentials, stored: Account | None) -> Secret | None:
        """Give the token that Kommo refuses, though it was renewed if it can be; None when there is one that works.

        Whatever is known of the account here, and whatever a renewal fails for: neither is an answer of Kommo's about
        this token.
        """
        if self._accepts(credentials):
            return None
        if stored is None or not stored.refresh_token:
            return credentials.token
        try:
            renewed = self.calls.renew(credentials.account_id)
        except AccessEnded as error:
            if not _is_kommos_word(error):
                raise
            return credentials.token
        fresh = replace(credentials, subdomain=renewed.subdomain, token=renewed.access_token)
        return None if self._accepts(fresh) else fresh.token

    def _accepts(self, credentials: Credentials) -> bool:
        try:
            self.calls.ask(credentials)
        except Unauthorized as error:
            if error.status != _REFUSED:
                raise
            return False
        return True

    def _disconnected(self, errand: Errand, account: Account | None) -> Done | Again:
        """Draw the conclusions for the account as it was read after its token had been refused."""
        account_id = errand.record["account_id"]
        # Under an id that is refused the second time, and the tokens last: all of it may have to be repeated, and once
        # they are gone nobody asks again.
        installed_at = account.installed_at if account else 0
        delivery = disconnection(account_id, installed_at=installed_at, at=errand.record["at"])
        _, wake = self.inbox.add(delivery, droppable=False)
        if wake:
            self.waker.wake(LOOPS[INBOX])
        if account and not self._forgotten(account):
            return Again(errand, _CHANGED_SECONDS)
        _log.warning("account disconnected", account=account_id, delivery=delivery.id)
        return Done()

    def _forgotten(self, account: Account) -> bool:
        """Park the account and forget its tokens; False when others came in this very moment."""
        account_id = account.account_id
        self.parking.park(account_id, "disconnected", reads_refused=True)
        if self.accounts.mark(account_id, "disconnected", _TAKEN_OUT, version=account.version):
            return True
        now = self.accounts.get(account_id)
        if now and now.state == "disconnected":
            return True
        self.parking.resume(account_id)
        return False

    def _let_go_on(self, account_id: int) -> None:
        """Undo the parking of a process that died after it, and before it saw that the account was installed again."""
        parked = self.parking.state(account_id)
        if parked and parked.reason == "disconnected" and self.parking.resume(account_id):
            self.waker.wake(LOOPS[OUTBOX])


def _is_kommos_word(error: AccessEnded) -> bool:
    """Say whether the token endpoint has called the access ended, and not we: for a state, or for a wrong client."""
    said = error.__cause__ if isinstance(error.__cause__, ApiError) else error
    return isinstance(said, AccessEnded) and said.status is not None


def _works_still(errand: Errand) -> Done | Again:
    worked = errand.record["worked"]
    if worked >= len(_WORKS_STILL):
        _log.warning("disconnect call without effect: the token works", account=errand.record["account_id"])
        return Done()
    return Again(replace(errand, record={**errand.record, "worked": worked + 1}, tries=-1), _WORKS_STILL[worked])


def _again(errand: Errand, error: Exception) -> Done | Again:
    account_id = errand.record["account_id"]
    if time.time() >= errand.ends:
        _log.error("disconnect call given up: Kommo could not be asked", account=account_id, error=str(error))
        return Done()
    _log.warning("disconnect call: Kommo cannot be asked now", account=account_id, error=str(error))
    after = (error.after or 0.0) if isinstance(error, ApiError) else 0.0
    return Again(errand, max(after, min(_LONGEST_REST, 15.0 * 2**errand.tries)))
