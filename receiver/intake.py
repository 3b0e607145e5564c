"""Take a proven delivery and do not let go of it before it is durable: in Redis, or in the spool while that is away.

Threads that come at once share a round trip to Redis, and one fsync there. The first delivery that Redis does not take
within half a second goes to the spool, and all others follow without asking, until a thread in the background has
found Redis back and has brought there what lies in the spool.
"""

import time
from enum import StrEnum
from typing import Final

import structlog

from kommo.errors import StoreUnavailable
from kommo.store.breaker import Breaker
from kommo.store.inbox import Delivery, Stored
from receiver.spool import Spool
from receiver.storing import Storing, must_stay
from receiver.together import Together
from receiver.unspooling import Unspooling

_log = structlog.get_logger(__name__)
#: Seconds after which Redis counts as away, whatever a delivery waits for.
DEADLINE_SECONDS: Final = 0.5
#: Bytes that go to Redis in one round trip, unless one delivery has more.
_PIPELINE_BYTES: Final = 1024 * 1024
#: Round trips under way at once. Redis has one fsync for all connections that it hears at a time, so that fewer would
#: wait more and save nothing; threads beyond share them.
_PIPELINES: Final = 4
#: How often a delivery finds Redis away and the spool just emptied before it stays with the spool.
_TURNS: Final = 2


class Taken(StrEnum):
    """What became of a delivery: that of `Stored`, or it waits on the disk."""

    NEW = "new"
    DUPLICATE = "duplicate"
    REPEATED_CALL = "repeated_call"
    SPOOLED = "spooled"


class Intake:
    """Where a process's deliveries go; safe for threads."""

    def __init__(self, storing: Storing, spool: Spool, breaker: Breaker, unspooling: Unspooling) -> None:
        self._spool = spool
        self._breaker = breaker
        self._unspooling = unspooling
        #: Whether this process has written to the spool since it last found Redis away.
        self._has_spooled = False
        self._together: Together[tuple[Delivery, bool], Stored] = Together(
            storing.together, weight=lambda item: len(item[0].body), most=_PIPELINE_BYTES, writers=_PIPELINES
        )

    def start(self) -> None:
        """Bring into Redis what a former run has left in the spool; returns at once."""
        try:
            if self._spool.take_up():
                self._unspooling.poke()
        except StoreUnavailable as error:
            _log.error("spool not usable", reason=str(error))

    def close(self) -> None:
        """End the thread in the background; what lies in the spool waits for the next run."""
        self._unspooling.close()

    def take(self, delivery: Delivery, *, droppable: bool = True) -> Taken:
        """Make a delivery durable. `droppable` False: it is no repetition, even if an equal body was seen.

        Raises:
            StoreUnavailable: neither Redis nor the spool can store it; the sentence says what to do.
        """
        tried = False
        for turns_left in reversed(range(_TURNS)):
            if self._may_ask_redis():
                try:
                    return self._store(delivery, droppable=droppable)
                except StoreUnavailable as error:
                    tried = True
                    self._find_away(error)
            begin = self._breaker.is_open or not turns_left
            if self._spool.put(delivery, droppable=droppable, tried=tried, begin=begin):
                break
        self._has_spooled = True
        self._unspooling.poke()
        return Taken.SPOOLED

    def _may_ask_redis(self) -> bool:
        if self._spool.is_used:
            return False
        if self._breaker.is_open:
            if not self._has_spooled:
                return False
            # Another process has found Redis back, and has brought there what this one had spooled.
            self._breaker.close()
        return True

    def _store(self, delivery: Delivery, *, droppable: bool) -> Taken:
        began = time.monotonic()
        stored = self._together.put((delivery, droppable), seconds=DEADLINE_SECONDS)
        if stored is Stored.DUPLICATE and droppable and must_stay(delivery):
            left = DEADLINE_SECONDS - (time.monotonic() - began)
            stored = self._together.put((delivery, False), seconds=left)
        return _TAKEN[stored]

    def _find_away(self, error: StoreUnavailable) -> None:
        self._has_spooled = False
        self._breaker.trip(str(error))
        self._unspooling.poke()


_TAKEN: Final = {stored: Taken[stored.name] for stored in Stored}
