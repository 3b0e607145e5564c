"""Read the list of an account's webhooks: is ours among them, is it on, does it get what it is to get?

https://developers.kommo.com/docs/webhooks-general
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from kommo.hooks import scalars

_SIGNATURE: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where an account's deliveries are to go."""

    account_id: int
    #: Base URL of the receiver; "" when it is not known.
    public_url: str = ""
    #: Signatures that prove the account, the present secret's first; none when no secret is known.
    signatures: Sequence[str] = ()

    @property
    def url(self) -> str:
        """What is registered, "" when something for it is not known."""
        if not self.public_url or not self.signatures:
            return ""
        return f"{self.public_url}/webhooks/{self.account_id}/{self.signatures[0]}/"

    def owns(self, destination: str) -> bool:
        """Say whether a registered URL leads to this receiver and proves the account, in whichever form.

        Where the base URL or the secret is not known, a path that is right and has a signature is enough.
        """
        base = self._base(destination)
        return base is not None and (not self.public_url or base == _host_and_path(self.public_url))

    def elsewhere(self, destination: str) -> str:
        """Name, without what proves it, the base of a URL that proves the account and leads to another receiver.

        "" for any other URL. Such a one is left by a changed public URL, or is another fleet's.
        """
        if not (self.public_url and self.signatures) or self.owns(destination):
            return ""
        base = self._base(destination)
        if base is None:
            return ""
        host, path = base
        return f"{urlsplit(destination).scheme}://{host.rpartition('@')[2]}{path}"

    def _base(self, destination: str) -> tuple[str, str] | None:
        """Give host and path of the receiver that a URL leads to, if it proves the account there."""
        try:
            given = urlsplit(destination)
        except ValueError:
            return None
        path, found, rest = given.path.rpartition(f"/webhooks/{self.account_id}")
        if not found or rest[:1] not in {"", "/"}:
            return None
        presented = [rest.strip("/"), *parse_qs(given.query).get("signature", [])]
        if not any(one in self.signatures if self.signatures else _SIGNATURE.fullmatch(one) for one in presented):
            return None
        return given.netloc.lower(), path


@dataclass(frozen=True, slots=True)
class Sight:
    """How our webhook stands in the list; `events` are those that it gets."""

    destination: str = ""
    is_on: bool = False
    events: frozenset[str] = frozenset()
    #: Bases of other receivers that get the account's deliveries with our proof.
    elsewhere: tuple[str, ...] = ()

    def lacking(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """Name the events that are wanted and do not come."""
        return tuple(name for name in wanted if name not in self.events)


def sight(webhooks: Iterable[Mapping[str, Any]], address: Address) -> Sight:
    """Find our webhook; of several, one that is on, with what all of those get. Those that lead elsewhere are named."""
    told = [(str(one.get("destination")), one) for one in webhooks]
    ours = [one for destination, one in told if address.owns(destination)]
    on = [one for one in ours if _is_on(one)]
    elsewhere = tuple(sorted({base for to, one in told if _is_on(one) and (base := address.elsewhere(to))}))
    if not ours:
        return Sight(elsewhere=elsewhere)
    # The one that would be registered now comes first, so that it is the one that is changed.
    shown = sorted(on or ours, key=lambda one: one.get("destination") != address.url)
    events = frozenset(str(name) for one in shown for name in one.get("settings") or ())
    return Sight(str(shown[0]["destination"]), bool(on), events, elsewhere)


def _is_on(webhook: Mapping[str, Any]) -> bool:
    return not scalars.flag(webhook.get("disabled"))


def _host_and_path(base: str) -> tuple[str, str]:
    own = urlsplit(base)
    return own.netloc.lower(), own.path
