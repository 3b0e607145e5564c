"""What a token of Kommo's says of itself. Does no I/O.

Access tokens are JWT (https://developers.kommo.com/docs/oauth-20). Nobody but Kommo can verify them, so what they say
serves for warnings and addresses, and proves nothing.
"""

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kommo.api.address import account_host
from kommo.api.problems import parse_json
from kommo.errors import RequestError

#: The year 3000: later moments are nonsense, and no date can be made of some of them.
_LAST_SECOND: Final = 32_503_680_000


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says; 0 and "" where it says nothing."""

    #: Unix seconds.
    expires_at: int = 0
    account_id: int = 0
    #: The host that knows the account under whatever name it has now.
    api_domain: str = ""


def claims_of(token: str) -> Claims:
    """Read a token's claims; one that is no JWT says nothing."""
    payload = _payload(token)
    return Claims(
        expires_at=_whole(payload.get("exp"), most=_LAST_SECOND),
        account_id=_whole(payload.get("account_id"), most=10**15),
        api_domain=_host(payload.get("api_domain")),
    )


def _payload(token: str) -> Mapping[str, Any]:
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        read = parse_json(urlsafe_b64decode(parts[1].encode("ascii") + b"=="))
    except (ValueError, binascii.Error):
        return {}
    return read if isinstance(read, dict) else {}


def _whole(value: object, *, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        number = int(float(value))
    except (ValueError, OverflowError):
        return 0
    return number if 0 < number <= most else 0


def _host(value: object) -> str:
    """Take a host only if it is one of Kommo's: the refresh token will be sent there."""
    try:
        return account_host(str(value)) if value and "." in str(value) else ""
    except RequestError:
        return ""
