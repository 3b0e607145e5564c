"""Kommo's token endpoint: a code or a refresh token against a pair of tokens.

https://developers.kommo.com/docs/oauth-20. The first half does no I/O; `OAuth` makes the calls, each in a slot of the
rate limit. Nothing is repeated here, and nothing stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Generic

import structlog

from kommo.api.address import account_host, api_base
from kommo.api.calls import Slot, Turnstile, send_paid
from kommo.api.protocol import Request, build
from kommo.api.transport import Transport
from kommo.errors import RequestError, ServerError
from kommo.store.accounts import Account, Credentials
from kommo.variables import Secret

_log = structlog.get_logger(__name__)

TOKEN_PATH: Final = "/oauth2/access_token"  # noqa: S105 - a path
SUBDOMAIN_PATH: Final = "/oauth2/account/current/subdomain"
#: Seconds that a call waits for its slot: a renewal's lease has to outlast this and the call.
PATIENCE_SECONDS: Final = 10.0
#: Seconds for which an access token lives when the answer does not say it.
ACCESS_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What the token endpoint gives."""

    access_token: Secret = field(repr=False)
    refresh_token: Secret = field(repr=False)
    #: Seconds for which the access token is good, from now.
    expires_in: int = ACCESS_SECONDS


def code_request(code: str, base_url: str, client_id: str, client_secret: str, redirect_uri: str) -> Request:
    """Build the exchange of a code, which is good for 20 minutes and once."""
    return _token_request(base_url, client_id, client_secret, redirect_uri, "authorization_code", {"code": code})


def refresh_request(account: Account, base_url: str) -> Request:
    """Build the renewal of a pair. The old one is good until the new one has been used."""
    spent = {"refresh_token": account.refresh_token}
    return _token_request(
        base_url, account.client_id, account.client_secret, account.redirect_uri, "refresh_token", spent
    )


def _token_request(
    base_url: str, client_id: str, client_secret: str, redirect_uri: str, grant: str, given: Mapping[str, str]
) -> Request:
    body = {"client_id": client_id, "client_secret": client_secret, "grant_type": grant, **given}
    return build("POST", TOKEN_PATH, json={**body, "redirect_uri": redirect_uri}, base_url=base_url)


def subdomain_request(account: Account, base_url: str) -> Request:
    """Build the question under which name an account lives now."""
    return build("GET", SUBDOMAIN_PATH, headers={"X-Refresh-Token": account.refresh_token}, base_url=base_url)


def pair_of(answer: object, request: Request) -> TokenPair:
    """Read the endpoint's answer; raises ServerError for one that holds no pair."""
    said: Mapping[str, Any] = answer if isinstance(answer, dict) else {}
    access, refresh = said.get("access_token"), said.get("refresh_token")
    if not (_is_token(access) and _is_token(refresh)):
        raise ServerError("the answer holds no pair of tokens", method=request.method, path=request.path, status=200)
    seconds = said.get("expires_in")
    good = isinstance(seconds, int) and not isinstance(seconds, bool) and seconds > 0
    return TokenPair(Secret(access), Secret(refresh), int(seconds) if good and seconds is not None else ACCESS_SECONDS)


def _is_token(value: object) -> bool:
    """A token goes into a header: a line break in it would smuggle another one."""
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable() and " " not in value


def host_of(answer: object, account: Account) -> str:
    """Read the full host of an account out of the answer; raises RequestError for one that is not an account's."""
    said: Mapping[str, Any] = answer if isinstance(answer, dict) else {}
    if said.get("id") is not None and str(said["id"]) != str(account.account_id):
        raise RequestError(f"asked for account {account.account_id}, Kommo spoke of another one")
    label, domain = str(said.get("subdomain") or ""), str(said.get("domain") or "")
    if domain.lower().startswith(f"{label.lower()}.") and domain.count(".") > 1:
        return account_host(domain)
    own_domain = account_host(account.subdomain).partition(".")[2]
    return account_host(f"{label}.{domain or own_domain}")


class OAuth(Generic[Slot]):
    """The calls to the token endpoint. Safe for threads if its parts are.

    `turnstile` gives the way through the rate limit for credentials; before an account is known, its number is 0.
    Each call raises the ApiError family: TryLater when the same may be sent again, AccessEnded for a token that was
    revoked, Unauthorized for a wrong client; and RequestError for a host that is nobody's account.
    """

    def __init__(
        self,
        transport: Transport,
        turnstile: Callable[[Credentials], Turnstile[Slot]],
        *,
        api_base_override: str = "",
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._transport = transport
        self._turnstile = turnstile
        self._override = api_base_override or None
        self._patience = patience

    def exchange(self, code: str, host: str, client_id: str, client_secret: str, redirect_uri: str) -> TokenPair:
        """Get the first pair for a code; `host` decides who receives the secret, so it has to be an account's."""
        base = api_base(account_host(host), self._override)
        request = code_request(code, base, client_id, client_secret, redirect_uri)
        return pair_of(self._call(request, Credentials(0, client_id, host, Secret())), request)

    def refresh(self, account: Account) -> TokenPair:
        """Get a new pair; client id, secret and redirect of the account have to be filled in (Accounts.resolved)."""
        request = refresh_request(account, api_base(account.subdomain, self._override))
        return pair_of(self._call(request, _credentials(account)), request)

    def current_subdomain(self, account: Account) -> str:
        """Ask for the full host under which an account lives now; raises RequestError when nobody can be asked."""
        if not account.api_domain and not self._override:
            raise RequestError(f"account {account.account_id}: no host is known that could say its present name")
        base = api_base(account.subdomain if self._override else account.api_domain, self._override)
        answer = self._call(subdomain_request(account, base), _credentials(account))
        return host_of(answer, account)

    def _call(self, request: Request, credentials: Credentials) -> Any:
        # What is refused here, but for what holds up all calls, concerns the tokens and no other call.
        turnstile = self._turnstile(credentials)
        report = partial(_report, credentials.account_id)
        return send_paid(request, self._transport, turnstile, patience=self._patience, report=report)


def _report(account_id: int, request: Request, status: int | None, _waited: float, _took: float) -> None:
    _log.info("token call", method=request.method, path=request.path, status=status, account=account_id)


def _credentials(account: Account) -> Credentials:
    return Credentials(account.account_id, account.client_id, account.subdomain, account.access_token)
