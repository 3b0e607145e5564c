"""The doors of installations: where they start, where Kommo leads back to, and where it says that one has ended.

https://developers.kommo.com/docs/oauth-20 · https://developers.kommo.com/docs/authorization-public

Nothing here calls Kommo. What a visit asks for is written down as an errand and done in the background, so that Kommo
has its answer at once and nothing is lost with the process. A few browsers wait a little for the outcome; the others
get a page that loads itself anew.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Semaphore
from types import MappingProxyType
from typing import Final

import structlog
from flask import Blueprint, Response, request

from kommo.errors import SettingsError, SignatureError, StoreUnavailable
from kommo.hooks.signature import verify_account
from kommo.settings import Settings
from kommo.store.accounts import Accounts
from receiver.installs import sentences
from receiver.installs.admission import Admission, Verdict
from receiver.installs.background import Background
from receiver.installs.consent import MODES, consent_url
from receiver.installs.disconnecting import hint_errand
from receiver.installs.installing import Installer, install_id
from receiver.installs.integrations import find_integration
from receiver.installs.pages import guarded
from receiver.installs.state import STATE_SECONDS, StateExpired, States
from receiver.installs.visits import Arrival, Hint, Unusable, read_callback, read_disconnect
from receiver.strangers import Strangers

_log = structlog.get_logger(__name__)
_PATH: Final = "/oauth"
#: Seconds that a browser waits for the outcome before it gets a page that loads itself anew.
_PATIENCE: Final = 8.0
_RELOAD_SECONDS: Final = 4
#: Requests of a process that may wait at the same time: the other threads are for deliveries, which have two seconds.
_WAITING: Final = 2
#: Seconds after which a widget's call is done that came when there were too many: Kommo never repeats it.
_EXCESS_SECONDS: Final = 60.0
_TURNED_AWAY: Final = MappingProxyType(
    {
        Verdict.SPENT: sentences.state_used,
        Verdict.MANY: sentences.too_many,
        Verdict.FULL: sentences.crowded,
    }
)


@dataclass(frozen=True)
class Doors:
    """What the doors need. `patience` is in seconds."""

    settings: Settings
    accounts: Accounts
    admission: Admission
    background: Background
    installer: Installer
    states: States
    strangers: Strangers
    patience: float = _PATIENCE
    waiting: Semaphore = field(default_factory=lambda: Semaphore(_WAITING))

    def start(self) -> Response:
        """Lead a person to the consent, with a state that is good in this browser only."""
        if missing := missing_settings(self.settings):
            return sentences.misses(missing).response()
        mode = request.args.get("mode", MODES[0])
        if mode not in MODES:
            raise Unusable("error", f"mode= is one of {', '.join(MODES)}.")
        client_id = request.args.get("client_id", "") or self.settings.client_id
        if client_id != self.settings.client_id:
            if not self._passes("starts", of=client_id):
                return sentences.too_many().response()
            if not self._is_known(client_id):
                return sentences.unknown_client().response()
        ticket = self.states.issue(client_id, request.cookies.get(self._cookie))
        answer = Response(status=302)
        answer.headers["Location"] = consent_url(self.settings, client_id=client_id, state=ticket.state, mode=mode)
        answer.set_cookie(
            self._cookie,
            ticket.browser,
            max_age=STATE_SECONDS,
            path="/",
            secure=self._is_https,
            httponly=True,
            # The way back from Kommo is a link from another site, which Strict would leave without the cookie.
            samesite="Lax",
        )
        return answer

    def callback(self) -> Response:
        """Take what Kommo brings back: a code, a refusal, or nothing at all when it probes the address."""
        if request.method == "HEAD":
            return Response()
        with self.strangers.counting(request.environ):
            arrival = read_callback(_query())
        if arrival is None:
            return sentences.probed().response()
        if missing := missing_settings(self.settings):
            return sentences.misses(missing).response()
        if arrival.from_widget:
            with self.strangers.attempt(request.environ):
                return self._from_widget(arrival)
        with self.strangers.counting(request.environ):
            return self._from_browser(arrival)

    def disconnect(self) -> Response:
        """Take Kommo's word that an account has gone for a hint, and have it looked into."""
        if request.method == "HEAD":
            return Response()
        with self.strangers.counting(request.environ):
            hint = read_disconnect(_query())
            concerns = self._prove(hint)
        if concerns and not self.background.accept(hint_errand(hint.account_id)):
            return sentences.store_away().response()
        _log.info("disconnect call", account=hint.account_id)
        return Response(status=200)

    def _from_widget(self, arrival: Arrival) -> Response:
        """Take a call that has no state: the code itself is the proof, and Kommo says whose it is."""
        client_id = arrival.client_id or self.settings.client_id
        passes = self._passes("widgets", of=arrival.host)
        if passes and not self._is_known(client_id):
            return sentences.unknown_client().response()
        if self._is_full():
            return sentences.crowded().response()
        after = 0.0 if passes else _EXCESS_SECONDS
        return self._refused(arrival, client_id, after=after) or sentences.under_way(reload=0).response()

    def _from_browser(self, arrival: Arrival) -> Response:
        """Take a person who comes back from the consent; raises SignatureError for a visit that did not begin here."""
        browser = request.cookies.get(self._cookie)
        client_id = self.states.check(arrival.state, browser)
        if arrival.client_id not in ("", client_id):
            raise SignatureError("The state was issued for another integration")
        id_ = install_id(arrival.code)
        verdict = self._verdict(arrival.state, browser or "", id_)
        if verdict is Verdict.SEEN:
            return self._outcome(id_)
        if verdict is not Verdict.WELCOME:
            self._tell(verdict.name.lower())
            return _TURNED_AWAY[verdict]().response()
        if not self._is_known(client_id):
            return sentences.unknown_client().response()
        return self._refused(arrival, client_id) or self._awaited(id_)

    def unusable(self, error: Unusable) -> Response:
        """Answer who brought what cannot be used."""
        self._tell(error.reason)
        return sentences.unusable(error.reason, str(error)).response()

    def refused(self, error: SignatureError) -> Response:
        """Answer who has not proven to come from Kommo, or to have begun here."""
        self._tell(str(error))
        if request.path.rstrip("/").endswith("/disconnect"):
            return sentences.unusable("hint", "The signature does not prove that the call comes from Kommo.").response()
        return sentences.state_refused(expired=isinstance(error, StateExpired)).response()

    def _tell(self, reason: str) -> None:
        if (left_out := self.strangers.line()) is not None:
            remote = self.strangers.address(request.environ)
            _log.warning("visit refused", reason=reason, remote=remote, left_out=left_out)

    def _verdict(self, state: str, browser: str, id_: str) -> Verdict:
        # Without a Redis to count in, those that wait in memory are the limit.
        with suppress(StoreUnavailable):
            return self.admission.person(state=state, browser=browser, errand_id=id_)
        return Verdict.WELCOME

    def _refused(self, arrival: Arrival, client_id: str, *, after: float = 0.0) -> Response | None:
        """Have an installation done; the answer if it cannot even be written down."""
        if not self.background.accept(self.installer.errand(arrival, client_id), after=after):
            return sentences.store_away().response()
        _log.info("installation asked for", host=arrival.host, widget=arrival.from_widget)
        return None

    def _passes(self, what: str, *, of: str) -> bool:
        with suppress(StoreUnavailable):
            return self.admission.passes(what, of=of)
        return True

    def _is_full(self) -> bool:
        with suppress(StoreUnavailable):
            return self.admission.is_full()
        return False

    def _is_known(self, client_id: str) -> bool:
        # A call from a widget never comes again: with Redis away it is judged later, in the background.
        with suppress(StoreUnavailable):
            return find_integration(self.settings, self.accounts, client_id) is not None
        return True

    def _awaited(self, id_: str) -> Response:
        if not self.waiting.acquire(blocking=False):
            return self._outcome(id_)
        try:
            return self._outcome(id_, seconds=self.patience if self._may_wait() else 0.0)
        finally:
            self.waiting.release()

    def _may_wait(self) -> bool:
        with suppress(StoreUnavailable):
            return self.admission.may_wait()
        return False

    def _outcome(self, id_: str, *, seconds: float = 0.0) -> Response:
        try:
            errand = self.background.wait(id_, seconds=seconds)
        except StoreUnavailable:
            errand = None
        if errand is None or errand.outcome is None:
            return sentences.under_way(reload=_RELOAD_SECONDS).response()
        return sentences.ended(errand.outcome).response()

    def _prove(self, hint: Hint) -> bool:
        """Prove a hint, else raise SignatureError; False when it concerns an integration that the account has left."""
        proof, settings = self.accounts.proof(hint.account_id), self.settings
        concerns = hint.client_id == proof.client_id
        if not concerns and hint.client_id != settings.client_id:
            raise SignatureError("The call names another integration")
        verify_account(
            hint.signature,
            secrets=proof.secrets if concerns else settings.client_secrets,
            client_id=hint.client_id,
            account_id=hint.account_id,
        )
        return concerns

    @property
    def _is_https(self) -> bool:
        return self.settings.public_url.startswith("https://")

    @property
    def _cookie(self) -> str:
        # With this prefix browsers take the cookie from no other host, not even a neighbour under the same domain.
        return "__Host-kommo-install" if self._is_https else "kommo-install"


