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
        try:
            given, own = urlsplit(destination), urlsplit(self.public_url)
        except ValueError:
            return False
        if self.public_url and given.netloc.lower() != own.netloc.lower():
            return False
        door = f"{own.path}/webhooks/{self.account_id}"
        below, found, rest = given.path.partition(door)
        if not found or (below and self.public_url) or rest[:1] not in {"", "/"}:
            return False
        presented = [rest.strip("/"), *parse_qs(given.query).get("signature", [])]
        return any(one in self.signatures if self.signatures else _SIGNATURE.fullmatch(one) for one in presented)


@dataclass(frozen=True, slots=True)
class Sight:
    """How our webhook stands in the list; `events` are those that it gets."""

    destination: str = ""
    is_on: bool = False
    events: frozenset[str] = frozenset()

    def lacking(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """Name the events that are wanted and do not come."""
        return tuple(name for name in wanted if name not in self.events)


def sight(webhooks: Iterable[Mapping[str, Any]], address: Address) -> Sight:
    """Find our webhook; of several, one that is on, with what all of those get."""
    ours = [one for one in webhooks if address.owns(str(one.get("destination")))]
    on = [one for one in ours if not scalars.flag(one.get("disabled"))]
    if not ours:
        return Sight()
    # The one that would be registered now comes first, so that it is the one that is changed.
    shown = sorted(on or ours, key=lambda one: one.get("destination") != address.url)
    events = frozenset(str(name) for one in shown for name in one.get("settings") or ())
    return Sight(str(shown[0]["destination"]), bool(on), events)
