"""Access and refresh tokens: how they are made, how long they last, how a pair takes the place of the one before.

Source: https://developers.kommo.com/docs/oauth-20. Its rules on rotation, as they are read here: a refresh
token makes a new pair; as long as neither token of the new pair has been used, the old refresh token works
once more, which makes up for a lost answer; after that it is spent. Who shows a spent one shows a leak, and
all tokens of the installation end. An access token lasts until its time is over, whatever comes after it,
unless its pair was replaced without ever having been used: unconfirmed.
"""

import base64
import json
import secrets
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from sandbox.pages import oauth_page
from sandbox.problems import Refusal

SCOPES = ("push_notifications", "files", "crm", "files_delete", "notifications")


@dataclass(frozen=True)
class Issuer:
    """What is written into every access token."""

    client_id: str
    account_id: int
    user_id: int
    base_domain: str
    api_domain: str

    def access_token(self, *, issued: float, ends: float) -> str:
        """Return a token in the form of a JWT whose signature is noise: nobody can check that of a real one either."""
        number = secrets.token_hex(32)
        claims = {
            "aud": self.client_id,
            "jti": number,
            "iat": int(issued),
            "nbf": int(issued),
            "exp": int(ends),
            "sub": str(self.user_id),
            "grant_type": "",
            "account_id": self.account_id,
            "base_domain": self.base_domain,
            "version": 2,
            "scopes": list(SCOPES),
            "hash_uuid": str(uuid.uuid4()),
            "api_domain": self.api_domain,
        }
        parts = (json.dumps(one).encode() for one in ({"typ": "JWT", "alg": "RS256", "jti": number}, claims))
        return ".".join(_base64url(one) for one in (*parts, secrets.token_bytes(64)))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Pair:
    """Two tokens that were issued together; times are epoch seconds."""

    access: str
    refresh: str
    access_ends: float
    refresh_ends: float
    used: bool = False


@dataclass
class Installation:
    """The pairs that came out of one code: the present one, the one before, and what is left of the others."""

    pair: Pair
    former: Pair | None = None
    older: list[Pair] = field(default_factory=list)
    spent: set[str] = field(default_factory=set)
    revoked: bool = False

    def accepted(self) -> Iterator[Pair]:
        """Yield the pairs whose access token is good for the rest of its time."""
        if not self.revoked:
            yield from (self.pair, *([self.former] if self.former else []), *self.older)

    def knows(self, refresh: str) -> bool:
        """Tell whether that refresh token was ever one of its own."""
        held = (self.pair.refresh, self.former.refresh if self.former else None)
        return refresh in held or refresh in self.spent

    def rotate(self, pair: Pair) -> None:
        """Put a new pair in the place of the present one."""
        if self.former is not None:
            self.spent.add(self.former.refresh)
            self.older.append(self.former)
        self.former, self.pair = self.pair, pair

    def replace(self, pair: Pair) -> None:
        """Put a new pair in the place of one that never reached anybody."""
        self.spent.add(self.pair.refresh)
        self.pair = pair


class TokenBook:
    """Issue tokens and judge them."""

    def __init__(
        self, issuer: Issuer, *, access_seconds: float, refresh_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._issuer = issuer
        self._access_seconds = access_seconds
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        self._lock = Lock()
        self._installations: list[Installation] = []
        self._long_lived: dict[str, float] = {}

    def install(self) -> Pair:
        """Begin an installation with its first pair."""
        with self._lock:
            pair = self._new()
            self._installations.append(Installation(pair))
            return pair

    def refresh(self, token: str) -> Pair:
        """Return a new pair for a refresh token; raises Refusal 401 with the service's hint."""
        with self._lock:
            found = next((one for one in self._installations if one.knows(token)), None)
            if found is None:
                raise refused("Cannot decrypt the refresh token")
            return self._renewed(found, token)

    def _renewed(self, installation: Installation, token: str) -> Pair:
        repeated = installation.former is not None and token == installation.former.refresh
        spent = token in installation.spent or (repeated and installation.pair.used)
        if installation.revoked or spent:
            installation.revoked = True
            raise refused("Token has been revoked")
        held = installation.former if repeated and installation.former else installation.pair
        if self._clock() >= held.refresh_ends:
            raise refused("Token has expired")
        pair = self._new()
        if repeated:
            installation.replace(pair)
        else:
            # Whoever refreshes with a token has got it.
            held.used = True
            installation.rotate(pair)
        return pair

    def admits(self, access: str) -> bool:
        """Tell whether an access token is good now; using one confirms that its pair arrived."""
        with self._lock:
            if access in self._long_lived:
                return self._clock() < self._long_lived[access]
            pairs = (pair for one in self._installations for pair in one.accepted())
            found = next((pair for pair in pairs if pair.access == access), None)
            if found is None or self._clock() >= found.access_ends:
                return False
            found.used = True
            return True

    def is_live(self, refresh: str) -> bool:
        """Tell whether a refresh token belongs to an installation and is not spent."""
        with self._lock:
            live = (one for one in self._installations if not one.revoked and one.knows(refresh))
            return any(refresh not in one.spent for one in live)

    def revoke(self, *, long_lived: bool = False) -> None:
        """End every installation, and with `long_lived` the tokens that need none."""
        with self._lock:
            for one in self._installations:
                one.revoked = True
            if long_lived:
                self._long_lived.clear()

    def keep(self, token: str) -> None:
        """Take a token that never ends."""
        with self._lock:
            self._long_lived[token] = float("inf")

    def long_lived(self, seconds: float) -> str:
        """Return a token that lasts so long and has no refresh token."""
        with self._lock:
            now = self._clock()
            token = self._issuer.access_token(issued=now, ends=now + seconds)
            self._long_lived[token] = now + seconds
            return token

    def _new(self) -> Pair:
        now = self._clock()
        ends = now + self._access_seconds
        access = self._issuer.access_token(issued=now, ends=ends)
        return Pair(access, f"def50200{secrets.token_hex(200)}", ends, now + self._refresh_seconds)


def refused(hint: str | None, *, status: int = 401, detail: str = "The token was refused.") -> Refusal:
    """Return a refusal of the token endpoint."""
    return Refusal(oauth_page(status, "Authorization failed", detail, hint))


def answer(pair: Pair, seconds: float) -> dict[str, Any]:
    """Return a pair as the token endpoint gives it."""
    told = {"token_type": "Bearer", "expires_in": int(seconds)}
    return {**told, "access_token": pair.access, "refresh_token": pair.refresh}
