"""Disconnect: find out whether a hint is true, and if it is, tell the handlers, forget the tokens, keep the writes.

The signature of a disconnect call is the one in every webhook URL, so whoever has seen such a URL can make the call.
It is therefore believed only once Kommo refuses the stored token. https://developers.kommo.com/docs/oauth-20
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
from kommo.store.parking import Parking
from receiver.installs.background import Again, Done
from receiver.installs.calls import ACCOUNT_PATH, Calls
from receiver.installs.errands import Errand

_log = structlog.get_logger(__name__)
KIND: Final = "disconnect"
#: Seconds for which an account that cannot be asked is asked again.
_HINT_SECONDS: Final = 24 * 3600
_LONGEST_REST: Final = 3600.0
#: Seconds after which a token that still works is tried again: Kommo may call before it has taken the token away.
_WORKS_STILL: Final = (15.0, 60.0, 300.0)
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
        except SettingsError as error:
            return _again(errand, error)

    def _judge(self, errand: Errand, credentials: Credentials, seen: Account | None) -> Done | Again:
        try:
            self.calls.ask(credentials)
        except Unauthorized as error:
            # A token endpoint that does not know us speaks of our keys, not of the account.
            if isinstance(error, AccessEnded) or error.path == ACCOUNT_PATH:
                return self._disconnected(errand, seen)
            return _again(errand, error)
        except (ApiError, RequestError) as error:
            return _again(errand, error)
        return _works_still(errand)

    def _disconnected(self, errand: Errand, seen: Account | None) -> Done:
        account_id = errand.record["account_id"]
        now = self.accounts.get(account_id)
        if (now and now.version) != (seen and seen.version):
            _log.info("disconnect call: installed again meanwhile", account=account_id)
            return Done()
        # Under an id that is refused the second time, and the tokens last: all of it may have to be repeated, and once
        # they are gone nobody asks again.
        delivery = disconnection(account_id, installed_at=seen.installed_at if seen else 0, at=errand.record["at"])
        _, wake = self.inbox.add(delivery, droppable=False)
        if wake:
            self.waker.wake(LOOPS[INBOX])
        if seen:
            self.parking.park(account_id, "disconnected", reads_refused=True)
            if not self.accounts.mark(account_id, "disconnected", _TAKEN_OUT, version=seen.version):
                # It was installed again in this very moment.
                self.parking.resume(account_id)
        _log.warning("account disconnected", account=account_id, delivery=delivery.id)
        return Done()


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
