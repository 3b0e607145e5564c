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
from receiver.installs.background import Again, Done
from receiver.installs.calls import Calls
from receiver.installs.errands import Errand
from receiver.installs.visits import Arrival

_log = structlog.get_logger(__name__)
KIND: Final = "install"
#: Seconds that a code lives. https://developers.kommo.com/docs/oauth-20
CODE_SECONDS: Final = 20 * 60
#: Seconds within which an installation that has its tokens is brought to an end.
_PAIR_SECONDS: Final = 24 * 3600
_LONGEST_REST: Final = 60.0
#: Answers to which nothing was lost: the code has not left.
_NOT_SENT: Final = (NOT_SENT, NO_TURN)


@dataclass(frozen=True, slots=True)
class Integration:
    """Whose keys are used: the environment's, or those of the one account that has a private integration."""

    client_id: str
    client_secret: Secret
    redirect_uri: str
    #: The account to which a private integration belongs.
    owner: Account | None = None


def find_integration(settings: Settings, accounts: Accounts, client_id: str) -> Integration | None:
    """Look an integration up by its id, "" being the environment's; None when nobody knows it."""
    if client_id in ("", settings.client_id):
        return Integration(settings.client_id, settings.client_secret, settings.redirect)
    for stored in accounts.list():
        if stored.client_id == client_id and stored.client_secret:
            known = accounts.resolved(stored)
            return Integration(client_id, known.client_secret, known.redirect_uri, stored)
    return None


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
                return _failed(errand, "unknown_client")
            if errand.record["step"] == "exchange":
                return self._exchange(errand, integration)
            if errand.record["step"] == "account":
                return self._store(errand, integration, self._pair(errand))
            return self._register(errand, integration, self._pair(errand))
        except SettingsError as error:
            return _failed(errand, "settings", error)

    def _exchange(self, errand: Errand, integration: Integration) -> Done | Again:
        if time.time() >= errand.ends:
            return _failed(errand, "too_late")
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
            lost = errand.record.get("lost", False) or (error.status is None and error.code not in _NOT_SENT)
            _log.warning("the exchange of a code is tried again", error=str(error), host=errand.record["host"])
            return _again(_noted(errand, lost=lost), error)
        except (ApiError, RequestError) as error:
            return _failed(errand, _refusal(errand, error), error)
        step = _noted(errand, step="account", sealed=self._seal(asdict(pair)), at=int(time.time()))
        # Written down before it is used: nobody may ask with the code again, and nobody else has these tokens.
        return _next(replace(step, ends=time.time() + _PAIR_SECONDS))

    def _store(self, errand: Errand, integration: Integration, pair: TokenPair) -> Done | Again:
        host = errand.record["host"]
        try:
            account_id = self.calls.owner(host, integration.client_id, pair.access_token)
        except TryLater as error:
            return _failed(errand, "too_late", error) if time.time() >= errand.ends else _again(errand, error)
        except (ApiError, RequestError) as error:
            return _failed(errand, "refused", error)
        if integration.owner and integration.owner.account_id != account_id:
            return _failed(errand, "other_account")
        stored = self.accounts.get(account_id)
        if stored and stored.state == "ready" and self.accounts.resolved(stored).client_id != integration.client_id:
            return _failed(_noted(errand, account_id=account_id), "other_integration")
        bare = _account(account_id, host, integration)
        self.accounts.save(with_pair(bare, pair, now=errand.record["at"]))
        if self.parking.resume(account_id):
            self.waker.wake(LOOPS[OUTBOX])
        _log.info("installed", account=account_id, host=host, integration=integration.client_id)
        return _next(_noted(errand, step="webhook", account_id=account_id))

    def _register(self, errand: Errand, integration: Integration, pair: TokenPair) -> Done | Again:
        account_id, host = errand.record["account_id"], errand.record["host"]
        url = webhook_url(self.settings.public_url, integration.client_secret, integration.client_id, account_id)
        credentials = Credentials(account_id, integration.client_id, host, pair.access_token)
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

    def _seal(self, secrets: Mapping[str, Any]) -> str:
        return self.vault.seal(json.dumps(secrets).encode()).decode()

    def _opened(self, errand: Errand) -> dict[str, Any]:
        opened = self.vault.unseal(errand.record["sealed"].encode(), of="an installation under way")
        secrets: dict[str, Any] = json.loads(opened)
        return secrets

    def _pair(self, errand: Errand) -> TokenPair:
        given = self._opened(errand)
        return TokenPair(Secret(given["access_token"]), Secret(given["refresh_token"]), given["expires_in"])


def _account(account_id: int, host: str, integration: Integration) -> Account:
    """Make what is stored, but for the tokens.

    Of the environment's integration neither id nor secret is stored: they may change there.
    """
    bare = Account(account_id=account_id, subdomain=host, installed_at=int(time.time()))
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
    account = {"account_id": errand.record["account_id"]} if "account_id" in errand.record else {}
    return Done({"what": what, "host": errand.record["host"], "problem": said, **account})


def _said(error: KommoError) -> str:
    return mask(str(error))
