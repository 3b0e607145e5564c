"""The outbox: writes that handlers asked for, in order per entity, until Kommo has them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from redis import Redis

from kommo.store.chains import LEASE_MS, Chains, Lease
from kommo.store.connection import now_ms, translated
from kommo.store.dead import DeadLetter
from kommo.store.keys import Keys
from kommo.store.scripts import Call
from kommo.store.stories import Line, story_key

QUEUE: Final = "outbox"
#: Seconds for which the result of a write is kept for the writes that refer to it.
RESULT_SECONDS: Final = 7 * 24 * 3600
FAILED: Final = "failed"
#: How long the only write there waits for company, in ms. It never waits once there is some.
COMPANY_MS: Final = 150
#: Seconds for which fewer writes go into a request after Kommo could not cope with more.
SHRUNK_SECONDS: Final = 600
#: The first character of an item that goes alone, and of one that Kommo may have done already.
ALONE: Final = "!"
DOUBTFUL: Final = "?"
Verb = Literal["done", "failed", "postpone", "dead"]
Mark = Literal["", "!", "?"]


@dataclass(frozen=True, slots=True)
class Pile:
    """Leased writes of one chain: its head, and what may go along with it.

    `alone` says that nothing else may; `doubtful` that its one creation may have been done already.
    """

    lease: Lease
    items: Sequence[bytes]
    alone: bool = False
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Piles:
    """What one take has leased, and how many chains were due beyond it."""

    account_id: int
    token: str
    piles: Sequence[Pile]
    more: int = 0


@dataclass(frozen=True, slots=True)
class PileOutcome:
    """How a pile ended (the verbs are explained in outbox_finish.lua).

    `done` writes are done with; then `marked` writes get the mark. `results` are the ids of the entities made, or
    FAILED, by write id. `told` goes into the stories of the writes' deliveries.
    """

    lease: Lease
    verb: Verb
    done: int = 0
    delay_ms: int = 0
    mark: Mark = ""
    marked: int = 0
    results: Mapping[str, str] = field(default_factory=dict)
    dead: Sequence[DeadLetter] = ()
    told: Sequence[Line] = ()


class Outbox(Chains):
    """The outboxes of all accounts."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        super().__init__(QUEUE, redis, keys)
        self._redis = redis

    def has_work(self, account_id: int, *, company_ms: int = COMPANY_MS) -> bool:
        """Say whether there is something to send now. A write that is alone waits a little for company first."""
        keys = [*self._keys.chains(QUEUE, account_id).all(), self._stumbles_key(account_id)]
        return bool(self._scripts.run(Call("outbox_peek", keys, [account_id, company_ms])) == 0)

    def take_piles(self, account_id: int, token: str, *, most: int, depth: int) -> Piles:
        """Lease up to `most` writes that may share one request, merging up to `depth` patches of one entity.

        Patches of one entity count as one write.
        """
        keys = [*self._keys.chains(QUEUE, account_id).all(), self._size_key(account_id)]
        args: list[str | int | bytes] = [account_id, token, LEASE_MS, most, depth, 5 * most]
        more, *rows = self._scripts.run(Call("outbox_take", keys, args))
        piles = [_pile(account_id, token, row) for row in rows]
        return Piles(account_id, token, piles, int(more))

    def finish_piles(self, account_id: int, token: str, sender: str, outcomes: Sequence[PileOutcome]) -> list[bool]:
        """Record how all piles of one take ended; False for those whose lease had passed to somebody else."""
        stories = _numbered(line.delivery_id for outcome in outcomes for line in outcome.told)
        args: list[str | int | bytes] = [account_id, token, RESULT_SECONDS, len(stories)]
        result_keys: list[str] = []
        for outcome in outcomes:
            args += [outcome.lease.chain, outcome.lease.seq, outcome.verb, outcome.done, outcome.delay_ms]
            args += [outcome.mark, outcome.marked]
            args += [len(outcome.results), len(outcome.dead), len(outcome.told), *outcome.results.values()]
            result_keys += [self._result_key(account_id, write_id) for write_id in outcome.results]
            for letter in outcome.dead:
                args += [letter.id, letter.to_json()]
            for line in outcome.told:
                args += [stories[line.delivery_id], line.name, line.text]
        keys = [
            *self._keys.chains(QUEUE, account_id).all(),
            self._keys.of_shard(self._keys.shard(account_id), QUEUE, "finished", sender),
            self._keys.stats(account_id),
            *self._keys.dead(account_id),
            self._stumbles_key(account_id),
            *result_keys,
            *(story_key(self._keys, account_id, delivery_id) for delivery_id in stories),
        ]
        return [answer != 0 for answer in self._scripts.run(Call("outbox_finish", keys, args))]

    def hold(self, account_id: int, *, seconds: float) -> None:
        """Look at the account's writes again only after so long, unless new ones come."""
        with translated():
            ready = self._keys.chains(QUEUE, account_id).ready
            at = now_ms(self._redis, beside=ready) + int(seconds * 1000)
            self._redis.zadd(ready, {str(account_id): at}, xx=True)

    def shrink(self, account_id: int, most: int) -> None:
        """Put at most so many writes into a request for the next ten minutes, or fewer if it was fewer already."""
        with translated():
            known: Any = self._redis.get(self._size_key(account_id))
            size = min(max(1, most), int(known or most))
            self._redis.set(self._size_key(account_id), size, ex=SHRUNK_SECONDS)

    def waiting(self, account_id: int) -> int:
        """Count the writes that are not done yet."""
        keys = self._keys.chains(QUEUE, account_id)
        with translated():
            states: Any = self._redis.hvals(keys.state)
        return sum(int(tail) - int(head) + 1 for head, tail, *_ in (state.split(b" ", 2) for state in states))

    def results(self, account_id: int, write_ids: Iterable[str]) -> dict[str, str]:
        """Give what became of writes, as far as they are finished: an entity's id, or FAILED."""
        wanted = list(dict.fromkeys(write_ids))
        if not wanted:
            return {}
        with translated():
            values: Any = self._redis.mget([self._result_key(account_id, write_id) for write_id in wanted])
        return {write_id: value.decode() for write_id, value in zip(wanted, values, strict=True) if value is not None}

    def _result_key(self, account_id: int, write_id: str) -> str:
        return self._keys.of_account(account_id, QUEUE, "result", write_id)

    def _stumbles_key(self, account_id: int) -> str:
        return self._keys.of_account(account_id, QUEUE, "stumbles")

    def _size_key(self, account_id: int) -> str:
        return self._keys.of_account(account_id, QUEUE, "size")


def _numbered(names: Iterable[str]) -> dict[str, int]:
    """Number names from 1, each once."""
    return {name: number for number, name in enumerate(dict.fromkeys(names), 1)}


def item_of(kind: str, record: bytes) -> bytes:
    """Write an item as the scripts read it: its kind, a line feed, its record."""
    return kind.encode() + b"\n" + record


def _record(item: bytes) -> bytes:
    """Take an item's kind off; items of before there were kinds have none, and go alone."""
    kind, _, record = item.partition(b"\n")
    return record or kind.lstrip(f"{ALONE}{DOUBTFUL}".encode())


def _pile(account_id: int, token: str, row: Sequence[Any]) -> Pile:
    chain, seq, runs, failures, crashes, *items = row
    lease = Lease(account_id, chain.decode(), token, seq, runs, failures, crashes, items[0])
    mark = items[0][:1].decode("latin-1")
    return Pile(
        lease,
        [_record(item) for item in items],
        alone=mark in {ALONE, DOUBTFUL, "{"},
        doubtful=mark == DOUBTFUL,
    )
