"""Chains of items with leases: what lanes and outbox have in common (see lua/_chains.lua)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.store.keys import Keys
from kommo.store.scripts import Call, Scripts

#: How long a lease lasts unless it is renewed, in ms. After a crash the chain stands still for as long.
LEASE_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on the head of one chain, until it is finished or the lease ends.

    `runs` counts earlier runs of this item, `failures` those that raised, `crashes` the leases that ended unfinished,
    `alone` those of them under which a process did nothing else.
    """

    account_id: int
    chain: str
    token: str
    seq: int
    runs: int
    failures: int
    crashes: int
    item: bytes
    alone: int = 0


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
        """Prolong leases; False for those that somebody else holds by now.

        Those on a node of a Cluster that is away are left out, unless that is all of them: then StoreUnavailable.
        """
        groups = list(_by_account(leases))
        answers = self._of_all([self._renewal(group) for group in groups])
        return {
            lease: bool(kept)
            for group, answer in zip(groups, answers, strict=True)
            if answer is not None
            for lease, kept in zip(group, answer, strict=True)
        }

    def mark(self, lease: Lease, *, alone: bool) -> bool:
        """Note that the process works on nothing else, or not any more; False when the lease has passed on.

        Call it again after StoreUnavailable: it may have been noted.
        """
        keys = self._keys.chains(self.queue, lease.account_id).all()
        args: list[str | int | bytes] = [lease.chain, lease.token, lease.seq, int(alone)]
        return bool(self._scripts.run(Call("chain_mark", keys, args)))

    def give_back(self, leases: Iterable[Lease], *, delay_ms: int = 0) -> int:
        """End leases as if they had never been; say how many were still held."""
        calls = [self._return(group, delay_ms) for group in _by_account(leases)]
        return sum(int(answer or 0) for answer in self._of_all(calls))

    def _of_all(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts of several accounts in one go; None for those on a node that is away, unless all are."""
        answers: list[Any] = self._scripts.run_each(calls) if calls else []
        failures = [answer for answer in answers if isinstance(answer, Exception)]
        for failure in failures:
            if not isinstance(failure, StoreUnavailable) or len(failures) == len(answers):
                raise failure
        return [None if isinstance(answer, StoreUnavailable) else answer for answer in answers]

    def _return(self, group: Sequence[Lease], delay_ms: int) -> Call:
        account = group[0].account_id
        return Call("chain_return", self._keys.chains(self.queue, account).all(), [account, delay_ms, *_named(group)])

    def _renewal(self, group: Sequence[Lease]) -> Call:
        keys = self._keys.chains(self.queue, group[0].account_id).all()
        return Call("chain_renew", keys, [LEASE_MS, *_named(group)])

    def _take_call(self, account_id: int, token: str, limit: int) -> Call:
        keys = self._keys.chains(self.queue, account_id).all()
        return Call("chain_take", keys, [account_id, token, LEASE_MS, limit])

    @staticmethod
    def _taken(account_id: int, token: str, answer: Sequence[Any]) -> Taken:
        *rows, more = answer
        leases = [
            Lease(account_id, chain.decode(), token, seq, runs, failures, crashes, item, alone)
            for chain, seq, runs, failures, crashes, item, alone in rows
        ]
        return Taken(leases, int(more))


def _by_account(leases: Iterable[Lease]) -> Iterable[list[Lease]]:
    groups: dict[int, list[Lease]] = defaultdict(list)
    for lease in leases:
        groups[lease.account_id].append(lease)
    return groups.values()


def _named(leases: Iterable[Lease]) -> list[str | int | bytes]:
    return [part for lease in leases for part in (lease.chain, lease.token, lease.seq)]
