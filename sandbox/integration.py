"""The integration that may be installed: its keys, its codes, and what the token endpoint says to a request.

Source: https://developers.kommo.com/docs/oauth-20; the hints are those of the service.
"""

import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from urllib.parse import urlencode, urljoin

from sandbox.directory import INTEGRATION_USER
from sandbox.options import Options
from sandbox.pages import oauth_page
from sandbox.problems import Refusal
from sandbox.state import Json
from sandbox.tokens import Issuer, Pair, TokenBook, answer, refused

_FIELDS = {"authorization_code": "code", "refresh_token": "refresh_token"}


@dataclass
class Code:
    """A code of an installation; it ends at an epoch second or with its first use."""

    ends: float
    spent: bool = False


class Integration:
    """Know the integration's keys, give codes, and change codes and refresh tokens into tokens."""

    def __init__(self, options: Options, clock: Callable[[], float]) -> None:
        self.client_id = options.client_id
        self.client_secret = options.client_secret
        self.redirect_uri = options.redirect_uri
        self.disconnect_uri = options.disconnect_uri or urljoin(options.redirect_uri, "disconnect")
        issuer = Issuer(options.client_id, options.account_id, INTEGRATION_USER, options.domain, options.api_domain)
        lives = {"access_seconds": options.access_seconds, "refresh_seconds": options.refresh_seconds}
        self.book = TokenBook(issuer, **lives, clock=clock)
        for token in options.tokens:
            self.book.keep(token)
        self._options = options
        self._clock = clock
        self._lock = Lock()
        self._codes: dict[str, Code] = {}
        self._calls: Counter[str] = Counter()
        self._grants: Counter[str] = Counter()

    def code(self) -> str:
        """Return a new code."""
        with self._lock:
            text = f"def50200{secrets.token_hex(150)}"
            self._codes[text] = Code(self._clock() + self._options.code_seconds)
            return text

    def redirection(self, **parameters: str) -> str:
        """Return the redirect address with what the service adds to it."""
        sign = "&" if "?" in self.redirect_uri else "?"
        return f"{self.redirect_uri}{sign}{urlencode(parameters)}"

    def disconnection(self, name: str) -> str:
        """Return the address that is called when the integration is switched off; `name` is that of the client's id."""
        message = f"{self.client_id}|{self._options.account_id}".encode()
        signature = hmac.new(self.client_secret.encode(), message, hashlib.sha256).hexdigest()
        asked = {name: self.client_id, "account_id": str(self._options.account_id), "signature": signature}
        return f"{self.disconnect_uri}?{urlencode(asked)}"

    def rotate_secret(self) -> str:
        """Return a new secret; every token that OAuth gave ends."""
        self.client_secret = f"made-up-secret-{secrets.token_hex(24)}"
        self.book.revoke()
        return self.client_secret

    def answer(self, asked: Json) -> Json:
        """Return the tokens that a request to the token endpoint earns; raises Refusal."""
        grant = str(asked.get("grant_type"))
        with self._lock:
            self._calls[grant] += 1
        pair = self._pair(grant, asked)
        with self._lock:
            self._grants[grant] += 1
        return answer(pair, self._options.access_seconds)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many token requests came for each grant, and how many earned tokens."""
        with self._lock:
            return {grant: {"asked": self._calls[grant], "granted": self._grants[grant]} for grant in self._calls}

    def _pair(self, grant: str, asked: Json) -> Pair:
        if grant not in _FIELDS:
            raise refused("Check the grant_type parameter", status=400, detail="The grant type is not supported.")
        given = asked.get(_FIELDS[grant])
        if not isinstance(given, str) or not given:
            raise refused(f"Check the {_FIELDS[grant]} parameter", status=400, detail="A parameter is missing.")
        self._know(asked)
        if grant == "refresh_token":
            return self.book.refresh(given)
        self._spend(given)
        return self.book.install()

    def _know(self, asked: Json) -> None:
        keys = ((asked.get("client_id"), self.client_id), (asked.get("client_secret"), self.client_secret))
        if any(given != ours for given, ours in keys) or asked.get("redirect_uri") != self.redirect_uri:
            raise Refusal(oauth_page(401, "Unknown client", "The client could not be authorized."))

    def _spend(self, text: str) -> None:
        with self._lock:
            code = self._codes.get(text)
            if code is None:
                raise _bad_code("Cannot decrypt the authorization code")
            if code.spent:
                raise _bad_code("Authorization code has been revoked")
            if self._clock() >= code.ends:
                raise _bad_code("Authorization code has expired")
            code.spent = True


def _bad_code(hint: str) -> Refusal:
    return refused(hint, status=400, detail="The code was refused.")
