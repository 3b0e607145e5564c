"""The reckoning: what became of every single delivery, and what is missing. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from workers.demo.records import WRITING, Asked, Call, Left, Run, Sent, Stored


class State(StrEnum):
    """What became of a delivery."""

    HANDLED = "handled"
    DUPLICATE = "duplicate"
    NOT_ANSWERED = "not answered"
    NOT_STORED = "not stored"
    NOT_DRAINED = "not drained"
    NOT_RUN = "handler missing"
    NOT_WRITTEN = "call missing"

    @property
    def is_good(self) -> bool:
        return self in {State.HANDLED, State.DUPLICATE}


@dataclass(frozen=True, slots=True)
class Books:
    """All that is known at the end.

    `steps` is by delivery id, `steps_added` the stores' own count of them, `asked` what the sandbox's API was asked.
    """

    sent: Sequence[Sent]
    stored: Sequence[Stored]
    steps: Mapping[str, int]
    steps_added: int
    runs: Sequence[Run]
    calls: Sequence[Call]
    written: Counter[tuple[str, str]]
    asked: Sequence[Asked]
    left: Left
    peak: int
    limit: int


@dataclass(frozen=True, slots=True)
class Row:
    """One delivery: what it brought and how far it came. `expected` counts the steps that have to run for it."""

    sent: Sent
    state: State
    delivery_id: str = ""
    is_echo: bool = False
    events: int = 0
    expected: int = 0
    runs: int = 0
    writes: int = 0
    written: int = 0


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums. Times in ms: of the receiver's answers, and from sending until a handler began."""

    sent: int
    stored: int
    duplicates: int
    echoes: int
    events: int
    runs: int
    writes: int
    calls: int
    refused: int
    peak: int
    limit: int
    answers_ms: Sequence[float]
    until_handler_ms: Sequence[float]


@dataclass(frozen=True, slots=True)
class Reckoning:
    """A row for each delivery, the sums, and a sentence for everything that is missing."""

    rows: Sequence[Row]
    totals: Totals
    missing: Sequence[str]


def reckon(books: Books) -> Reckoning:
    """Account for every delivery."""
    rows = list(_rows(books))
    return Reckoning(rows, _totals(books, rows), [*_unfinished(rows), *_strays(books, rows), *_left(books.left)])


def quantile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that at least this share of the values does not exceed; 0 when there are none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def _rows(books: Books) -> Iterator[Row]:
    waiting: dict[str, list[Stored]] = defaultdict(list)
    for stored in books.stored:
        waiting[stored.sha256].append(stored)
    known = set(waiting)
    expected = _expected_runs(books)
    runs = _by_delivery({(run.event_id, run.handler): run for run in books.runs})
    for sent in sorted(books.sent, key=lambda one: one.number):
        if not waiting[sent.sha256]:
            yield Row(sent, _without_storing(sent, known))
            continue
        stored = waiting[sent.sha256].pop(0)
        own = runs.get(stored.delivery_id, [])
        row = Row(
            sent,
            State.HANDLED,
            stored.delivery_id,
            stored.is_echo,
            events=len(stored.events),
            expected=expected.get(stored.delivery_id, -1),
            runs=len(own),
            writes=sum(run.writes for run in own),
            written=sum(min(run.writes, books.written[run.event_id, run.handler]) for run in own),
        )
        yield _judged(row)


def _expected_runs(books: Books) -> dict[str, int]:
    """Say how many runs each drained delivery has to show.

    A change that an earlier delivery has told already runs no handler again, so that such a delivery owes none of
    its own here; their sum is held against the count that the stores keep.
    """
    told: set[str] = set()
    expected = {}
    for stored in books.stored:
        ids = {event.id for event in stored.events}
        if stored.delivery_id in books.steps:
            expected[stored.delivery_id] = 0 if ids & told else books.steps[stored.delivery_id]
        told |= ids
    return expected


