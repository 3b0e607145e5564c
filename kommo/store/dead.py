"""Dead letters: what was given up, with its reason and everything needed to run it again."""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from heapq import merge
from itertools import islice
from typing import Any, Final, Literal

from redis import Redis

from kommo.store.connection import translated
from kommo.store.keys import Keys

Kind = Literal["delivery", "step", "write"]
#: Letters that are listed, or read, in one round trip.
_PAGE: Final = 100
#: Letters of an account that Redis weighs to say what all of them weigh.
_WEIGHED: Final = 100
#: What means something in a pattern of Redis's.
_GLOB: Final = re.compile(r"([\\*?\[\]^-])")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One given-up delivery (with its `body`), step (with its event record in `item`) or write (likewise)."""

    id: str
    kind: Kind
    account_id: int
    reason: str
    error: str
    at_ms: int
    delivery_id: str
    traceback: str = ""
    handler: str = ""
    attempt: int = 0
    item: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = ""

    def to_json(self) -> bytes:
        record = {name: getattr(self, name) for name in self.__dataclass_fields__}
        record["body"] = b64encode(self.body).decode()
        # ASCII: what a handler raises may hold half a surrogate pair, which UTF-8 has no bytes for.
        return json.dumps(record, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_json(cls, data: bytes) -> "DeadLetter":
        """Read a letter again; what a later version has added is passed over."""
        record = json.loads(data)
        record["body"] = b64decode(record["body"])
        return cls(**{name: value for name, value in record.items() if name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True, order=True)
class LetterKey:
    """Where a dead letter lies. Ordered by the time at which it was stored, by Redis's clock."""

    at_ms: int
    account_id: int
    id: str


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """A dead letter as it was read, and the digest by which the scripts know that it is still the same."""

    key: LetterKey
    letter: DeadLetter
    digest: str


@dataclass(frozen=True, slots=True)
class Weight:
    """How many dead letters there are, and about how many bytes of Redis's memory they take."""

    letters: int
    size: int


class DeadLetters:
    """The dead letters of all accounts. They are written by the scripts that give something up."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def count(self, account_id: int) -> int:
        with translated():
            number: Any = self._redis.hlen(self._keys.dead(account_id)[0])
        return int(number)

    def newest(
        self, *, account_id: int | None = None, since_ms: int = 0, until_ms: int | None = None
    ) -> Iterator[LetterKey]:
        """Give the places of the letters stored in a time, both ends included, the newest first.

        They are read page by page while they are taken. What is stored or removed meanwhile may be among them or not;
        of the others none is left out, and none comes twice.
        """
        shards = range(self._keys.shards) if account_id is None else [self._keys.shard(account_id)]
        for key in merge(*(self._page_by_page(shard, since_ms, until_ms) for shard in shards), reverse=True):
            if account_id in {None, key.account_id}:
                yield key

    def find(self, name: str, *, account_id: int | None = None) -> Sequence[LetterKey]:
        """Find letters by id, or by how it begins; whole ids first, and alone if there is one."""
        shards = range(self._keys.shards) if account_id is None else [self._keys.shard(account_id)]
        if whole := sorted(key for shard in shards for key in self._whole(shard, name, account_id)):
            return whole
        found = sorted(key for shard in shards for key in self._called(shard, name))
        found = [key for key in found if account_id in {None, key.account_id}]
        return [key for key in found if key.id == name] or found

    def read(self, keys: Iterable[LetterKey]) -> Iterator[KeptLetter]:
        """Read letters, page by page while they are taken; those that are gone meanwhile are left out."""
        wanted = iter(keys)
        while page := list(islice(wanted, _PAGE)):
            for key, data in zip(page, self._records(page), strict=True):
                if data is not None:
                    yield KeptLetter(key, DeadLetter.from_json(data), sha1(data, usedforsecurity=False).hexdigest())

    def weight(self, account_ids: Iterable[int]) -> Weight:
        """Say how many letters these accounts have, and about what they weigh."""
        letters = size = 0
        for account_id in account_ids:
            if number := self.count(account_id):
                with translated():
                    weighed: Any = self._redis.memory_usage(self._keys.dead(account_id)[0], samples=_WEIGHED)
                letters, size = letters + number, size + int(weighed or 0)
        return Weight(letters, size)

    def _records(self, keys: Sequence[LetterKey]) -> Sequence[bytes | None]:
        with translated():
            pipe = self._redis.pipeline(transaction=False)
            for key in keys:
                pipe.hget(self._keys.dead(key.account_id)[0], key.id)
            records: Sequence[bytes | None] = pipe.execute()
        return records

    def _page_by_page(self, shard: int, since_ms: int, until_ms: int | None) -> Iterator[LetterKey]:
        last: int | str = "+inf" if until_ms is None else until_ms
        while rows := self._between(shard, since_ms, last, most=_PAGE):
            # All of the last ms at once: a page that begins in the middle of one would move with what comes and goes.
            lowest = rows[-1].at_ms
            rows = [key for key in rows if key.at_ms > lowest] + self._between(shard, lowest, lowest)
            yield from sorted(rows, reverse=True)
            last = f"({lowest}"

    def _between(self, shard: int, first_ms: int, last: int | str, most: int | None = None) -> list[LetterKey]:
        """Give letters of a time, the newest first; those of one ms are in the order of their text."""
        start, number = (None, None) if most is None else (0, most)
        with translated():
            rows: Any = self._redis.zrange(
                self._index(shard),
                last,
                first_ms,
                desc=True,
                byscore=True,
                offset=start,
                num=number,
                withscores=True,
            )
        return [_key(member, score) for member, score in rows]

    def _whole(self, shard: int, id_: str, account_id: int | None) -> Iterator[LetterKey]:
        """Ask each account for a letter of this id: of a hundred thousand letters that takes no time."""
        with translated():
            known: Any = self._redis.smembers(self._keys.of_shard(shard, "accounts")) if account_id is None else ()
            accounts = sorted(int(account) for account in known) if account_id is None else [account_id]
            if not accounts:
                return
            scores: Any = self._redis.zmscore(self._index(shard), [f"{account}:{id_}" for account in accounts])
        for account, score in zip(accounts, scores, strict=True):
            if score is not None:
                yield LetterKey(int(score), account, id_)

    def _called(self, shard: int, name: str) -> Iterator[LetterKey]:
        pattern = "*:" + _GLOB.sub(r"\\\1", name) + "*"
        with translated():
            for member, score in self._redis.zscan_iter(self._index(shard), match=pattern, count=10 * _PAGE):
                key = _key(member, score)
                if key.id.startswith(name):
                    yield key

    def _index(self, shard: int) -> str:
        return self._keys.dead(shard)[1]


def _key(member: bytes, score: float) -> LetterKey:
    account, _, id_ = member.decode().partition(":")
    return LetterKey(int(score), int(account), id_)
