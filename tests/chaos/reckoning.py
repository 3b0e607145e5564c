"""Compare what was sent with what came of it. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: A lead and the number of its event; a lead's numbers are sent in order.
Event = tuple[int, int]


@dataclass(frozen=True)
class Reckoning:
    """What became of the events of a run."""

    sent: int
    handled: int
    lost: int
    #: Runs beyond the first.
    twice: int
    #: Runs that came after one of a later event of the same lead.
    disordered: int
    notes: int
    notes_lost: int
    notes_twice: int

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.disordered or self.notes_lost)


def reckon(
    sent: Iterable[Event], ran: Iterable[Event], notes: Iterable[Event] | None, given_up: Iterable[Event]
) -> Reckoning:
    """Reckon up. `ran` is in the order of the runs; `notes` None when none were asked for.

    `given_up` are those that lie among the dead letters on purpose: nothing more is expected of them.
    """
    wanted = set(sent)
    runs = list(ran)
    times = Counter(runs)
    expected_notes = set() if notes is None else wanted - set(given_up)
    made = Counter(notes or ())
    return Reckoning(
        sent=len(wanted),
        handled=len(times.keys() & wanted),
        lost=len(wanted - times.keys()),
        twice=sum(times.values()) - len(times),
        disordered=_disordered(runs),
        notes=len(made),
        notes_lost=len(expected_notes - made.keys()),
        notes_twice=sum(made.values()) - len(made),
    )


def longest_wait(taken: Mapping[Event, float], ran: Iterable[tuple[Event, float]]) -> float:
    """Say how many seconds passed at most from when an event was taken until it first ran; 0 when none did."""
    first: dict[Event, float] = {}
    for event, at in ran:
        first.setdefault(event, at)
    return max((at - taken[event] for event, at in first.items() if event in taken), default=0.0)


def _disordered(runs: Iterable[Event]) -> int:
    newest: dict[int, int] = defaultdict(int)
    wrong = 0
    for lead, number in runs:
        wrong += number < newest[lead]
        newest[lead] = max(newest[lead], number)
    return wrong