def missing_settings(settings: Settings) -> Sequence[str]:
    """Say what has to be set before anything can be installed, a sentence each."""
    needed = (
        (settings.public_url, "Set KOMMO_PUBLIC_URL: the address under which Kommo reaches this receiver."),
        (settings.token_keys, "Set KOMMO_TOKEN_KEYS: `kommo accounts key` makes a key to encrypt tokens with."),
    )
    return [sentence for given, sentence in needed if not given]


def blueprint(doors: Doors) -> Blueprint:
    """Make the routes, for GET and HEAD alone; every answer below /oauth stays out of caches and referrers."""
    routes = Blueprint("installs", __name__)
    for name, view in (("start", doors.start), ("callback", doors.callback), ("disconnect", doors.disconnect)):
        for form in (f"{_PATH}/{name}", f"{_PATH}/{name}/"):
            routes.add_url_rule(form, name, view, methods=["GET"], provide_automatic_options=False)
    for kind, answer in (
        (Unusable, doors.unusable),
        (SignatureError, doors.refused),
        (StoreUnavailable, _away),
        (SettingsError, _unset),
    ):
        routes.register_error_handler(kind, answer)
    # Errands that a process left behind when it died are found by whichever process is asked for anything.
    routes.before_app_request(doors.background.look_around)
    # Of the app, since what no route takes belongs to no blueprint.
    routes.after_app_request(_guarded)
    return routes


def _query() -> dict[str, list[str]]:
    return request.args.to_dict(flat=False)


def _guarded(response: Response) -> Response:
    return guarded(response) if request.path.startswith(_PATH) else response


def _away(error: StoreUnavailable) -> Response:
    _log.error("visit not served: nothing can be stored", reason=str(error))
    return sentences.store_away().response()


def _unset(error: SettingsError) -> Response:
    # Its sentences may speak of accounts that are none of the visitor's business.
    _log.error("visit not served", reason=str(error))
    return sentences.unset().response()
