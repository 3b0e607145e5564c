"""Limits are checked at their edge, before a request is spent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.api import bounds
from kommo.api.bounds import check_amount, check_batch, check_note, check_page, check_room, portions
from kommo.errors import RequestError


def test_the_limits_are_those_of_the_vendor():
    assert (bounds.PAGE_LIMIT, bounds.BATCH_LIMIT, bounds.BATCH_ADVISED, bounds.WIDE_PAGE_LIMIT) == (250, 250, 50, 500)
    assert (bounds.COMPLEX_LIMIT, bounds.COMPLEX_VALUES_LIMIT, bounds.NOTE_LIMIT) == (50, 40, 20_000)
    assert (bounds.WEBHOOK_LIMIT, bounds.SOURCE_LIMIT, bounds.PIPELINE_LIMIT) == (100, 100, 50)
    assert (bounds.STAGE_LIMIT, bounds.CATALOG_LIMIT, bounds.USERS_BATCH) == (100, 10, 10)


@pytest.mark.parametrize(("page", "size"), [(None, None), (1, 1), (7, 250), (None, 250)])
def test_pages_count_from_one_and_sizes_up_to_the_limit(page, size):
    check_page(page, size, 250)


@pytest.mark.parametrize(
    ("page", "size"),
    [(0, None), (-1, 5), (True, None), ("1", None), (1.0, None), (1, 0), (1, 251), (1, True), (1, "5")],
)
def test_what_is_no_page_or_no_size_is_refused(page, size):
    with pytest.raises(RequestError):
        check_page(page, size, 250)


@pytest.mark.parametrize("batch", [1, 50, 250])
def test_a_batch_is_at_most_what_kommo_takes(batch):
    assert check_batch(batch) == batch


@pytest.mark.parametrize("batch", [0, 251, True, None, "50"])
def test_another_batch_is_refused(batch):
    with pytest.raises(RequestError, match="1 to 250"):
        check_batch(batch)


def test_an_amount_may_reach_its_limit_and_not_pass_it():
    check_amount([1, 2], 2, "things")
    with pytest.raises(RequestError, match="2 things at most, not 3"):
        check_amount([1, 2, 3], 2, "things")


@pytest.mark.parametrize("have", [None, 0, 98])
def test_there_is_room_up_to_the_limit_and_when_nobody_has_counted(have):
    check_room(have, [1, 2], 100, "webhooks")


@pytest.mark.parametrize(("have", "given_"), [(99, [1, 2]), (100, [1]), (None, range(101))])
def test_there_is_no_room_beyond_it(have, given_):
    with pytest.raises(RequestError, match="100 webhooks at most"):
        check_room(have, given_, 100, "webhooks")


def test_a_note_is_measured_in_characters():
    check_note("я" * 20_000)
    check_note(None)
    with pytest.raises(RequestError, match="not 20001"):
        check_note("я" * 20_001)


@given(st.integers(0, 600), st.integers(1, 250))
def test_portions_are_in_order_whole_and_not_too_large(count, size):
    items = list(range(count))
    parts = [items[part] for part in portions(count, size)]
    assert [item for part in parts for item in part] == items
    assert all(1 <= len(part) <= size for part in parts)
    assert len(parts) == -(-count // size)
