"""Look at what waits in chains without taking it: for people who want to know, not for loops."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis

from kommo.store.connection import now_ms, translated
from kommo.store.keys import ChainKeys, Keys

#: Items of a chain that are read at a time.
_PAGE: Final = 500
#: What a pattern of Redis reads otherwise than as itself.
_SPECIAL: Final = re.compile(r"([*?\[\]\\^-])")


@dataclass(frozen=True, slots=True)
class Waiting:
    """An item that waits in a chain, with so many others ahead of it.

    Of a head's chain: in how many ms it is due (negative: since then), whether it is leased, and what was counted.
    """

    chain: str
    item: bytes
    ahead: int
    due_in_ms: int
    is_leased: bool
    runs: int
    failures: int
    crashes: int


class Looks:
    """One queue of chains, to look at."""

    def __init__(self, queue: str, redis: Redis, keys: Keys) -> None:
        self._queue = queue
        self._redis = redis
        self._keys = keys

    def waiting(self, account_id: int, chains: Iterable[str], *, holding: str) -> list[Waiting]:
        """Give the items of some chains whose bytes hold a text, in order; what moves meanwhile may be missed."""
        keys, needle = self._keys.chains(self._queue, account_id), holding.encode()
        with translated():
            now = now_ms(self._redis, beside=keys.due)
            return [
                one for chain in dict.fromkeys(chains) for one in self._chain(keys, chain, now) if needle in one.item
            ]

    def named(self, account_id: int, beginning: str) -> list[str]:
        """Name the chains that begin so. All of the account's chains are looked through."""
        pattern = _SPECIAL.sub(r"\\\1", beginning) + "*"
        with translated():
            found = self._redis.hscan_iter(self._keys.chains(self._queue, account_id).state, match=pattern, count=1000)
            return sorted({chain.decode() for chain, _ in found})

    def _chain(self, keys: ChainKeys, chain: str, now: int) -> Iterator[Waiting]:
        state: Any = self._redis.hget(keys.state, chain)
        due: Any = self._redis.zscore(keys.due, chain)
        if state is None or due is None:
            return
        head, tail, runs, failures, crashes, holder = state.decode().split(" ", 5)
        counted = (int(due) - now, holder != "-", int(runs), int(failures), int(crashes))
        for number, item in self._items(keys, chain, int(head), int(tail)):
            yield Waiting(chain, item, number - int(head), *counted)

    def _items(self, keys: ChainKeys, chain: str, head: int, tail: int) -> Iterator[tuple[int, bytes]]:
        for first in range(head, tail + 1, _PAGE):
            numbers = range(first, min(tail + 1, first + _PAGE))
            items: Any = self._redis.hmget(keys.items, [f"{chain}|{number}" for number in numbers])
            yield from ((number, item) for number, item in zip(numbers, items, strict=True) if item is not None)
