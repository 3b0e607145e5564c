"""What those may cost who have proven nothing: tries for each address, and lines in the log.

Kept in this process's memory, so that a stranger costs no other store anything: with several processes each has its
own count. A signature in the address of a request proves it without any of this: Kommo's own addresses are not known,
and behind a proxy all addresses may be one.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from werkzeug.exceptions import TooManyRequests

from kommo.errors import SettingsError, StoreError
from receiver.addresses import Network, client_address, neighbourhood
from receiver.buckets import Buckets

#: Failed proofs that an address may make at once, and how many come back a second.
TRIES: Final = 10
TRIES_A_SECOND: Final = 1.0
#: Addresses that are remembered, of IPv6 by their /64: at most about 2 MB.
ADDRESSES: Final = 10_000
#: Lines about refusals that may be written at once, and how many more a second; the others are counted.
LINES: Final = 20
LINES_A_SECOND: Final = 5.0
#: The receiver's own trouble, which no stranger is to pay for.
_OURS: Final = (StoreError, SettingsError)


class Strangers:
    """Counts failed proofs by address, and lines about them; `trusted` are the proxies that are believed."""

    def __init__(self, trusted: Sequence[Network] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        self._trusted = trusted
        self._tries = Buckets(burst=TRIES, per_second=TRIES_A_SECOND, names=ADDRESSES, clock=clock)
        self._lines = Buckets(burst=LINES, per_second=LINES_A_SECOND, names=1, clock=clock)
        self._lock = threading.Lock()
        self._left_out = 0

    def address(self, environ: Mapping[str, Any]) -> str:
        """Return the address that a request comes from."""
        return client_address(environ, self._trusted)

    @contextmanager
    def attempt(self, environ: Mapping[str, Any]) -> Iterator[None]:
        """Let a request try to prove itself, which costs its address a try unless it succeeds.

        Raises:
            TooManyRequests: no try is left. Nothing was looked at, so that the answer tells nothing.
        """
        name = neighbourhood(self.address(environ))
        if not self._tries.take(name):
            raise TooManyRequests
        try:
            yield
        except _OURS:
            self._tries.give_back(name)
            raise
        self._tries.give_back(name)

    @contextmanager
    def counting(self, environ: Mapping[str, Any]) -> Iterator[None]:
        """Charge the address of a request for a failure, and never refuse: for proofs that cost nothing to check."""
        try:
            yield
        except _OURS:
            raise
        except Exception:
            self._tries.take(neighbourhood(self.address(environ)))
            raise

    def line(self) -> int | None:
        """Ask to write a line about a refusal: how many were left out before it, None if this one is left out too."""
        with self._lock:
            if not self._lines.take(""):
                self._left_out += 1
                return None
            left_out, self._left_out = self._left_out, 0
            return left_out
