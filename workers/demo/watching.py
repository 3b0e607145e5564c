"""Watch the program at work: read what the children write, bring the ledger up to date, show it in order."""

import heapq
import itertools
import time
from collections.abc import Callable
from functools import partial
from queue import Empty
from typing import Final

from kommo.store.limiter import Scope
from workers.demo.account import Account
from workers.demo.ledger import Ledger
from workers.demo.lines import LogLine, call_in, parse, place_of, run_in
from workers.demo.processes import Children
from workers.demo.reckoning import Books
from workers.demo.screen import Screen
from workers.demo.stores import Stores

#: Seconds that a line waits for older ones of other processes, so that lines come in the order in which things began.
_HOLD_SECONDS: Final = 0.25
#: Seconds between two looks at the sandbox and the inbox.
_LOOK_SECONDS: Final = 0.1
#: Seconds between the two looks that have to find nothing under way.
_REST_SECONDS: Final = 0.4


class Watch:
    """Everything that goes on, written down and shown while it is waited for something."""

    def __init__(
        self,
        *,
        children: Children,
        account: Account,
        stores: Stores,
        screen: Screen,
        scope: Scope,
        integration_user: int,
    ) -> None:
        self.ledger = Ledger()
        self._screen = screen
        self._children = children
        self._account = account
        self._stores = stores
        self._scope = scope
        self._integration_user = integration_user
        self._held: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._next_look = 0.0
        self._repeats_shown: set[int] = set()

    def heading(self, text: str) -> None:
        """Begin a part of the story."""
        self._hold(time.time(), partial(self._screen.heading, text))

    def tell(self, sentence: str) -> None:
        """Tell a sentence of the story, where it belongs among the lines."""
        now = time.time()
        self._hold(now, partial(self._screen.tell, now, sentence))

    def pause(self, seconds: float) -> None:
        """Let time pass, watching."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self._step(min(left, 0.05))

    def until(self, condition: Callable[[], bool], *, seconds: float) -> bool:
        """Watch until a condition holds; False when it does not in time."""
        ends = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= ends:
                return False
            self._step(0.05)
        return True

    def forever(self) -> None:
        """Watch until a signal ends it."""
        while True:
            self._step(0.2)

    def settle(self, *, seconds: float) -> bool:
        """Watch until nothing is under way at two looks in a row, with nothing new between; False if not in time."""
        ends = time.monotonic() + seconds
        seen = self._at_rest()
        while time.monotonic() < ends:
            self.pause(_REST_SECONDS)
            before, seen = seen, self._at_rest()
            if seen is not None and seen == before:
                return True
        return False

    def books(self) -> Books:
        """Close the books: everything that is known now."""
        self.pause(_HOLD_SECONDS * 2)
        self._look()
        asked, peak = self._account.asked()
        return Books(
            sent=self.ledger.sent,
            stored=self.ledger.stored,
            steps=self.ledger.steps,
            steps_added=self._stores.steps_added(),
            runs=self.ledger.runs,
            calls=self.ledger.calls,
            written=self.ledger.written,
            asked=asked,
            left=self._stores.left(),
            peak=peak,
            limit=self._scope.per_second,
        )

    def _at_rest(self) -> tuple[int, int] | None:
        """Give how much was sent and asked so far if nothing is under way, else None."""
        if self._account.pending() or not self._stores.left().is_nothing:
            return None
        self._look()
        return len(self.ledger.sent), len(self._account.asked()[0])

    def _step(self, seconds: float) -> None:
        self._children.check()
        self._take_lines(seconds)
        if time.monotonic() >= self._next_look:
            self._look()
        while self._held and self._held[0][0] <= time.time() - _HOLD_SECONDS:
            heapq.heappop(self._held)[2]()

    def _take_lines(self, seconds: float) -> None:
        """Take the lines that are there, waiting so long for the first."""
        while True:
            try:
                source, text = self._children.lines.get(timeout=seconds) if seconds else self._children.lines.get(False)
            except Empty:
                return
            seconds = 0
            line = parse(source, text)
            if line is not None:
                self.ledger.add_line(line)
                slots = self._stores.slots_used(self._scope) if call_in(line) else 0
                at = place_of(line, longest=_HOLD_SECONDS / 2)
                self._hold(at, partial(self._show, line, at, slots))

    def _hold(self, at: float, show: Callable[[], None]) -> None:
        heapq.heappush(self._held, (at, next(self._order), show))

    def _look(self) -> None:
        self.ledger.add_sent(self._account.sent(self.ledger.unsettled_from))
        self.ledger.add_stored(self._stores.fresh(self._integration_user))
        self._next_look = time.monotonic() + _LOOK_SECONDS

    def _show(self, line: LogLine, at: float, slots: int) -> None:
        delivery_id = str(line.about.get("delivery") or "")
        sent = self.ledger.sent_as(delivery_id)
        if (run := run_in(line)) is not None:
            self._screen.ran(at, sent, run)
        elif (call := call_in(line)) is not None:
            self._screen.called(at, sent, call, slots, self._scope.per_second)
        elif line.message == "delivery":
            self._show_arrival(line, delivery_id)
        elif line.message == "drained":
            self._screen.drained(at, sent, delivery_id, line.about.get("events", []), line.about.get("steps", 0))
        elif line.is_trouble:
            self._screen.trouble(line)

    def _show_arrival(self, line: LogLine, delivery_id: str) -> None:
        stored = self.ledger.stored_as(delivery_id)
        if stored is not None:
            sent = self.ledger.sent_as(delivery_id)
            self._screen.arrived(stored.received_at, sent, delivery_id, is_echo=stored.is_echo)
            return
        for sent in self.ledger.repeats():
            if sent.number not in self._repeats_shown and sent.size == line.about.get("bytes"):
                self._repeats_shown.add(sent.number)
                self._screen.repeated(line.at, sent)
                return
