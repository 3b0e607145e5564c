"""Install: change the code into tokens, ask whose they are, store the account, register its webhook, let it go on.

Each step is written down before the next, so that whoever goes on after a failure repeats only what may be repeated: a
code works once. https://developers.kommo.com/docs/oauth-20
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any, Final

import structlog

from kommo.api.calls import NO_TURN
from kommo.api.oauth import TokenPair
from kommo.api.tokens.pairs import with_pair
from kommo.api.transport import NOT_SENT
from kommo.errors import ApiError, BadRequest, KommoError, RequestError, SettingsError, TryLater, Unauthorized
from kommo.hooks.signature import webhook_url
from kommo.log import mask
from kommo.queue import LOOPS, Waker
from kommo.settings import Settings
from kommo.store.accounts import Account, Accounts, Credentials
from kommo.store.outbox import QUEUE as OUTBOX
from kommo.store.parking import Parking
from kommo.store.vault import Vault
from kommo.variables import Secret
from receiver.installs.admission import Admission
from receiver.installs.background import Again, Done
from receiver.installs.calls import Calls
from receiver.installs.errands import Errand
from receiver.installs.integrations import Integration, find_integration, stored_account
from receiver.installs.visits import Arrival

_log = structlog.get_logger(__name__)
KIND: Final = "install"
#: Seconds that a code lives. https://developers.kommo.com/docs/oauth-20
CODE_SECONDS: Final = 20 * 60
#: Seconds within which an installation that has its tokens is brought to an end.
_PAIR_SECONDS: Final = 24 * 3600
_LONGEST_REST: Final = 60.0
#: Seconds before a code is sent again that Kommo has not answered. Whoever brings codes of his own making, at a time at
#: which Kommo fails, must not have each of them sent for 20 minutes.
_EXCHANGE_RESTS: Final = (2.0, 60.0)
#: Answers to which nothing was lost: the code has not left.
_NOT_SENT: Final = (NOT_SENT, NO_TURN)


def install_id(code: str) -> str:
    """Name the errand of a code; the name does not tell the code."""
    return f"{KIND}:{sha256(code.encode()).hexdigest()[:32]}"


@dataclass(frozen=True)
class Installer:
    """Does the errands of installations."""

    settings: Settings
    accounts: Accounts
    vault: Vault
    calls: Calls
    parking: Parking
    waker: Waker
    admission: Admission

    def errand(self, arrival: Arrival, client_id: str) -> Errand:
        """Make the errand of a redirect; raises SettingsError when nothing can be encrypted."""
        record = {
            "sealed": self._seal({"code": arrival.code}),
            "host": arrival.host,
            "client_id": client_id,
            "step": "exchange",
        }
        return Errand(install_id(arrival.code), time.time() + CODE_SECONDS, record)

    def __call__(self, errand: Errand) -> Done | Again:
        """Go as far as possible; raises StoreUnavailable while nothing would be lost by it."""
        try:
            integration = find_integration(self.settings, self.accounts, errand.record["client_id"])
            if integration is None:
                return _unknown(errand)
            if errand.record["step"] == "exchange":
                return self._exchange(errand, integration)
            step = {"account": self._identify, "store": self._store, "webhook": self._register}[errand.record["step"]]
            return step(errand, integration, self._pair(errand))
        except SettingsError as error:
            return _unset(errand, error)

    def _exchange(self, errand: Errand, integration: Integration) -> Done | Again:
        if time.time() >= errand.ends:
            return _failed(errand, "too_late")
        if rest := self.admission.exchange_in():
            return Again(errand, rest)
        code = self._opened(errand)["code"]
        try:
            pair = self.calls.exchange(
                code,
                errand.record["host"],
                integration.client_id,
                integration.client_secret,
                integration.redirect_uri,
            )
        except TryLater as error:
            return _unanswered(errand, error)
        except (ApiError, RequestError) as error:
            return _failed(errand, _refusal(errand, error), error)
        step = _noted(errand, step="account", sealed=self._seal(asdict(pair)), at=int(time.time()))
        # Written down before it is used: nobody may ask with the code again, and nobody else has these tokens.
        return _next(replace(step, ends=time.time() + _PAIR_SECONDS))

    def _identify(self, errand: Errand, integration: Integration, pair: TokenPair) -> Done | Again:
        host = errand.record["host"]
        try:
            account_id = self.calls.owner(host, integration.client_id, pair.access_token)
        except TryLater as error:
            return _failed(errand, "too_late", error) if time.time() >= errand.ends else _again(errand, error)
        except (ApiError, RequestError) as error:
            return _failed(errand, "refused", error)
        if integration.owner and integration.owner.account_id != account_id:
            return _failed(errand, "other_account")
        # One that cannot be opened serves nobody any more, and this is what mends it.
        stored = stored_account(self.accounts, account_id)
        if stored and stored.state == "ready" and self.accounts.resolved(stored).client_id != integration.client_id:
            return _failed(_noted(errand, account_id=account_id), "other_integration")
        # Written down before the account is stored, since it tells this installation from others however often that is
        # repeated.
        installed_at = _installed_at(stored, at=errand.record["at"])
        return _next(_noted(errand, step="store", account_id=account_id, installed_at=installed_at))

    def _store(self, errand: Errand, integration: Integration, pair: TokenPair) -> Done | Again:
        account_id, host = errand.record["account_id"], errand.record["host"]
        bare = _account(account_id, host, integration, installed_at=errand.record["installed_at"])
        if self.accounts.install(with_pair(bare, pair, now=errand.record["at"])):
            _log.info("installed", account=account_id, host=host, integration=integration.client_id)
        stored = stored_account(self.accounts, account_id)
        if stored and stored.state == "ready" and self.parking.resume(account_id):
            self.waker.wake(LOOPS[OUTBOX])
        return _next(_noted(errand, step="webhook"))

    def _register(self, errand: Errand, integration: Integration, pair: TokenPair) -> Done | Again:
        account_id, host = errand.record["account_id"], errand.record["host"]
        url = webhook_url(self.settings.public_url, integration.client_secret, integration.client_id, account_id)
        credentials = Credentials(account_id, integration.client_id, host, self._token(account_id, pair))
        outcome = {"what": "installed", "account_id": account_id, "host": host}
        try:
            self.calls.register(credentials, url, self.settings.webhook_events)
        except TryLater as error:
            if time.time() < errand.ends:
                return _again(errand, error)
            problem = _said(error)
        except (ApiError, RequestError) as error:
            problem = _said(error)
        else:
            return Done(outcome)
        _log.warning("webhook not registered", account=account_id, error=problem)
        return Done({**outcome, "problem": problem})

    def _token(self, account_id: int, pair: TokenPair) -> Secret:
        """Give the token that the account has now: by the time this is tried again it may have been renewed."""
        stored = stored_account(self.accounts, account_id)
        return stored.access_token if stored and stored.state == "ready" else pair.access_token

    def _seal(self, secrets: Mapping[str, Any]) -> str:
        return self.vault.seal(json.dumps(secrets).encode()).decode()

    def _opened(self, errand: Errand) -> dict[str, Any]:
        opened = self.vault.unseal(errand.record["sealed"].encode(), of="an installation under way")
        secrets: dict[str, Any] = json.loads(opened)
        return secrets

    def _pair(self, errand: Errand) -> TokenPair:
        given = self._opened(errand)
        return TokenPair(Secret(given["access_token"]), Secret(given["refresh_token"]), given["expires_in"])


def _installed_at(stored: Account | None, *, at: int) -> int:
    """Give the time of an installation whose code was exchanged at `at`: later than that of the one it replaces.

    One that was stored at that time or since, and has had new tokens since, is not replaced: the pair at hand is the
    older one, and may be spent.
    """
    if stored is None or (stored.installed_at >= at and stored.renewed_at > at):
        return at
    return max(at, stored.installed_at + 1)


def _account(account_id: int, host: str, integration: Integration, *, installed_at: int) -> Account:
    """Make what is stored, but for the tokens.

    Of the environment's integration neither id nor secret is stored: they may change there.
    """
    bare = Account(account_id=account_id, subdomain=host, installed_at=installed_at)
    if (owner := integration.owner) is None:
        return bare
    return replace(
        bare,
        client_id=owner.client_id,
        client_secret=owner.client_secret,
        previous_secret=owner.previous_secret,
        redirect_uri=owner.redirect_uri,
    )


def _refusal(errand: Errand, error: KommoError) -> str:
    if isinstance(error, BadRequest):
        return "code_lost" if errand.record.get("lost") else "code_refused"
    return "client_refused" if isinstance(error, Unauthorized) else "refused"


def _unanswered(errand: Errand, error: TryLater) -> Done | Again:
    """Send a code again that Kommo has not judged, a few times."""
    _log.warning("the exchange of a code is tried again", error=str(error), host=errand.record["host"])
    if error.code == NO_TURN:
        return _again(errand, error)
    sent = errand.record.get("sent", 0)
    lost = errand.record.get("lost", False) or (error.status is None and error.code not in _NOT_SENT)
    if sent >= len(_EXCHANGE_RESTS):
        return _failed(errand, "too_late", error)
    rest = max(error.after or 0.0, _EXCHANGE_RESTS[sent])
    return Again(_noted(errand, lost=lost, sent=sent + 1), rest)


def _unknown(errand: Errand) -> Done | Again:
    if _may_be_dropped(errand):
        return _failed(errand, "unknown_client")
    # The account that it belongs to was removed, or no key opens it.
    _log.error("installation waits: its integration is not known any more", host=errand.record["host"])
    return Again(errand, _LONGEST_REST)


def _unset(errand: Errand, error: SettingsError) -> Done | Again:
    if _may_be_dropped(errand):
        return _failed(errand, "settings", error)
    _log.error("installation waits: the settings do not allow it", host=errand.record["host"], error=str(error))
    return Again(errand, _LONGEST_REST)


def _may_be_dropped(errand: Errand) -> bool:
    """Before the exchange nothing is lost; after it, nobody else has the tokens."""
    return errand.record["step"] == "exchange" or time.time() >= errand.ends


def _noted(errand: Errand, **changes: object) -> Errand:
    return replace(errand, record={**errand.record, **changes})


def _next(errand: Errand) -> Again:
    """Write a step down and go on with the next one, its tries counted anew."""
    return Again(replace(errand, tries=-1), 0)


def _again(errand: Errand, error: ApiError) -> Again:
    return Again(errand, max(error.after or 0.0, min(_LONGEST_REST, 1.0 * 2**errand.tries)))


def _failed(errand: Errand, what: str, error: KommoError | None = None) -> Done:
    said = _said(error) if error else ""
    _log.warning("installation failed", reason=what, host=errand.record["host"], error=said)
    if isinstance(error, SettingsError):
        # It may speak of others' accounts: the log is for those who run the receiver, the page is for anybody.
        said = ""
    account = {"account_id": errand.record["account_id"]} if "account_id" in errand.record else {}
    return Done({"what": what, "host": errand.record["host"], "problem": said, **account})


def _said(error: KommoError) -> str:
    return mask(str(error))
