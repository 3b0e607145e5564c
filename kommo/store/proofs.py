"""Remember for some seconds with what deliveries are proven: it is asked for in every request."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kommo.errors import SettingsError, StoreUnavailable
from kommo.store.breaker import Breaker

#: Seconds after which a change made elsewhere is seen; reading it takes a little more.
SEEN_SECONDS: Final = 4.5
#: Seconds for which a Redis that was away is not asked again: each attempt costs a request its time.
AWAY_SECONDS: Final = 1.0
#: How many accounts that are not stored are remembered as such. Strangers can name any number of them.
STRANGERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Proof:
    """What a delivery of an account is proven with."""

    client_id: str
    #: Newest first.
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Proof({self.client_id!r}, {len(self.secrets)} secrets)"


@dataclass(frozen=True, slots=True)
class _Seen:
    proof: Proof | None
    until: float


#: Told of each account that was read: what proves it, None when it is not stored.
Noticed = Callable[[int, Proof | None], None]


class Proofs:
    """The proofs of stored accounts as they were read last; safe for threads.

    While Redis is away, or a record cannot be opened, what was read before goes on being used. With a breaker Redis is
    not asked until that is closed, else not for AWAY_SECONDS.
    """

    def __init__(
        self,
        read: Callable[[int], Proof | None],
        *,
        clock: Callable[[], float] = time.monotonic,
        strangers: int = STRANGERS,
        breaker: Breaker | None = None,
        noticed: Noticed | None = None,
    ) -> None:
        self._read = read
        self._clock = clock
        self._most_strangers = strangers
        self._breaker = breaker
        self._noticed = noticed
        self._lock = threading.Lock()
        self._stored: dict[int, _Seen] = {}
        self._strangers: dict[int, _Seen] = {}
        self._away_until = 0.0

    def of(self, account_id: int) -> Proof | None:
        """Give an account's proof, None when it is not stored.

        Raises:
            StoreUnavailable: it has never been read here, and cannot be read now.
        """
        seen = self._stored.get(account_id) or self._strangers.get(account_id)
        if seen and self._clock() < seen.until:
            return seen.proof
        try:
            proof = self._read_unless_away(account_id)
        except (StoreUnavailable, SettingsError) as error:
            if seen is None:
                raise StoreUnavailable(str(error)) from error
            proof = seen.proof
        else:
            if self._noticed:
                self._noticed(account_id, proof)
        self._remember(account_id, proof)
        return proof

    def remembers(self, account_id: int) -> bool:
        """Say whether `of` answers without asking Redis."""
        seen = self._stored.get(account_id) or self._strangers.get(account_id)
        return seen is not None and self._clock() < seen.until

    def forget(self, account_id: int) -> None:
        """Read an account anew: it was changed here."""
        with self._lock:
            self._stored.pop(account_id, None)
            self._strangers.pop(account_id, None)

    def _read_unless_away(self, account_id: int) -> Proof | None:
        if self._clock() < self._away_until or (self._breaker and self._breaker.is_open):
            raise StoreUnavailable("Redis was away a moment ago")
        try:
            return self._read(account_id)
        except StoreUnavailable as error:
            if self._breaker:
                self._breaker.trip(str(error))
            else:
                self._away_until = self._clock() + AWAY_SECONDS
            raise

    def _remember(self, account_id: int, proof: Proof | None) -> None:
        seen = _Seen(proof, self._clock() + SEEN_SECONDS)
        with self._lock:
            if proof is not None:
                self._strangers.pop(account_id, None)
                self._stored[account_id] = seen
                return
            self._stored.pop(account_id, None)
            if len(self._strangers) >= self._most_strangers:
                self._strangers.clear()
            self._strangers[account_id] = seen
