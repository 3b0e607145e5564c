"""Store deliveries in the inbox as they come or from the spool, by the same rule of what is a repetition.

A body that was seen within two hours is stored once, unless an item of it carries no time: the same change may have
happened twice, so that such a body is stored whenever it comes. Whether it is one is found out by decoding, which
only a body that was seen before is worth.
"""

import time
from collections.abc import Sequence
from typing import Final

from redis.exceptions import RedisError

from kommo.hooks.normalise import has_timeless_item
from kommo.queue import LOOPS, Waker
from kommo.store.inbox import QUEUE, SEEN_SECONDS, Delivery, Inbox, Stored
from kommo.store.wire import Until
from receiver.records import Record

#: ms after which what was sent to Redis, perhaps in vain, may not be known there as seen any more.
_FORGOTTEN_MS: Final = (SEEN_SECONDS - 600) * 1000


class Storing:
    """The way into the inbox, and the call that wakes a drain."""

    def __init__(self, inbox: Inbox, waker: Waker) -> None:
        self._inbox = inbox
        self._waker = waker

    def together(self, deliveries: Sequence[tuple[Delivery, bool]], ends: float) -> Sequence[Stored | Exception]:
        """Store deliveries that came at once, each with whether it may be dropped as a repetition.

        `ends` (time.monotonic): when Redis counts as away unless all its answers are there.
        """
        with Until(ends):
            if len(deliveries) == 1:
                return self._told([self._alone(*deliveries[0])])
            return self._told(self._inbox.add_together(deliveries))

    def in_order(self, waiting: Sequence[Record]) -> Sequence[Stored | Exception]:
        """Store deliveries that waited, in this order.

        None is looked at a second time after those behind it, as one that came just now may be: which of them may be
        dropped is found out before.
        """
        known = self._inbox.stored_as([record.delivery for record in waiting])
        decided: list[tuple[Delivery, bool]] = []
        first: dict[tuple[int, bytes], str] = {}
        for record, stored_as in zip(waiting, known, strict=True):
            delivery = record.delivery
            seen_as = stored_as or first.setdefault((delivery.account_id, delivery.body), delivery.id)
            decided.append((delivery, record.droppable and (seen_as == delivery.id or not must_stay(delivery))))
        return self._told(self._inbox.add_together(decided, in_order=True))

    def is_stored(self, record: Record) -> bool:
        """Say whether a record was stored so long ago, before it was written down, that adding it would not tell."""
        delivery = record.delivery
        if not record.tried or delivery.received_ms > time.time_ns() // 1_000_000 - _FORGOTTEN_MS:
            return False
        return bool(self._inbox.find(delivery.id, [delivery.account_id]))

    def _alone(self, delivery: Delivery, droppable: bool) -> tuple[Stored, bool] | Exception:
        # Without a pipeline, which costs a third more.
        try:
            return self._inbox.add(delivery, droppable=droppable)
        except RedisError as error:
            # Its own fault, not one of those that wait behind it.
            return error

    def _told(self, outcomes: Sequence[tuple[Stored, bool] | Exception]) -> list[Stored | Exception]:
        told: list[Stored | Exception] = []
        wake = False
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                told.append(outcome)
            else:
                told.append(outcome[0])
                wake |= outcome[1]
        if wake:
            self._waker.wake(LOOPS[QUEUE])
        return told


def must_stay(delivery: Delivery) -> bool:
    """Say whether a delivery is no repetition although its body was seen before."""
    return has_timeless_item(delivery.body, delivery.content_type)
