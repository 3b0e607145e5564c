"""The reckoning finds what is lost, doubled and out of order; a chaos that could not fail would show nothing."""

import pytest

from tests.chaos.reckoning import longest_wait, reckon

SENT = [(1, 1), (1, 2), (2, 1)]


def test_all_went_well() -> None:
    result = reckon(SENT, ran=[(2, 1), (1, 1), (1, 2)], notes=SENT, given_up=[])

    assert result.is_good
    assert (result.sent, result.handled, result.twice, result.notes_twice) == (3, 3, 0, 0)


def test_an_event_that_never_ran_is_lost() -> None:
    result = reckon(SENT, ran=[(1, 1), (2, 1)], notes=SENT, given_up=[])

    assert result.lost == 1
    assert not result.is_good


def test_a_repeated_run_is_counted_and_is_in_order() -> None:
    result = reckon(SENT, ran=[(1, 1), (1, 1), (1, 2), (2, 1)], notes=SENT, given_up=[])

    assert (result.twice, result.disordered) == (1, 0)
    assert result.is_good


def test_a_run_after_a_later_event_of_its_lead_is_out_of_order() -> None:
    for ran in ([(1, 2), (1, 1), (2, 1)], [(1, 1), (1, 2), (1, 1), (2, 1)]):
        result = reckon(SENT, ran=ran, notes=SENT, given_up=[])

        assert result.disordered == 1
        assert not result.is_good


def test_a_note_that_is_not_there_is_lost_and_one_too_many_is_counted() -> None:
    result = reckon(SENT, ran=SENT, notes=[(1, 1), (1, 1), (1, 2)], given_up=[])

    assert (result.notes_lost, result.notes_twice) == (1, 1)
    assert not result.is_good


def test_nothing_is_expected_of_what_was_given_up_on_purpose() -> None:
    result = reckon(SENT, ran=SENT, notes=[(1, 1), (1, 2)], given_up=[(2, 1)])

    assert result.is_good


def test_how_long_an_event_waited_is_told_by_its_first_run() -> None:
    taken = {(1, 1): 10.0, (1, 2): 11.0, (2, 1): 12.0}

    waited = longest_wait(taken, [((1, 1), 10.5), ((2, 1), 15.0), ((1, 2), 11.1), ((1, 1), 99.0)])

    assert waited == pytest.approx(3.0)
    assert longest_wait(taken, []) == 0


def test_runs_without_notes_are_judged_by_their_events() -> None:
    assert reckon(SENT, ran=SENT, notes=None, given_up=[]).is_good
