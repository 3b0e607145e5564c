"""Keep leases alive while their work goes on: one thread a process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from kommo.errors import StoreUnavailable
from kommo.store.chains import LEASE_MS, Chains, Lease

_log = structlog.get_logger(__name__)
#: Seconds between two renewals: a lease survives two that fail.
_EVERY: Final = LEASE_MS / 1000 / 3


class Keeper:
    """Renews leases until their work is done, or has taken longer than it may."""

    def __init__(self) -> None:
        self._kept: dict[Lease, tuple[Chains, float]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    @contextmanager
    def holding(self, chains: Chains, lease: Lease, *, seconds: float) -> Iterator[None]:
        """Keep a lease while the block runs, for at most so long; after that it ends and somebody else may take it."""
        with self._lock:
            self._kept[lease] = (chains, time.monotonic() + seconds)
        try:
            yield
        finally:
            with self._lock:
                self._kept.pop(lease, None)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=_EVERY + 1)

    def _run(self) -> None:
        while not self._stopped.wait(_EVERY):
            try:
                self._renew_all()
            except StoreUnavailable as error:
                _log.warning("leases not renewed", error=str(error))

    def _renew_all(self) -> None:
        now = time.monotonic()
        with self._lock:
            kept = dict(self._kept)
        for chains in {id(chains): chains for chains, _ in kept.values()}.values():
            leases = [lease for lease, (owner, ends) in kept.items() if owner is chains and ends > now]
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
