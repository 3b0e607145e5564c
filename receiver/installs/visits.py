"""Read what Kommo's redirect and its disconnect call bring along. Does no I/O.

https://developers.kommo.com/docs/oauth-20 · https://developers.kommo.com/docs/authorization-public
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from kommo.api.address import account_host, is_service
from kommo.errors import KommoError, RequestError

#: A code is at most about a thousand characters long.
_CODE: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,2000}")
_ACCOUNT: Final = re.compile(r"[1-9][0-9]{0,14}")
_FALSE: Final = ("", "0", "false")
#: Parameters with a meaning; given twice, it is not known which one was meant.
_NAMES: Final = (
    "code",
    "referer",
    "state",
    "client_id",
    "client_uuid",
    "from_widget",
    "error",
    "account_id",
    "signature",
)

Query = Mapping[str, Sequence[str]]


class Unusable(KommoError):
    """What was brought cannot be used; `reason` is a short name, and the text a sentence without any of the values."""

    def __init__(self, reason: str, sentence: str) -> None:
        self.reason = reason
        super().__init__(sentence)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A redirect with a code."""

    code: str = field(repr=False)
    #: The account's own host, which will be sent the client secret.
    host: str
    #: "" when the redirect does not name the integration.
    client_id: str
    state: str = field(repr=False)
    #: A server-to-server call after a widget was installed: it has no state, and nobody reads the answer.
    from_widget: bool


@dataclass(frozen=True, slots=True)
class Hint:
    """A call that says an account has been disconnected."""

    account_id: int
    client_id: str
    signature: str = field(repr=False)


def read_callback(query: Query) -> Arrival | None:
    """Read a redirect; None when nothing came along, as when Kommo probes the address. Raises Unusable."""
    if not query:
        return None
    given = _once(query)
    if given.get("error") == "access_denied":
        raise Unusable("denied", "Access was not granted.")
    if given.get("error"):
        raise Unusable("error", "Kommo reports an error instead of a code.")
    if not _CODE.fullmatch(given.get("code", "")):
        raise Unusable("code", "There is no code of Kommo's in this address.")
    return Arrival(
        code=given["code"],
        host=referer_host(given.get("referer", "")),
        client_id=given.get("client_id", ""),
        state=given.get("state", ""),
        from_widget=given.get("from_widget", "").lower() not in _FALSE,
    )


def referer_host(referer: str) -> str:
    """Return the account's host. It decides who receives the client secret: one name before a domain of Kommo's.

    Raises Unusable for anything else, however much it looks like one, and for a service of Kommo's.
    """
    sentence = "The address of the account is not one of kommo.com, amocrm.com or amocrm.ru."
    # Lower case of some letters beyond ASCII is ASCII; a bare name would be taken for one at kommo.com.
    if not referer.isascii() or "." not in referer:
        raise Unusable("referer", sentence)
    try:
        host = account_host(referer)
    except RequestError:
        raise Unusable("referer", sentence) from None
    if is_service(host):
        raise Unusable("referer", "The address is one of Kommo's services, and no account's.")
    return host


def read_disconnect(query: Query) -> Hint:
    """Read a disconnect call, which names the integration `client_uuid` or `client_id`. Raises Unusable."""
    given = _once(query)
    clients = {given[name] for name in ("client_uuid", "client_id") if given.get(name)}
    account = given.get("account_id", "")
    if len(clients) != 1 or not _ACCOUNT.fullmatch(account) or not given.get("signature"):
        raise Unusable("hint", "The call names no account, no integration, or carries no signature.")
    return Hint(int(account), clients.pop(), given["signature"])


def _once(query: Query) -> dict[str, str]:
    if any(len(query.get(name, ())) > 1 for name in _NAMES):
        raise Unusable("twice", "The address says the same thing twice.")
    return {name: values[0] for name, values in query.items() if values}
