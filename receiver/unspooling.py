"""Bring what lies in the spool into Redis, from a thread that lives only while there is something to bring.

Every process looks after Redis for itself; one of them, by a lock, drains the files of all, those of dead processes
too. It reads what is there in rounds, the deliveries of all files merged by the time at which they came, and stores
each round in one pipeline. New ones are written behind those meanwhile. When a round finds less than it may take,
nobody is let in for a moment, the last few are stored, the files removed and the mark taken away.

A round that fails, or that the process does not survive, is repeated from where the files say; what was stored already
is known in Redis by its id for two hours. After that, a round of at most `ROUND` deliveries may be stored twice.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from typing import Final

import structlog

from kommo.errors import StoreUnavailable
from kommo.store.breaker import Breaker
from kommo.store.inbox import Stored
from kommo.store.wire import Until
from receiver.records import Record
from receiver.segments import Piece, Segment, by_writer, segments
from receiver.spool import Spool
from receiver.storing import Storing

_log = structlog.get_logger(__name__)
#: Deliveries, and bytes of them, that are stored at once.
ROUND: Final = 500
_ROUND_BYTES: Final = 1024 * 1024
#: Full rounds after which the rest is tried while nobody may write: under a load that writes as fast as this drains,
#: no round would ever find little. And the seconds for which writers may be kept waiting by that.
_ROUNDS: Final = 20
_ALONE_SECONDS: Final = 0.2
#: Seconds in which Redis has to take the last round, since nobody may write meanwhile.
_QUICK_SECONDS: Final = 0.5
#: Seconds between two looks whether Redis is back.
LOOK_SECONDS: Final = 0.25


@dataclass(frozen=True)
class Ways:
    """How what was spooled gets into Redis."""

    #: Raises StoreUnavailable while Redis cannot store.
    probe: Callable[[], None]
    #: Patient, since nobody waits.
    storing: Storing
    #: With short deadlines, for while nobody may write.
    quick: Storing


class Unspooling:
    """The thread of one process."""

    def __init__(self, spool: Spool, breaker: Breaker, ways: Ways) -> None:
        self._spool = spool
        self._breaker = breaker
        self._ways = ways
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._drained = 0
        self._began = 0.0

    def poke(self) -> None:
        """See to it that somebody looks after Redis and the spool; returns at once."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            return
        with self._lock:
            # After a fork the thread is the parent's, and not alive here.
            if (self._thread is None or not self._thread.is_alive()) and not self._ended.is_set():
                self._thread = threading.Thread(target=self._run, name="unspooling", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop, wherever it stands; what lies in the spool stays there."""
        self._ended.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout=5)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._look()
            with self._lock:
                # Whoever begins to use the spool pokes after that, and waits here if this thread is about to end.
                if not self._is_needed():
                    self._thread = None
                    return
            self._ended.wait(LOOK_SECONDS)

    def _is_needed(self) -> bool:
        return self._breaker.is_open or self._spool.is_used

    def _look(self) -> None:
        try:
            if self._breaker.is_open:
                self._ways.probe()
                self._breaker.close()
            if self._spool.is_used:
                with self._spool.gate.draining() as is_mine:
                    if is_mine:
                        self._drain()
        except StoreUnavailable as error:
            self._breaker.trip(str(error))
        except Exception:  # whatever it is, what lies there has to be looked after again
            _log.exception("spool not drained, again in a moment")

    def _drain(self) -> None:
        self._drained, self._began = 0, time.monotonic()
        rounds = 0
        while not self._ended.is_set():
            rounds += 1
            if self._round() and rounds % _ROUNDS:
                continue
            if self._end():
                break
        _log.info("spool drained", deliveries=self._drained, seconds=round(time.monotonic() - self._began, 2))

    def _round(self) -> bool:
        """Store what comes next; say whether there may be more of it than a round takes."""
        pieces = _next(segments(self._spool.folder, all_closed=False))
        self._store(pieces, self._ways.storing)
        _remove_drained([one for one in segments(self._spool.folder, all_closed=False) if one.is_closed])
        return _is_full(pieces)

    def _end(self) -> bool:
        """Store the rest while nobody writes and end the use of the spool; False when the rest is too much for that."""
        until = time.monotonic() + _ALONE_SECONDS
        folder = self._spool.folder
        try:
            with self._spool.gate.alone():
                while time.monotonic() < until:
                    pieces = _next(segments(folder, all_closed=True))
                    if any(piece.weight >= _ROUND_BYTES for piece in pieces):
                        # More than may be hurried.
                        break
                    with Until(time.monotonic() + _QUICK_SECONDS):
                        self._store(pieces, self._ways.quick)
                    if not _remove_drained(segments(folder, all_closed=True)):
                        self._spool.end()
                        return True
        except TimeoutError:
            # Somebody else was in the folder all the time.
            pass
        return False

    def _store(self, pieces: Sequence[Piece], storing: Storing) -> None:
        waiting = [piece.record for piece in pieces if piece.record and not storing.is_stored(piece.record)]
        waiting.sort(key=_came)
        outcomes = storing.in_order(waiting) if waiting else ()
        # All or none is settled: what was stored of a round that is repeated is recognised.
        for outcome in outcomes:
            if isinstance(outcome, StoreUnavailable):
                raise outcome
        for record, outcome in zip(waiting, outcomes, strict=True):
            self._tell(record, outcome)
        for segment in {piece.segment for piece in pieces}:
            segment.settle([piece for piece in pieces if piece.segment is segment])
        self._drained += len(waiting)

    def _tell(self, record: Record, outcome: Stored | Exception) -> None:
        delivery = record.delivery
        if isinstance(outcome, Exception):
            kept = self._spool.set_aside(record)
            _log.error(
                "delivery of the spool refused by Redis, kept in a file",
                delivery=delivery.id, account=delivery.account_id, file=kept.name, error=str(outcome),
            )  # fmt: skip


def _came(record: Record) -> tuple[int, int]:
    return record.delivery.received_ms, record.written_ns


def _next(found: Sequence[Segment]) -> list[Piece]:
    """Read the deliveries that came first, of all writers, and the damage between them."""
    pieces: list[Piece] = []
    weight = 0
    for piece in merge(*(_pieces(own) for own in by_writer(found)), key=_place):
        pieces.append(piece)
        weight += piece.weight
        if len(pieces) >= ROUND or weight >= _ROUND_BYTES:
            break
    return pieces


def _pieces(own: Sequence[Segment]) -> Iterator[Piece]:
    for segment in own:
        yield from segment.pieces()


def _place(piece: Piece) -> tuple[int, int]:
    # Damage is passed as soon as it is met: what stands behind it waits for that.
    return _came(piece.record) if piece.record else (0, 0)


def _is_full(pieces: Sequence[Piece]) -> bool:
    return len(pieces) >= ROUND or sum(piece.weight for piece in pieces) >= _ROUND_BYTES


def _remove_drained(closed: Sequence[Segment]) -> int:
    """Remove the closed files that are wholly drained; say how many are not."""
    return sum(not segment.finish() for segment in closed)
