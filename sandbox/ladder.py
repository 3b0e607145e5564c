"""When a delivery is tried again, and when its webhook is switched off: pure rules, times in seconds.

Source: https://developers.kommo.com/docs/webhooks-general. The answer to a delivery is a number: the HTTP
status, 0 when there was no connection or no readable answer, and 499 when 2 s were over before the answer.
499 is what a proxy writes down when its client gives up; that the service counts a timeout so is
unconfirmed, but its table would have no other use for the number.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

NO_CONNECTION = 0
TIMED_OUT = 499

#: More bad answers than this within `SWITCH_OFF_WINDOW` seconds switch a webhook off.
SWITCH_OFF_AFTER = 100
SWITCH_OFF_WINDOW = 2 * 3600.0


def is_bad(answer: int) -> bool:
    """Tell whether an answer counts as not delivered; a redirect does."""
    return not 100 <= answer < 300


def is_grave(answer: int) -> bool:
    """Tell whether an answer earns the two late attempts."""
    return answer == TIMED_OUT or 500 <= answer < 600


class Rung(NamedTuple):
    """A further attempt: seconds after the one before, and the answers to that one that lead here."""

    wait: float
    after: Callable[[int], bool]


Ladder = Sequence[Rung]

#: Attempts 2 to 5 of ordinary webhooks.
WEBHOOK_LADDER: Ladder = (
    Rung(5 * 60.0, is_bad),
    Rung(15 * 60.0, is_bad),
    Rung(15 * 60.0, is_grave),
    Rung(60 * 60.0, is_grave),
)

#: Attempts 2 to 5 of Digital Pipeline hooks: up to four more within an hour, how spaced is not documented
#: (https://developers.kommo.com/docs/webhooks-dp; its older text says that they are sent once).
PIPELINE_LADDER: Ladder = (Rung(15 * 60.0, is_bad),) * 4


def next_wait(ladder: Ladder, attempts: int, answer: int) -> float | None:
    """Return the seconds until the next attempt after so many, or None if there is none."""
    if not is_bad(answer) or attempts > len(ladder):
        return None
    rung = ladder[attempts - 1]
    return rung.wait if rung.after(answer) else None


class BadAnswers:
    """Remember the bad answers of one webhook; times are seconds of one monotonic clock."""

    def __init__(self, time_scale: float) -> None:
        self._window = SWITCH_OFF_WINDOW * time_scale
        self._times: deque[float] = deque()

    def note(self, answer: int, now: float) -> bool:
        """Record an answer; tell whether it switches the webhook off, which only a bad one does."""
        if not is_bad(answer):
            return False
        self._times.append(now)
        while self._times[0] <= now - self._window:
            self._times.popleft()
        return len(self._times) > SWITCH_OFF_AFTER

    def forget(self) -> None:
        """Start anew."""
        self._times.clear()
