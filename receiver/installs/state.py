"""The `state` of an installation: signed, short-lived, and good only in the browser that asked for it. Does no I/O.

Without it somebody could send another person's browser through the door with a code of his own account.
https://developers.kommo.com/docs/oauth-20
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from kommo.errors import SignatureError

#: Seconds from the start to the callback; the code that comes back lives as long.
STATE_SECONDS: Final = 20 * 60
_SALT: Final = "kommo installation state"
#: A cookie of ours: 32 random bytes.
_BROWSER: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class StateExpired(SignatureError):
    """It is ours, and older than STATE_SECONDS."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a browser takes along to Kommo, and what it keeps as a cookie meanwhile."""

    state: str = field(repr=False)
    browser: str = field(repr=False)


class States:
    """Issues and checks states. `client_secrets` are the integration's, newest first; the others still open."""

    def __init__(self, client_secrets: Sequence[str], *, seconds: int = STATE_SECONDS) -> None:
        self._seconds = seconds
        # The library signs with the last one.
        self._serializer = URLSafeTimedSerializer(
            list(reversed(client_secrets)),
            salt=_SALT,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def issue(self, client_id: str, browser: str | None) -> Ticket:
        """Make a state for an integration; `browser` is the cookie that came, kept so that two tabs can both go on."""
        kept = browser if browser and _BROWSER.fullmatch(browser) else secrets.token_urlsafe(32)
        # Two of the same second would be one, and each is good for one code.
        nonce = secrets.token_urlsafe(12)
        return Ticket(str(self._serializer.dumps([client_id, _digest(kept), nonce])), kept)

    def check(self, state: str, browser: str | None) -> str:
        """Return the client id that the state was issued for.

        Raises:
            StateExpired: it took too long.
            SignatureError: it is not ours, or another browser's.
        """
        try:
            client_id, digest, *_ = self._serializer.loads(state, max_age=self._seconds)
        except SignatureExpired:
            raise StateExpired("The state has expired") from None
        except BadSignature:
            raise SignatureError("The state is not ours") from None
        if not hmac.compare_digest(digest.encode(), _digest(browser or "").encode()):
            raise SignatureError("The state belongs to another browser")
        return str(client_id)


def _digest(browser: str) -> str:
    return hashlib.sha256(browser.encode("utf-8", "replace")).hexdigest()
