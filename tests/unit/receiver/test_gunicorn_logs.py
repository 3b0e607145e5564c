"""What gunicorn says of broken requests: without their bytes, and not without end."""

import logging

from receiver.gunicorn_logs import Sparing
from receiver.strangers import LINES


class Clock:
    """A clock that is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("gunicorn.error", logging.WARNING, "", 0, message, (), None)


def test_lines_about_broken_requests_are_limited_and_the_others_are_counted() -> None:
    clock = Clock()
    sparing = Sparing(clock=clock)
    through = [sparing.filter(record("Invalid request from ip=203.0.113.5")) for _ in range(LINES + 70)]
    assert through == [True] * LINES + [False] * 70
    clock.now += 1
    told = record("Invalid request from ip=203.0.113.6")
    assert sparing.filter(told)
    assert told.getMessage() == "Invalid request from ip=203.0.113.6 (70 like it were left out)"
    again = record("Invalid request from ip=203.0.113.6")
    assert sparing.filter(again)
    assert "left out" not in again.getMessage()


def test_what_gunicorn_says_of_itself_is_never_left_out() -> None:
    sparing = Sparing(clock=Clock())
    assert all(sparing.filter(record("Booting worker with pid: 7")) for _ in range(10 * LINES))
