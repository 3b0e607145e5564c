"""What a handler raises that is no error: "again, later" and "never again". A leaf: it imports nothing of ours."""

from datetime import timedelta
from typing import Final

#: Seconds that a handler may ask to wait at most: 30 days.
LONGEST_RETRY: Final = 30 * 24 * 3600


def _seconds(after: object) -> float:
    seconds = after.total_seconds() if isinstance(after, timedelta) else after
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_RETRY:
        raise ValueError(f"Retry(after=): a timedelta, or seconds, from 0 to 30 days, not {after!r:.80}")
    return float(seconds)


class Retry(Exception):
    """Raised by a handler: run it again later. Not an error, and not logged as one.

    `after` is a timedelta or seconds, 30 days at most (else ValueError); without it the usual backoff decides. It shows
    in `event.attempt` but does not use up the handler's `attempts=`, which are for failures: a handler that waits stops
    itself by `event.attempt`.
    """

    def __init__(self, reason: str = "", *, after: timedelta | float | None = None) -> None:
        self.reason = reason
        self.after = None if after is None else _seconds(after)
        super().__init__(reason or "the handler asked to run again")


class Reject(Exception):
    """Raised by a handler: give up on this event at once. It becomes a dead letter with the reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
