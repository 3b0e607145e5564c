"""When a delivery is repeated and when its webhook is switched off."""

import pytest

from sandbox.ladder import NO_CONNECTION, PIPELINE_LADDER, TIMED_OUT, WEBHOOK_LADDER, BadAnswers, is_bad, next_wait


@pytest.mark.parametrize(
    ("answer", "bad"),
    [(0, True), (99, True), (100, False), (200, False), (299, False), (300, True), (307, True), (404, True)],
)
def test_success_is_100_to_299_and_a_redirect_is_none(answer: int, bad: bool) -> None:
    assert is_bad(answer) is bad


@pytest.mark.parametrize("answer", [499, 500, 599, TIMED_OUT])
def test_server_errors_and_timeouts_get_five_attempts(answer: int) -> None:
    assert [next_wait(WEBHOOK_LADDER, done, answer) for done in range(1, 6)] == [300, 900, 900, 3600, None]


@pytest.mark.parametrize("answer", [NO_CONNECTION, 301, 400, 404, 429, 498, 600])
def test_other_failures_get_three_attempts(answer: int) -> None:
    assert [next_wait(WEBHOOK_LADDER, done, answer) for done in range(1, 4)] == [300, 900, None]


def test_what_has_arrived_is_not_repeated() -> None:
    assert next_wait(WEBHOOK_LADDER, 1, 200) is None


def test_pipeline_hooks_get_four_more_attempts_within_an_hour() -> None:
    waits = [next_wait(PIPELINE_LADDER, done, 400) for done in range(1, 6)]
    assert waits == [900, 900, 900, 900, None]


def test_the_hundred_and_first_bad_answer_within_two_hours_switches_off() -> None:
    answers = BadAnswers(1.0)
    judged = [answers.note(500, float(number)) for number in range(101)]
    assert judged == [False] * 100 + [True]


def test_a_good_answer_never_switches_off_and_old_ones_do_not_count() -> None:
    answers = BadAnswers(1.0)
    for number in range(100):
        answers.note(500, float(number))
    assert answers.note(200, 100.0) is False
    assert answers.note(500, 7200.0) is False, "the first one is two hours old by now"
    assert answers.note(500, 7200.5) is True


def test_the_window_is_scaled_and_enabling_forgets() -> None:
    answers = BadAnswers(0.001)
    for _ in range(100):
        answers.note(500, 0.0)
    answers.forget()
    assert answers.note(500, 0.0) is False
    for _ in range(100):
        answers.note(500, 0.0)
    assert answers.note(500, 7.3) is False
