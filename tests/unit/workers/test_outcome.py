"""What a handler's error means for its step."""

from datetime import timedelta

import pytest

from kommo.api.calls import NO_TURN
from kommo.errors import (
    AccessEnded,
    ApiError,
    BadRequest,
    Forbidden,
    NotFound,
    PaymentRequired,
    RateLimited,
    RequestError,
    ServerError,
    Unauthorized,
    Unreachable,
)
from kommo.hooks.events import Event
from kommo.router import Handler
from kommo.store.chains import Lease
from kommo.verdicts import Reject, Retry
from tests.integration.workers.logs import logged
from workers.outcome import crashed, ending_of, gone, is_poison, not_here, over_time


def lease(*, runs: int = 0, failures: int = 0, crashes: int = 0, alone: int = 0) -> Lease:
    return Lease(101, "lead:1:h", "t", 1, runs, failures, crashes, b"{}", alone)


def handler(attempts: int = 8) -> Handler:
    return Handler("h", print, attempts=attempts)


def said_no(kind: type[ApiError], *, after: float | None = None) -> ApiError:
    return kind("no", method="GET", path="/api/v4/leads/1", after=after)


@pytest.mark.parametrize(
    ("error", "verb", "reason"),
    [
        (Retry(), "again", ""),
        (Retry(after=5), "again", ""),
        (Reject("not ours"), "dead", "rejected"),
        (RequestError("wrong"), "dead", "refused"),
        (said_no(BadRequest), "dead", "refused"),
        (said_no(Forbidden), "dead", "refused"),
        (said_no(NotFound), "dead", "refused"),
        (said_no(Unreachable), "failed", ""),
        (said_no(RateLimited), "failed", ""),
        (said_no(ServerError), "failed", ""),
        (said_no(Unauthorized), "again", ""),
        (said_no(AccessEnded), "again", ""),
        (said_no(PaymentRequired), "again", ""),
        (ValueError("bug"), "failed", ""),
        (TimeoutError(), "failed", ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_every_kind_of_error_has_its_ending(error: Exception, verb: str, reason: str) -> None:
    ending = ending_of(error, lease(), handler())
    assert (ending.verb, ending.reason) == (verb, reason)


@pytest.mark.parametrize(("after", "ms"), [(0, 0), (1.5, 1500), (timedelta(hours=1), 3_600_000)])
def test_a_retry_is_taken_at_its_word(after: float | timedelta, ms: int) -> None:
    assert ending_of(Retry(after=after), lease(), handler()).delay_ms == ms


def test_the_last_attempt_is_the_last_however_often_the_worker_died() -> None:
    for crashes in (0, 2):
        spent = lease(failures=2, crashes=crashes)
        assert ending_of(ValueError(), spent, handler(attempts=4)).verb == "failed"
        assert ending_of(ValueError(), spent, handler(attempts=3)).reason == "attempts_exhausted"


def test_a_call_that_got_no_turn_is_no_failure() -> None:
    error = RateLimited("no turn", method="GET", path="/api/v4/leads/1", code=NO_TURN)
    assert ending_of(error, lease(failures=7), handler()).verb == "again"


def test_a_retry_uses_up_nothing() -> None:
    assert ending_of(Retry(), lease(runs=99, failures=7, crashes=7), handler(attempts=1)).verb == "again"


def test_waiting_for_a_person_uses_up_nothing() -> None:
    assert ending_of(said_no(PaymentRequired), lease(runs=99, failures=7), handler(attempts=1)).verb == "again"


def test_kommos_own_time_counts_only_where_kommo_gave_one() -> None:
    assert ending_of(said_no(RateLimited, after=60), lease(), handler()).delay_ms >= 60_000
    assert ending_of(said_no(Unauthorized, after=60), lease(), handler()).delay_ms <= 2000


def end_within(error: Exception) -> None:
    """Ask for the ending where a handler has just raised."""

    def run() -> None:
        raise error

    try:
        run()
    except Exception as caught:
        ending_of(caught, lease(), handler())


def test_only_a_handlers_own_fault_is_logged_with_its_traceback() -> None:
    with logged() as lines:
        for error in (said_no(ServerError), ValueError("bug")):
            end_within(error)
    refused, bug = lines.all
    assert "exception" not in refused
    assert "Traceback" in bug["exception"]
    assert bug["error"] == "ValueError: bug"


def test_what_is_given_up_says_why() -> None:
    ending = crashed(lease(crashes=3, alone=2))
    assert (ending.verb, ending.reason) == ("dead", "crashed")
    assert "3 times" in ending.error
    assert (gone("shop.h").reason, "shop.h" in gone("shop.h").error) == ("handler_gone", True)


@pytest.mark.parametrize(
    ("crashes", "alone", "poison"), [(0, 0, False), (2, 1, False), (9, 0, False), (9, 1, False), (3, 2, True)]
)
def test_poison_is_what_ended_three_processes_two_of_them_with_nothing_else_in_them(
    crashes: int, alone: int, poison: bool
) -> None:
    assert is_poison(lease(crashes=crashes, alone=alone)) is poison


def test_time_that_is_over_is_a_failure_like_any_other() -> None:
    first = over_time(lease(), handler(attempts=2), "in shop.py")
    assert (first.verb, first.delay_ms > 0) == ("failed", True)
    last = over_time(lease(failures=1), handler(attempts=2), "in shop.py")
    assert (last.verb, last.reason, last.traceback) == ("dead", "attempts_exhausted", "in shop.py")
    assert "timeout= of 60 s" in last.error


def test_what_is_not_known_here_is_left_to_others_for_a_while() -> None:
    assert (not_here().verb, not_here().delay_ms) == ("postpone", 3000)


def test_only_what_is_given_up_leaves_a_letter() -> None:
    event = Event("e1", "lead.added", 101, "lead", 1, None, {"id": "1"}, "d1", attempt=4)
    item = {"handler": "h", "stream": "5-0", "event": event.to_record()}
    assert not_here().letter(lease(), event, item) is None
    letter = ending_of(Reject("not ours"), lease(), handler()).letter(lease(), event, item)
    assert letter is not None
    assert (letter.id, letter.attempt, letter.item) == ("e1.h", 4, {"lane": "lead:1:h", **item})
