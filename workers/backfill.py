"""Fill gaps: what Kommo told nobody is found in its API and put into the inbox, as if it had been told.

A gap is filled slice by slice, from its beginning on. What has come all the same is left out by reading the inbox
again, the deliveries of this filling among them: so a slice that is done twice after a death puts nothing in twice.
However long a slice takes, the gap is this process's meanwhile: that is said again with every page and portion.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import structlog

from kommo.api.client import Client
from kommo.errors import ApiError, DecodeError, RequestError, SettingsError
from kommo.hooks.backfill import FORM, Found, Known
from kommo.hooks.events import Event
from kommo.hooks.normalise import normalise
from kommo.queue import LOOPS
from kommo.store.gaps import Filling, Gaps, TakenOver
from kommo.store.inbox import QUEUE, Delivery, Entry, Inbox, Stored
from workers.history import History

_log = structlog.get_logger(__name__)
#: Seconds of a gap that are filled at once; of a long one a fiftieth, so that it does not take thousands of calls.
SLICE_SECONDS: Final = 900
_SLICES: Final = 50
#: What one slice may hold; when there is more, it is halved, down to so many seconds. Those are put in whatever they
#: hold.
_MOST: Final = 1_000
_SHORTEST_SECONDS: Final = 60
#: After a slice that held less than such a share of that, the next one is twice as long.
_LITTLE: Final = 4
#: Seconds that Kommo's journal may lag behind: what is younger is left for the next time.
LAG_SECONDS: Final = 60
#: Seconds after which the next account has its turn; the next chore goes on with the gap.
BUDGET_SECONDS: Final = 60.0
#: Seconds before a slice from which deliveries are compared: a webhook is sent after the change, the clocks may differ.
_BEFORE_SECONDS: Final = 120
#: Deliveries that are read from the inbox at a time, as one may have megabytes, and that are put into it.
_PAGE: Final = 32


@dataclass(frozen=True)
class Ground:
    """What filling stands on: the gaps and inboxes, a client for an account, and who is told of work."""

    gaps: Gaps
    inbox: Inbox
    client: Callable[[int], Client]
    wake: Callable[[str], None]
    #: Says whether to stop at the next opportunity.
    stopping: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.time


@dataclass
class Filled:
    """What came of it so far: deliveries that were put into the inbox, and those that had come already."""

    put: int = 0
    known: int = 0
    #: All of the gap that has ended is filled.
    done: bool = False


@dataclass
class _Intake:
    """Puts what was found into the inbox, and knows what that holds as far as it has been read again."""

    ground: Ground
    filling: Filling
    filled: Filled
    after: str
    known: Known = field(default_factory=Known)

    def keep(self) -> None:
        """Say that the filling goes on; raises TakenOver."""
        self.ground.gaps.renew(self.filling)

    def put(self, found: Sequence[Found]) -> None:
        """Put in what has not come, in the order in which it happened."""
        self._read_again()
        wake = False
        for number, one in enumerate(found):
            if not number % _PAGE:
                self.keep()
            delivery = _delivery(one, self.filling.account_id, self.ground.clock())
            if _has_come(delivery, self.known):
                self.filled.known += 1
                continue
            stored, needed = self.ground.inbox.add(delivery)
            wake = wake or needed
            self.filled.put += stored is Stored.NEW
        if wake:
            self.ground.wake(LOOPS[QUEUE])

    def _read_again(self) -> None:
        """Read what has come since the last time."""
        while entries := self.ground.inbox.read(self.filling.account_id, after=self.after, limit=_PAGE):
            self.keep()
            for entry in entries:
                _learn(entry, self.known)
            self.after = entries[-1].stream_id


@dataclass
class _Stride:
    """How many seconds are asked for at once: fewer for as long as much has happened."""

    full: int
    seconds: int

    def shorten(self, seconds: int) -> None:
        """Take half of what was too long."""
        self.seconds = max(_SHORTEST_SECONDS, seconds // 2)

    def lengthen(self, found: int) -> None:
        """Go back to where it was, step by step, once little is found."""
        if found * _LITTLE < _MOST:
            self.seconds = min(self.full, 2 * self.seconds)


def fill(ground: Ground, account_id: int, token: str, *, budget: float = BUDGET_SECONDS) -> Filled | None:
    """Fill an account's gap as far as it can be now; None when there is none, or another process does.

    `token` is one that nobody else uses. What Kommo does not answer now is left for the next time. Raises
    StoreUnavailable; then another process goes on when the lease has ended.
    """
    filling = ground.gaps.take(account_id, token)
    if filling is None:
        return None
    filled = Filled()
    try:
        rest = _fill(ground, filling, filled, budget)
    except TakenOver as error:
        _log.warning("gap not filled here", account=account_id, error=str(error))
    except (ApiError, RequestError, SettingsError) as error:
        _log.warning("gap not filled now", account=account_id, error=str(error))
        ground.gaps.release(filling)
    else:
        if rest:
            ground.gaps.release(rest)
    return filled


def _fill(ground: Ground, filling: Filling, filled: Filled, budget: float) -> Filling | None:
    """Fill slices while there are any, and time; give what is left."""
    ends = time.monotonic() + budget
    intake = _Intake(ground, filling, filled, after=f"{max(0, filling.gap.position - _BEFORE_SECONDS) * 1000}-0")
    history = History(ground.client(filling.account_id), intake.keep)
    on: Filling | None = filling
    # Fixed: what grows younger meanwhile is for the next time, or the slices would become seconds.
    settled = int(ground.clock()) - LAG_SECONDS
    stride = _stride(filling, settled)
    while on and not ground.stopping() and time.monotonic() < ends:
        until = settled if on.gap.until is None else min(settled, on.gap.until)
        if until <= on.gap.position:
            break
        until, found = _slice(history, on, stride, until, begun=filling.gap.position)
        intake.put(found)
        on = ground.gaps.advance(on, until)
        filled.done = on is None
    _log.info(
        "gap filled" if filled.done else "gap filled so far",
        account=filling.account_id,
        why=filling.gap.why,
        put=filled.put,
        known=filled.known,
    )
    return on


def _stride(filling: Filling, settled: int) -> _Stride:
    seconds = max(SLICE_SECONDS, (min(filling.gap.until or settled, settled) - filling.gap.since) // _SLICES)
    return _Stride(seconds, seconds)


def _slice(
    history: History, filling: Filling, stride: _Stride, until: int, *, begun: int
) -> tuple[int, Sequence[Found]]:
    """Find what happened in the next slice, and where it ends: sooner when much has happened.

    What was made before this filling has begun was found by an earlier one.
    """
    since = filling.gap.position
    while True:
        ends = min(until, since + stride.seconds)
        told = history.told(since, ends, made_since=begun)
        short = ends - since <= _SHORTEST_SECONDS
        found = list(told if short else islice(told, _MOST + 1))
        if short or len(found) <= _MOST:
            stride.lengthen(len(found))
            return ends, sorted(_once(found), key=lambda one: one.order)
        stride.shorten(ends - since)


def _once(found: Sequence[Found]) -> Iterable[Found]:
    """Give what was found in the journal and in a list once; the journal came first, and says more."""
    return {one.change: one for one in reversed(found)}.values()


def _delivery(found: Found, account_id: int, now: float) -> Delivery:
    name, body = found.delivery_id(account_id), found.body(account_id)
    return Delivery(name, account_id, body, FORM, int(now * 1000))


def _has_come(delivery: Delivery, known: Known) -> bool:
    """Say whether all that a delivery tells has come; what has not is known from now on, as it is about to come."""
    events = _events(delivery)
    if all(known.has(event) for event in events):
        return True
    for event in events:
        known.learn(event, received=delivery.received_ms // 1000)
    return False


def _learn(entry: Entry, known: Known) -> None:
    for event in _events(entry.delivery):
        known.learn(event, received=entry.delivery.received_ms // 1000)


def _events(delivery: Delivery) -> Sequence[Event]:
    try:
        return normalise(
            delivery.body,
            content_type=delivery.content_type,
            account_id=delivery.account_id,
            delivery_id=delivery.id,
        )
    except DecodeError:
        return ()  # it is a dead letter, and tells nothing
