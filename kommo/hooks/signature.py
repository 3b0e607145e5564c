"""Prove who sent a request. Pure: takes what was presented and the secrets, returns nothing or raises.

Ordinary webhooks of Kommo carry no signature. The receiver therefore puts one into the URL that it registers, made the
way Kommo signs its disconnect call: HMAC-SHA256 over client id and account. The Chats API signs the body.

https://developers.kommo.com/docs/oauth-20 · https://developers.kommo.com/reference/receiving-chat-webhooks
"""

import hmac
import re
from collections.abc import Iterable, Sequence

from kommo.errors import SignatureError

_SHA256 = re.compile(rb"[0-9a-f]{64}")
_SHA1 = re.compile(rb"[0-9a-f]{40}")
#: Secrets of an account: the current one and that of a rotation.
_USUAL_SECRETS = 2


def url_signature(client_secret: str, client_id: str, account_id: int | str) -> str:
    """Return the hex HMAC-SHA256 of `client_id|account_id`, as Kommo's disconnect call and our URLs carry it.

    https://developers.kommo.com/docs/oauth-20
    """
    return _hmac(client_secret, f"{client_id}|{account_id}".encode(), "sha256")


def webhook_url(public_url: str, client_secret: str, client_id: str, account_id: int) -> str:
    """Make the address to register at Kommo for an account; who knows it can send deliveries for that account.

    It ends in `/`: Kommo has been seen to refuse others.
    """
    return f"{public_url}/webhooks/{account_id}/{url_signature(client_secret, client_id, account_id)}/"


def body_signature(client_secret: str, body: bytes) -> str:
    """Return the hex HMAC-SHA256 of a body."""
    return _hmac(client_secret, body, "sha256")


def chat_signature(channel_secret: str, body: bytes) -> str:
    """Return the hex HMAC-SHA1 of a body, as the Chats API sends it in `X-Signature`.

    https://developers.kommo.com/reference/receiving-chat-webhooks
    """
    return _hmac(channel_secret, body, "sha1")


def verify_account(presented: str | None, *, secrets: Sequence[str], client_id: str, account_id: int) -> None:
    """Accept the signature of an account, as in a registered URL or a disconnect call; else raise SignatureError.

    `presented` is text as WSGI gives it, `secrets` the current secret and those of a rotation under way.
    """
    given = _digest(presented, _SHA256)
    _match(given, [(secret, url_signature(secret, client_id, account_id)) for secret in _padded(secrets)])


def verify_header(
    presented: str | None, *, secrets: Sequence[str], client_id: str, account_id: int, body: bytes
) -> None:
    """Accept an `X-Signature` over either the account or the body; else raise SignatureError."""
    given = _digest(presented, _SHA256)
    accounts = [(secret, url_signature(secret, client_id, account_id)) for secret in _padded(secrets)]
    bodies = [(secret, body_signature(secret, body)) for secret in _padded(secrets)]
    _match(given, accounts + bodies)


def verify_chat(presented: str | None, *, secrets: Sequence[str], body: bytes) -> None:
    """Accept an `X-Signature` of the Chats API over the body, made with a channel secret; else raise SignatureError."""
    given = _digest(presented, _SHA1)
    _match(given, [(secret, chat_signature(secret, body)) for secret in _padded(secrets)])


def check_digest(presented: str | None) -> None:
    """Raise SignatureError for what cannot be a SHA-256 signature, before anything is read or looked up for it.

    64 hexadecimal digits in lower case, as PHP writes them.
    """
    _digest(presented, _SHA256)


def _hmac(secret: str, message: bytes, algorithm: str) -> str:
    # A lone surrogate in a secret is a mistake of the settings and must not become an error of the request.
    key = secret.encode("utf-8", "surrogateescape")
    return hmac.new(key, message, algorithm).hexdigest()


def _digest(presented: str | None, form: re.Pattern[bytes]) -> bytes:
    """Return what was presented as bytes, if it has the form of a digest."""
    if not presented:
        raise SignatureError("No signature was presented")
    # Characters beyond ASCII cannot be part of a digest; as `?` they fail the same way as any other.
    given = presented.encode("ascii", "replace")
    if form.fullmatch(given) is None:
        raise SignatureError("What was presented is not a signature")
    return given


def _padded(secrets: Sequence[str]) -> tuple[str, ...]:
    """Fill up with empty secrets, so that an account without any, or none under rotation, takes as long as others."""
    return (*secrets, *[""] * (_USUAL_SECRETS - len(secrets)))


def _match(given: bytes, expected: Iterable[tuple[str, str]]) -> None:
    # Every candidate is compared, so that the time does not tell which secret was right. An empty secret never is one:
    # anybody could sign with it.
    matches = [hmac.compare_digest(given, candidate.encode("ascii")) & bool(secret) for secret, candidate in expected]
    if not any(matches):
        raise SignatureError("The signature is wrong")
