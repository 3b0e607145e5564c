"""Dead letters: what was given up, with its reason and everything needed to run it again."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from redis import Redis

from kommo.store.connection import translated
from kommo.store.keys import Keys

Kind = Literal["delivery", "step", "write"]


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
        record = json.loads(data)
        record["body"] = b64decode(record["body"])
        return cls(**record)


class DeadLetters:
    """The dead letters of all accounts. They are written by the scripts that give something up."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def count(self, account_id: int) -> int:
        with translated():
            number: Any = self._redis.hlen(self._keys.dead(account_id)[0])
        return int(number)

    def list(self, account_id: int) -> Iterator[DeadLetter]:
        """Give an account's dead letters, in no particular order."""
        with translated():
            for _, data in self._redis.hscan_iter(self._keys.dead(account_id)[0], count=100):
                yield DeadLetter.from_json(data)
