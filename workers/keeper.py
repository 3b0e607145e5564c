"""Keep leases alive while their work goes on: one thread a process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from kommo.errors import StoreUnavailable
from kommo.store.chains import Chains, Lease
from kommo.store.connection import connect
from kommo.store.keys import Keys
from kommo.store.lanes import QUEUE as LANES
from kommo.store.outbox import QUEUE as OUTBOX

_log = structlog.get_logger(__name__)
#: Seconds between two renewals, and how long one may take: a lease of 5 s survives two that fail.
_EVERY: Final = 1.0
_ANSWER: Final = 0.5


class Keeper:
    """Renews leases until their work is done, or has taken longer than it may."""

    def __init__(self, redis_url: str, keys: Keys) -> None:
        # A connection of its own, with short deadlines: a renewal that hangs must leave time for the next.
        self._redis = connect(redis_url, connect_seconds=_ANSWER, answer_seconds=_ANSWER)
        self._chains = {queue: Chains(queue, self._redis, keys) for queue in (LANES, OUTBOX)}
        self._kept: dict[Lease, tuple[str, float]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    @contextmanager
    def holding(self, chains: Chains, *leases: Lease, seconds: float) -> Iterator[None]:
        """Keep leases while the block runs, for at most so long; then they end and somebody else may take them."""
        ends = time.monotonic() + seconds
        with self._lock:
            self._kept.update(dict.fromkeys(leases, (chains.queue, ends)))
        try:
            yield
        finally:
            with self._lock:
                for lease in leases:
                    self._kept.pop(lease, None)

    def give_back(self) -> int:
        """Hand back the steps under way, due at once and not counted; say how many.

        Not the writes: those may have been sent, and whoever takes them over has to know.

        Raises:
            StoreUnavailable: Redis is away; the leases end by themselves.
        """
        with self._lock:
            leases = [lease for lease, (queue, _) in self._kept.items() if queue == LANES]
            for lease in leases:
                self._kept.pop(lease)
        return self._chains[LANES].give_back(leases)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=_EVERY + 1)
        self._redis.close()

    def _run(self) -> None:
        while not self._stopped.wait(_EVERY):
            try:
                self._renew_all()
            except StoreUnavailable as error:
                _log.warning("leases not renewed", error=str(error))
            except Exception:  # whatever it was, all other leases of the process hang on this thread
                _log.exception("leases not renewed")

    def _renew_all(self) -> None:
        now = time.monotonic()
        with self._lock:
            kept = dict(self._kept)
        for queue, chains in self._chains.items():
            leases = [lease for lease, (its, ends) in kept.items() if its == queue and ends > now]
            for lease, held in chains.renew(leases).items():
                if not held:
                    self._drop(lease, "lost: its work will be discarded")
        for lease, (_, ends) in kept.items():
            if ends <= now:
                self._drop(lease, "given up: its work takes longer than it may")

    def _drop(self, lease: Lease, why: str) -> None:
        with self._lock:
            known = self._kept.pop(lease, None)
        if known:
            _log.warning(f"lease {why}", account=lease.account_id, chain=lease.chain)
