"""The table of treatments: every answer has one row, what raises agrees with it, and the page shows it."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo import errors
from kommo.api.codes import CODES, Section
from kommo.errors import (
    AGAIN,
    ENDED,
    FEATURE,
    ITEMS,
    PAGE,
    TREATMENTS,
    UNREADABLE,
    AccessEnded,
    Action,
    ApiError,
    BadRequest,
    Blocked,
    ClientRefused,
    Forbidden,
    NeedsAttention,
    NotFound,
    Overloaded,
    PaymentRequired,
    RateLimited,
    Refused,
    ServerError,
    TryLater,
    Unauthorized,
    Unreachable,
    treatment_of,
)

SIGNS = {AGAIN, ENDED, FEATURE, ITEMS, PAGE, UNREADABLE}
PAGE_OF_ERRORS = (Path(__file__).parents[3] / "docs/errors.md").read_text("utf-8")
MADE = {"method": "GET", "path": "/x"}


@pytest.mark.parametrize(
    ("status", "signs", "error", "action"),
    [
        (200, {UNREADABLE}, ServerError, Action.REPEAT),
        (201, set(), None, Action.DONE),
        (204, {PAGE}, None, Action.DONE),
        (304, {PAGE}, None, Action.DONE),
        (302, {PAGE}, NeedsAttention, Action.RENEW),
        (400, {ITEMS}, BadRequest, Action.TAKE_OUT),
        (400, set(), BadRequest, Action.GIVE_UP),
        (400, {AGAIN, ITEMS}, ServerError, Action.REPEAT),
        (401, {ENDED}, AccessEnded, Action.PARK),
        (401, {PAGE, AGAIN, ITEMS}, Unauthorized, Action.RENEW),
        (402, {PAGE, AGAIN, ITEMS}, PaymentRequired, Action.PARK_PAYMENT),
        (402, {FEATURE}, Forbidden, Action.GIVE_UP),
        (403, {ENDED, PAGE}, AccessEnded, Action.PARK),
        (403, {PAGE}, Blocked, Action.STOP),
        (403, {AGAIN}, Forbidden, Action.GIVE_UP),
        (404, {PAGE}, NotFound, Action.GIVE_UP),
        (404, {AGAIN}, ServerError, Action.REPEAT),
        (410, set(), Refused, Action.GIVE_UP),
        (422, {ITEMS}, BadRequest, Action.TAKE_OUT),
        (425, set(), ServerError, Action.REPEAT),
        (425, {FEATURE}, Forbidden, Action.GIVE_UP),
        (426, set(), Refused, Action.GIVE_UP),
        (429, {PAGE, AGAIN}, RateLimited, Action.SLOW_DOWN),
        (503, SIGNS, ServerError, Action.REPEAT),
        (504, SIGNS, Overloaded, Action.HALVE),
        (None, set(), Unreachable, Action.REPEAT),
        (0, set(), ServerError, Action.REPEAT),
        (100, set(), ServerError, Action.REPEAT),
        (1000, set(), ServerError, Action.REPEAT),
    ],
)
def test_the_first_row_that_fits_counts(status, signs, error, action):
    row = treatment_of(status, signs)
    assert (row.error, row.action) == (error, action)


@given(st.none() | st.integers(), st.sets(st.sampled_from(sorted(SIGNS))))
def test_every_answer_has_a_row_and_only_a_success_raises_nothing(status, signs):
    row = treatment_of(status, signs)
    assert row in TREATMENTS
    assert (row.error is None) == (row.action is Action.DONE)
    if row.error is None:
        assert status == 304 or 200 <= status < 300


@pytest.mark.parametrize("row", TREATMENTS)
def test_every_row_is_reached(row):
    status = next(iter(row.statuses), None)
    candidates = [status] if status is None else row.statuses
    assert any(treatment_of(one, {row.sign}) is row for one in candidates)


@pytest.mark.parametrize("row", [row for row in TREATMENTS if row.error])
def test_an_error_knows_the_treatment_of_its_row(row):
    items = {"0": ("price: no",)} if row.sign == ITEMS else {}
    assert row.error("no", **MADE, items=items).action is row.action


@pytest.mark.parametrize(
    ("group", "actions"),
    [
        (TryLater, {Action.REPEAT, Action.HALVE, Action.SLOW_DOWN, Action.STOP}),
        (NeedsAttention, {Action.RENEW, Action.PARK, Action.PARK_PAYMENT}),
        (Refused, {Action.TAKE_OUT, Action.GIVE_UP}),
    ],
)
def test_what_is_done_agrees_with_the_group_of_the_error(group, actions):
    assert {row.action for row in TREATMENTS if row.error and issubclass(row.error, group)} == actions


def test_every_action_is_in_a_row_and_every_class_of_an_answer_too():
    assert {row.action for row in TREATMENTS} == set(Action)
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ApiError)}
    # ClientRefused is no answer: it says why no call was made.
    assert kinds - {ApiError, TryLater, ClientRefused} == {row.error for row in TREATMENTS if row.error}


def test_every_sign_is_in_a_row():
    assert {row.sign for row in TREATMENTS} == SIGNS | {""}


# The page


def rows(*columns):
    """Read the rows under a heading of this kind, wherever it stands on the page."""
    lines = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in PAGE_OF_ERRORS.splitlines()]
    found, inside = [], False
    for cells in lines:
        inside = cells == columns or (inside and len(cells) == len(columns))
        if inside and cells != columns and set(cells) != {"---"}:
            found.append(cells)
    return found


def spans(numbers):
    found = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in found) or "none"


def code(name):
    return f"`{name}`" if name else ""


def test_the_page_has_the_table_row_by_row():
    assert rows("status", "sign", "error", "treatment") == [
        (spans(row.statuses), code(row.sign), code(row.error and row.error.__name__), row.action.value)
        for row in TREATMENTS
    ]


def test_the_page_explains_every_sign():
    assert [sign for sign, _ in rows("sign", "the answer")] == [
        code(sign) for sign in dict.fromkeys(row.sign for row in TREATMENTS) if sign
    ]


def test_the_page_explains_every_treatment_in_their_order():
    explained = [name for name, *_ in rows("treatment", "a write with `later`", "a call that acts now")]
    assert explained == [action.value for action in Action]


def test_the_page_has_every_code_in_its_section():
    assert rows("code", "name", "meaning", "treatment") == [
        (str(one.number), code(one.name), one.meaning, one.action.value if one.action else "") for one in CODES.values()
    ]
    headings = re.findall(r"^### (.+)$", PAGE_OF_ERRORS, re.MULTILINE)
    assert len(headings) == len(Section)


def test_the_page_names_every_class_in_its_group():
    groups = {name: set(re.findall("`(.+?)`", members)) for name, _, members in rows("class", "it means", "members")}
    assert groups == {
        code(group.__name__): {
            kind.__name__
            for kind in vars(errors).values()
            if isinstance(kind, type) and issubclass(kind, group) and kind is not group
        }
        for group in (TryLater, NeedsAttention, Refused)
    }


def test_the_page_names_every_attribute():
    named = {name for cell, _ in rows("attribute", "what it is") for name in re.findall("`(.+?)`", cell)}
    assert named == set(vars(ApiError("no", **MADE))) | {"action", "remedy"}


def test_the_sentence_on_the_page_is_the_one_that_is_said():
    error = ServerError(
        "Request failed",
        method="POST",
        path="/api/v4/contacts",
        status=400,
        code="203",
        meaning=CODES[Section.CONTACTS, 203].meaning,
        request_id="8f3c",
    )
    assert str(error) in " ".join(PAGE_OF_ERRORS.split())
