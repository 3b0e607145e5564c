"""The outbox: writes that handlers asked for, in order per entity, until Kommo has them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from redis import Redis

from kommo.store.chains import Chains, Lease
from kommo.store.connection import translated
from kommo.store.dead import DeadLetter
from kommo.store.keys import Keys
from kommo.store.scripts import Call

QUEUE: Final = "outbox"
#: Seconds for which the result of a write is kept for the writes that refer to it.
RESULT_SECONDS: Final = 24 * 3600
FAILED: Final = "failed"
Verb = Literal["done", "failed", "postpone", "dead"]


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """How a write ended (the verbs are explained in outbox_finish.lua).

    `result` is the id of the entity it made, or FAILED, for other writes that wait for it.
    """

    lease: Lease
    verb: Verb
    sender: str
    write_id: str
    delay_ms: int = 0
    result: str = ""
    dead: DeadLetter | None = None


class Outbox(Chains):
    """The outboxes of all accounts."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        super().__init__(QUEUE, redis, keys)
        self._redis = redis

    def finish(self, outcome: WriteOutcome) -> bool:
        """Record how a write ended; False when the lease had passed to somebody else, and nothing was changed."""
        lease, letter, keys = outcome.lease, outcome.dead, self._keys
        account = lease.account_id
        answer: int = self._scripts.run(
            Call(
                "outbox_finish",
                [
                    *keys.chains(QUEUE, account).all(),
                    keys.of_shard(keys.shard(account), QUEUE, "finished", outcome.sender),
                    self._result_key(account, outcome.write_id),
                    keys.stats(account),
                    *keys.dead(account),
                ],
                [
                    account,
                    lease.chain,
                    lease.token,
                    lease.seq,
                    outcome.verb,
                    outcome.delay_ms,
                    outcome.result,
                    RESULT_SECONDS,
                    letter.id if letter else "",
                    letter.to_json() if letter else "",
                ],
            )
        )
        return answer != 0

    def results(self, account_id: int, write_ids: Iterable[str]) -> dict[str, str]:
        """Give what became of writes, as far as they are finished: an entity's id, or FAILED."""
        wanted = list(write_ids)
        if not wanted:
            return {}
        with translated():
            values: Any = self._redis.mget([self._result_key(account_id, write_id) for write_id in wanted])
        return {write_id: value.decode() for write_id, value in zip(wanted, values, strict=True) if value is not None}

    def _result_key(self, account_id: int, write_id: str) -> str:
        return self._keys.of_account(account_id, QUEUE, "result", write_id)
