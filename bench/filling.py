"""Put writes into an outbox as a handler's step does, before any worker runs."""

import json
from collections.abc import Callable

from redis import Redis

from kommo.api.bulk import kind_of
from kommo.api.later import Later
from kommo.api.later import Step as AskedBy
from kommo.store.inbox import Batch, Delivery, Inbox, RoutedEvent, Step
from kommo.store.keys import Keys
from kommo.store.lanes import AskedWrite, Lanes, StepOutcome
from kommo.store.outbox import item_of

#: Writes of one step.
_A_STEP = 250


def fill(redis: Redis, account_id: int, writes: int, ask: Callable[[Later, int], object]) -> None:
    """Ask for so many writes: `ask` is called with `kommo.later` and the number of each."""
    for start in range(0, writes, _A_STEP):
        name = f"{account_id}-{start}"
        later = Later(AskedBy(account_id, name, "bench", name))
        for number in range(start, min(start + _A_STEP, writes)):
            ask(later, number)
        _finish(redis, account_id, name, later)


def _finish(redis: Redis, account_id: int, name: str, later: Later) -> None:
    inbox, lanes = Inbox(redis, Keys()), Lanes(redis, Keys())
    cursor = inbox.cursor(account_id)
    inbox.add(Delivery(name, account_id, name.encode(), "", 0))
    entry = inbox.read(account_id, after=cursor, limit=1)[0]
    step = Step("lead:1:bench", b"{}")
    inbox.commit(
        Batch(account_id, cursor, entry.stream_id, [RoutedEvent(name, entry.stream_id, [step])], []), hold_ms=0
    )
    (lease,) = lanes.take(account_id, name).leases
    asked = [
        AskedWrite(write.chain, item_of(kind_of(write), json.dumps(write.to_record()).encode()))
        for write in later.writes
    ]
    lanes.finish(StepOutcome(lease, "done", "bench", entry.stream_id, writes=asked))
