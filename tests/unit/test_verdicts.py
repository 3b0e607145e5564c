"""What a handler raises that is no error."""

from datetime import timedelta

import pytest

from kommo.errors import KommoError
from kommo.verdicts import LONGEST_RETRY, Reject, Retry


@pytest.mark.parametrize(
    ("after", "seconds"), [(None, None), (0, 0.0), (90, 90.0), (timedelta(days=30), LONGEST_RETRY)]
)
def test_a_handler_may_wait_up_to_thirty_days(after, seconds):
    assert Retry("busy", after=after).after == seconds


@pytest.mark.parametrize("after", [-1, True, "5", LONGEST_RETRY + 1, float("nan"), timedelta(days=31)])
def test_a_wait_that_makes_no_sense_is_refused(after):
    with pytest.raises(ValueError, match="30 days"):
        Retry(after=after)


def test_the_words_of_a_handler_are_no_errors_of_this_project_and_keep_their_reason():
    assert (Retry("busy").reason, Reject("spam").reason) == ("busy", "spam")
    assert str(Retry()) == "the handler asked to run again"
    assert not isinstance(Retry(), KommoError)
    assert not isinstance(Reject("spam"), KommoError)
