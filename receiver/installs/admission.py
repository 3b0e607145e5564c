"""Who may bring a code: how many visits are taken, and how many installations may wait.

None of it asks for more than the visit itself can show, so each of these numbers is there for what a stranger could do
at full speed: occupy the threads that deliveries need, or spend the account's own share of Kommo's rate limit.
"""

import time
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import sha256
from typing import Final

from receiver.installs.errands import Errands
from receiver.installs.state import STATE_SECONDS

#: Visits of one kind that are taken within a minute: in all, and of one browser, account or integration.
A_MINUTE: Final = 60
A_MINUTE_OF_ONE: Final = 5
#: Codes that are sent within a minute: a seventh of what Kommo allows. https://developers.kommo.com/docs/limitations
EXCHANGES_A_MINUTE: Final = 60
#: Visits within a minute that may wait for the outcome, each in a thread that deliveries need too.
WAITS_A_MINUTE: Final = 10
#: Installations that may be under way at the same time.
MOST_UNDER_WAY: Final = 100
_NAME_CHARS: Final = 64


class Verdict(Enum):
    """What becomes of a person's visit."""

    WELCOME = auto()
    #: The same code came with this state before: its installation is shown, and nothing is spent.
    SEEN = auto()
    #: Another code has used the state up.
    SPENT = auto()
    #: Above what is taken within a minute.
    MANY = auto()
    #: As many installations are under way as there may be.
    FULL = auto()


@dataclass(frozen=True)
class Admission:
    """Counts visits. `kind` is that of the errands that installations are. All of it may raise StoreUnavailable."""

    errands: Errands
    kind: str

    def passes(self, what: str, *, of: str) -> bool:
        """Count a visit; False for those above the limits."""
        names = ((f"{what}:{of[:_NAME_CHARS]}", A_MINUTE_OF_ONE), (what, A_MINUTE))
        return all(self.errands.passes(name, a_minute=most) for name, most in names)

    def person(self, *, state: str, browser: str, errand_id: str) -> Verdict:
        """Judge a visit whose state is good; once it is welcome, the state is good for no other code."""
        name = f"state:{_digest(state)}"
        user = self.errands.claimed(name)
        if user not in {None, errand_id}:
            return Verdict.SPENT
        if user and self.errands.look(errand_id):
            return Verdict.SEEN
        if not self.passes("callbacks", of=_digest(browser)):
            return Verdict.MANY
        if self.is_full():
            return Verdict.FULL
        return Verdict.WELCOME if self.errands.claim(name, errand_id, seconds=STATE_SECONDS) else Verdict.SPENT

    def may_wait(self) -> bool:
        """Count a visit that would wait for the outcome; False when it may not."""
        return self.errands.passes("waits", a_minute=WAITS_A_MINUTE)

    def exchange_in(self) -> float:
        """Count a code that is to be sent; 0 when it may be, else seconds after which to ask again."""
        if self.errands.passes("exchanges", a_minute=EXCHANGES_A_MINUTE):
            return 0.0
        return 60.0 - time.time() % 60

    def is_full(self) -> bool:
        """Say whether as many installations are under way as there may be."""
        return self.errands.waiting(self.kind) >= MOST_UNDER_WAY


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
