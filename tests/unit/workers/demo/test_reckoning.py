"""The reckoning: what it says when all is there, and what it says of each thing that is missing."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workers.demo.books import balanced, event, run, sent, stored, with_, write
from workers.demo.reckoning import Books, Row, State, quantile, reckon
from workers.demo.records import Asked, Left


def row(books: Books, number: int) -> Row:
    return next(row for row in reckon(books).rows if row.sent.number == number)


def without(values: Sequence[object], index: int) -> list[object]:
    return [value for place, value in enumerate(values) if place != index]


def test_nothing_is_missing_when_every_delivery_was_handled_and_followed_up():
    reckoning = reckon(balanced())
    assert reckoning.missing == []
    assert [row.state for row in reckoning.rows] == [State.HANDLED, State.HANDLED, State.DUPLICATE, State.HANDLED]


def test_every_delivery_has_its_row_in_the_order_of_the_numbers():
    books = balanced()
    shuffled = with_(sent=list(reversed(books.sent)))
    assert [row.sent.number for row in reckon(shuffled).rows] == [1, 2, 3, 4]


def test_a_row_tells_what_a_delivery_brought():
    found = row(balanced(), 1)
    assert (found.delivery_id, found.events, found.runs, found.expected) == ("d-ann", 1, 1, 1)
    assert (found.writes, found.written, found.is_echo) == (1, 1, False)
    assert row(balanced(), 4).is_echo


def test_the_sums_count_each_thing_once():
    totals = reckon(balanced()).totals
    assert (totals.sent, totals.stored, totals.duplicates, totals.echoes) == (4, 3, 1, 1)
    assert (totals.events, totals.runs, totals.writes, totals.calls, totals.refused) == (3, 2, 2, 2, 0)
    assert totals.answers_ms == [4.0] * 4
    assert totals.until_handler_ms == pytest.approx([490, 500])


def test_a_delivery_that_nobody_answered_is_named():
    books = balanced()
    reckoning = reckon(with_(sent=[*books.sent, sent(5, "eve", state="failed")]))
    assert reckoning.missing == ["#5 leads.add: not answered"]


def test_a_delivery_that_was_answered_and_not_stored_is_named():
    books = with_(sent=[*balanced().sent, sent(5, "eve")])
    assert reckon(books).missing == ["#5 leads.add: not stored"]


def test_a_delivery_that_was_stored_and_not_answered_is_not_good():
    first = sent(1, "ann", state="failed")
    assert row(with_(sent=[first, *balanced().sent[1:]]), 1).state is State.NOT_ANSWERED


def test_a_delivery_that_no_drain_has_taken_is_named():
    books = with_(steps={"d-ann": 1, "d-bob": 1})
    assert reckon(books).missing == ["#4 task.add: not drained"]


def test_a_handler_that_did_not_run_is_named_with_what_the_stores_count():
    books = with_(runs=without(balanced().runs, 1))
    assert reckon(books).missing == ["#2 leads.add: 0 of 1 handler runs", "1 handler runs; the stores count 2 steps"]


def test_a_follow_up_write_that_was_not_made_is_named():
    books = with_(written=Counter([("e-bob", "shop.welcome")]))
    assert reckon(books).missing == ["#1 leads.add: 0 of 1 follow-up writes"]


@pytest.mark.parametrize("status", [None, 400, 429, 503])
def test_a_call_that_did_not_succeed_is_counted_as_refused(status):
    books = balanced()
    reckoning = reckon(with_(calls=[write("d-ann", "e-ann", status=status), *books.calls]))
    assert (reckoning.missing, reckoning.totals.refused) == ([], 1)


def test_a_write_of_another_handler_does_not_stand_in():
    written = Counter([("e-ann", "shop.other"), ("e-bob", "shop.welcome")])
    assert reckon(with_(written=written)).missing == ["#1 leads.add: 0 of 1 follow-up writes"]


def test_a_write_that_the_sandbox_never_saw_is_named():
    books = with_(asked=[Asked(1, "POST", "/api/v4/tasks", 200), Asked(2, "POST", "/api/v4/tasks", 429)])
    assert reckon(books).missing == ["1 × POST /api/v4/tasks succeeded for a worker, and the sandbox did not see it"]


def test_a_delivery_in_the_inbox_that_the_sandbox_did_not_send_is_named():
    books = balanced()
    stray = stored("d-0123456789", "stray")
    reckoning = reckon(with_(stored=[*books.stored, stray], steps={**books.steps, "d-0123456789": 0}))
    assert reckoning.missing == ["delivery 456789 lies in the inbox, and the sandbox did not send it"]


def test_more_calls_in_a_second_than_the_limit_allows_are_named():
    assert reckon(with_(peak=8)).missing == ["8 calls arrived within one second; 7 are allowed"]
    assert reckon(with_(peak=7)).missing == []


@pytest.mark.parametrize(
    ("left", "sentence"),
    [
        (Left(inbox=3), "3 in the inbox, not drained"),
        (Left(open=1), "1 with steps that are not finished"),
        (Left(lanes=2), "2 in the lanes, due or leased"),
        (Left(outbox=4), "4 in the outbox, not sent"),
        (Left(dead=1), "1 given up, among the dead letters"),
    ],
)
def test_what_still_lies_in_the_stores_is_named(left, sentence):
    assert reckon(with_(left=left)).missing == [sentence]


def test_a_change_told_by_two_deliveries_runs_its_handlers_once():
    moved = event("e-moved", "lead.status_changed")
    books = with_(
        sent=[sent(1, "update", kind="leads.update"), sent(2, "status", kind="leads.status")],
        stored=[stored("d-update", "update", event("e-updated"), moved), stored("d-status", "status", moved)],
        steps={"d-update": 1, "d-status": 1},
        steps_added=1,
        runs=[run("d-update", "e-moved")],
        calls=[write("d-update", "e-moved")],
        written=Counter([("e-moved", "shop.welcome")]),
        asked=[Asked(1, "POST", "/api/v4/tasks", 200)],
    )
    assert reckon(books).missing == []
    assert reckon(books).totals.events == 2


def test_equal_bytes_stored_twice_are_matched_in_their_order():
    books = with_(
        sent=[sent(1, "gone"), sent(2, "gone"), sent(3, "gone")],
        stored=[stored("d-1", "gone"), stored("d-2", "gone")],
        steps={"d-1": 0, "d-2": 0},
        steps_added=0,
        runs=[],
        calls=[],
        written=Counter(),
        asked=[],
    )
    reckoning = reckon(books)
    assert [(row.delivery_id, row.state) for row in reckoning.rows] == [
        ("d-1", State.HANDLED),
        ("d-2", State.HANDLED),
        ("", State.DUPLICATE),
    ]


def test_a_run_told_twice_is_one_run():
    books = balanced()
    assert reckon(with_(runs=[*books.runs, books.runs[0]])).totals.runs == 2


def test_empty_books_balance():
    nothing = with_(sent=[], stored=[], steps={}, steps_added=0, runs=[], calls=[], written=Counter(), asked=[])
    assert reckon(nothing).missing == []
    assert quantile([], 0.99) == 0


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_quantile_is_one_of_the_values_and_bounds_its_share(values, share):
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