def _by_delivery(runs: Mapping[tuple[str, str], Run]) -> Mapping[str, list[Run]]:
    found: dict[str, list[Run]] = defaultdict(list)
    for run in runs.values():
        found[run.delivery_id].append(run)
    return found


def _without_storing(sent: Sent, known: set[str]) -> State:
    if not sent.is_answered:
        return State.NOT_ANSWERED
    return State.DUPLICATE if sent.sha256 in known else State.NOT_STORED


def _judged(row: Row) -> Row:
    checks = (
        (not row.sent.is_answered, State.NOT_ANSWERED),
        (row.expected < 0, State.NOT_DRAINED),
        (row.runs < row.expected, State.NOT_RUN),
        (row.written < row.writes, State.NOT_WRITTEN),
    )
    state = next((state for failed, state in checks if failed), State.HANDLED)
    fields = {name: getattr(row, name) for name in Row.__slots__}
    return Row(**{**fields, "state": state, "expected": max(row.expected, 0)})


def _totals(books: Books, rows: Sequence[Row]) -> Totals:
    answered = [attempt.ms for sent in books.sent for attempt in sent.attempts if attempt.status == 200]
    sent_at = {row.delivery_id: row.sent.attempts[0].at for row in rows if row.delivery_id and row.sent.attempts}
    first_runs = [run for run in books.runs if run.attempt == 1 and run.delivery_id in sent_at]
    return Totals(
        sent=len(rows),
        stored=len(books.stored),
        duplicates=sum(row.state is State.DUPLICATE for row in rows),
        echoes=sum(row.is_echo for row in rows),
        events=len({event.id for stored in books.stored for event in stored.events}),
        runs=sum(row.runs for row in rows),
        writes=sum(row.written for row in rows),
        calls=len(books.calls),
        refused=sum(not call.is_done for call in books.calls),
        peak=books.peak,
        limit=books.limit,
        answers_ms=answered,
        until_handler_ms=[(run.began_at - sent_at[run.delivery_id]) * 1000 for run in first_runs],
    )


def _unfinished(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row.state is State.NOT_RUN:
            yield f"#{row.sent.number} {row.sent.kind}: {row.runs} of {row.expected} handler runs"
        elif row.state is State.NOT_WRITTEN:
            yield f"#{row.sent.number} {row.sent.kind}: {row.written} of {row.writes} follow-up writes"
        elif not row.state.is_good:
            yield f"#{row.sent.number} {row.sent.kind}: {row.state}"


def _strays(books: Books, rows: Sequence[Row]) -> Iterator[str]:
    """Name what no row shows: deliveries nobody sent, writes the sandbox never saw, too many calls at once."""
    matched = {row.delivery_id for row in rows}
    for stored in books.stored:
        if stored.delivery_id not in matched:
            yield f"delivery {stored.delivery_id[-6:]} lies in the inbox, and the sandbox did not send it"
    runs = len({(run.event_id, run.handler) for run in books.runs})
    if runs < books.steps_added:
        yield f"{runs} handler runs; the stores count {books.steps_added} steps"
    unseen = _writes(books.calls) - _writes(books.asked)
    for (method, path), number in sorted(unseen.items()):
        yield f"{number} × {method} {path} succeeded for a worker, and the sandbox did not see it"
    if books.peak > books.limit:
        yield f"{books.peak} calls arrived within one second; {books.limit} are allowed"


def _writes(calls: Sequence[Call] | Sequence[Asked]) -> Counter[tuple[str, str]]:
    return Counter(
        (call.method, call.path)
        for call in calls
        if call.method in WRITING and call.status is not None and 200 <= call.status < 300
    )


def _left(left: Left) -> Iterator[str]:
    for number, what in (
        (left.inbox, "in the inbox, not drained"),
        (left.open, "with steps that are not finished"),
        (left.lanes, "in the lanes, due or leased"),
        (left.outbox, "in the outbox, not sent"),
        (left.dead, "given up, among the dead letters"),
    ):
        if number:
            yield f"{number} {what}"
