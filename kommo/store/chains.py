"""Chains of items with leases: what lanes and outbox have in common (see lua/_chains.lua)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis

from kommo.store.keys import Keys
from kommo.store.scripts import Call, Scripts

#: How long a lease lasts unless it is renewed, in ms. After a crash the chain stands still for as long.
LEASE_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on the head of one chain, until it is finished or the lease ends.

    `runs` counts earlier runs of this item, `failures` those that raised, `crashes` the leases that ended unfinished.
    """

    account_id: int
    chain: str
    token: str
    seq: int
    runs: int
    failures: int
    crashes: int
    item: bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """Leased chains, and how many more of the account were due at that moment."""

    leases: Sequence[Lease]
    more: int


class Chains:
    """One queue of chains; Lanes and Outbox add how an item is finished."""

    def __init__(self, queue: str, redis: Redis, keys: Keys) -> None:
        self.queue = queue
        self._keys = keys
        self._scripts = Scripts(redis)

    def take(self, account_id: int, token: str, *, limit: int = 1) -> Taken:
        """Lease up to `limit` chains that are due, under a token that is used only once."""
        return self._taken(account_id, token, self._scripts.run(self._take_call(account_id, token, limit)))

    def renew(self, leases: Iterable[Lease]) -> dict[Lease, bool]:
        """Prolong leases; False for those that somebody else holds by now."""
        by_account: dict[int, list[Lease]] = defaultdict(list)
        for lease in leases:
            by_account[lease.account_id].append(lease)
        return {lease: kept for group in by_account.values() for lease, kept in self._renew_group(group)}

    def _renew_group(self, group: Sequence[Lease]) -> list[tuple[Lease, bool]]:
        account = group[0].account_id
        args: list[str | int | bytes] = [LEASE_MS]
        for lease in group:
            args += [lease.chain, lease.token, lease.seq]
        kept = self._scripts.run(Call("chain_renew", self._keys.chains(self.queue, account).all(), args))
        return [(lease, bool(answer)) for lease, answer in zip(group, kept, strict=True)]

    def _take_call(self, account_id: int, token: str, limit: int) -> Call:
        keys = self._keys.chains(self.queue, account_id).all()
        return Call("chain_take", keys, [account_id, token, LEASE_MS, limit])

    @staticmethod
    def _taken(account_id: int, token: str, answer: Sequence[Any]) -> Taken:
        *rows, more = answer
        leases = [
            Lease(account_id, chain.decode(), token, seq, runs, failures, crashes, item)
            for chain, seq, runs, failures, crashes, item in rows
        ]
        return Taken(leases, int(more))
