"""One stored account: what is known of it, and the bytes that are sealed."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Literal

from kommo.variables import Secret

#: `needs_person`: Kommo has revoked the access, or a long-lived token has ended; somebody has to install again or give
#: a new token. `disconnected`: somebody has taken the integration out in Kommo.
State = Literal["ready", "needs_person", "disconnected"]

#: What the record says in the clear, since it changes without the rest.
_OUTSIDE: Final = frozenset({"state", "reason", "version", "tried_at"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """An account of Kommo's and how it is called; times are unix seconds, 0 when not known."""

    account_id: int
    #: The account's name at Kommo, or its full host.
    subdomain: str
    #: "" for the integration of the environment.
    client_id: str = ""
    client_secret: Secret = field(default=Secret(), repr=False)
    access_token: Secret = field(default=Secret(), repr=False)
    #: "" for a long-lived token, which nothing renews.
    refresh_token: Secret = field(default=Secret(), repr=False)
    expires_at: int = 0
    refresh_expires_at: int = 0
    #: The secret before, still accepted of deliveries.
    previous_secret: Secret = field(default=Secret(), repr=False)
    state: State = "ready"
    reason: str = ""
    #: The host that knows the account under whatever name it has now.
    api_domain: str = ""
    redirect_uri: str = ""
    installed_at: int = 0
    renewed_at: int = 0
    #: Counts what was stored in place of something else; a late writer is known by it.
    version: int = 0
    #: When its last renewal was begun, whatever came of it.
    tried_at: int = field(default=0, compare=False)

    def to_bytes(self) -> bytes:
        """Give what is to be sealed."""
        inside = {name: value for name, value in asdict(self).items() if name not in _OUTSIDE}
        return json.dumps(inside, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, inside: bytes, *, state: str, reason: str, version: int, tried_at: int = 0) -> "Account":
        """Read it back; names that only another release knows are left out."""
        known = {one.name: one.type for one in fields(cls)}
        given: dict[str, Any] = {
            name: Secret(value) if known[name] is Secret else value
            for name, value in json.loads(inside).items()
            if name in known
        }
        known_state: Any = state
        return replace(cls(**given), state=known_state, reason=reason, version=version, tried_at=tried_at)
