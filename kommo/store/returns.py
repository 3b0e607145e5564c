"""Put dead letters back, or drop them: each letter by one script that also takes it away.

Whatever dies meanwhile, and however many people do it at once: the work lies in the letter or in its queue, and never
in both. An answer that was lost leaves open which; looking for the letter again tells.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from redis import Redis

from kommo.store.dead import KeptLetter
from kommo.store.inbox import QUEUE as INBOX
from kommo.store.inbox import Delivery, Step
from kommo.store.keys import Keys
from kommo.store.lanes import QUEUE as LANES
from kommo.store.lanes import AskedWrite
from kommo.store.outbox import QUEUE as OUTBOX
from kommo.store.scripts import Call, Scripts


@dataclass(frozen=True, slots=True)
class StepBack:
    """A step as it goes back into its lane; `stream_id` is that of its delivery, "" if it is not known."""

    step: Step
    stream_id: str
    queue: str = LANES


@dataclass(frozen=True, slots=True)
class WriteBack:
    """A write as it goes back into its chain; what refers to it may wait for its result again."""

    write: AskedWrite
    write_id: str
    queue: str = OUTBOX


@dataclass(frozen=True, slots=True)
class DeliveryBack:
    """A delivery as it goes back into the inbox, and the places where it lies there still."""

    delivery: Delivery
    lies_at: Sequence[str] = ()
    queue: str = INBOX


Back = StepBack | WriteBack | DeliveryBack


@dataclass(frozen=True, slots=True)
class PutBack:
    """Whether the letter was still there and went back, and whether a loop on its queue has to be woken."""

    done: bool
    wake: bool


class Returns:
    """The way back for the dead letters of all accounts."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._keys = keys
        self._scripts = Scripts(redis)

    def put_back(self, kept: KeptLetter, back: Back) -> PutBack:
        """Put the work of a letter back and take the letter away; not done when it is gone or another one by now.

        Raises:
            StoreUnavailable: Redis is away; whether it was done is not known.
        """
        account = kept.key.account_id
        loops = self._keys.queue(back.queue, self._keys.shard(account))
        if isinstance(back, StepBack):
            call = self._step(kept, back, [loops.awake, loops.flag])
        elif isinstance(back, WriteBack):
            call = self._write(kept, back, [loops.awake, loops.flag])
        else:
            call = self._delivery(kept, back, [loops.ready, loops.awake, loops.flag])
        done, wake = self._scripts.run(call)
        return PutBack(bool(done), bool(wake))

    def drop(self, kept: KeptLetter) -> bool:
        """Drop a letter for good; False when it is gone or another one by now."""
        return bool(self._scripts.run(Call("dead_drop", self._letter_keys(kept), _named(kept))))

    def _step(self, kept: KeptLetter, back: StepBack, loops: Sequence[str]) -> Call:
        account = kept.key.account_id
        keys = [*self._letter_keys(kept), *self._keys.chains(LANES, account).all(), *loops, self._keys.open(account)]
        return Call("dead_step", keys, [*_named(kept), back.step.lane, back.step.record, back.stream_id])

    def _write(self, kept: KeptLetter, back: WriteBack, loops: Sequence[str]) -> Call:
        account = kept.key.account_id
        result = self._keys.of_account(account, OUTBOX, "result", back.write_id)
        keys = [*self._letter_keys(kept), *self._keys.chains(OUTBOX, account).all(), *loops, result]
        return Call("dead_write", keys, [*_named(kept), back.write.chain, back.write.record])

    def _delivery(self, kept: KeptLetter, back: DeliveryBack, loops: Sequence[str]) -> Call:
        delivery = back.delivery
        stream = self._keys.of_account(kept.key.account_id, INBOX, "stream")
        args = [*_named(kept), delivery.id, delivery.content_type, delivery.received_ms, delivery.body, *back.lies_at]
        return Call("dead_delivery", [*self._letter_keys(kept), stream, *loops], args)

    def _letter_keys(self, kept: KeptLetter) -> list[str]:
        account = kept.key.account_id
        return [*self._keys.dead(account), self._keys.stats(account)]


def _named(kept: KeptLetter) -> list[str | int | bytes]:
    return [kept.key.account_id, kept.key.id, kept.digest]
