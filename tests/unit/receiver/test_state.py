"""The state of an installation: ours, fresh, and this browser's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.errors import SignatureError
from receiver.installs.state import StateExpired, States

SECRET = "integration-secret"


def states(*secrets: str, seconds: int = 60) -> States:
    return States(secrets or (SECRET,), seconds=seconds)


def test_it_brings_back_the_integration_that_it_was_issued_for() -> None:
    ticket = states().issue("client-1", None)
    assert states().check(ticket.state, ticket.browser) == "client-1"


def test_neither_the_secret_nor_the_cookie_can_be_read_from_it() -> None:
    ticket = states().issue("client-1", None)
    assert SECRET not in ticket.state
    assert ticket.browser not in ticket.state
    assert ticket.state not in repr(ticket)


@pytest.mark.parametrize("browser", [None, "", "A" * 43, "é" * 43, "\ud800"])
def test_in_another_browser_it_is_refused(browser: str | None) -> None:
    ticket = states().issue("client-1", None)
    with pytest.raises(SignatureError, match="another browser"):
        states().check(ticket.state, browser)


def test_after_its_time_it_is_refused_as_expired() -> None:
    ticket = states().issue("client-1", None)
    with pytest.raises(StateExpired):
        states(seconds=-1).check(ticket.state, ticket.browser)


def test_one_signed_with_another_secret_is_refused() -> None:
    ticket = states("guessed").issue("client-1", None)
    with pytest.raises(SignatureError, match="not ours"):
        states().check(ticket.state, ticket.browser)


def test_the_previous_secret_opens_what_it_signed_and_signs_nothing_new() -> None:
    old, both = states("old"), states("new", "old")
    ticket = old.issue("client-1", None)
    assert both.check(ticket.state, ticket.browser) == "client-1"
    fresh = both.issue("client-1", None)
    assert states("new").check(fresh.state, fresh.browser) == "client-1"
    with pytest.raises(SignatureError):
        old.check(fresh.state, fresh.browser)


def test_a_browser_keeps_its_cookie_so_that_both_of_its_windows_go_on() -> None:
    first = states().issue("client-1", None)
    second = states().issue("client-1", first.browser)
    assert second.browser == first.browser
    assert states().check(first.state, second.browser) == "client-1"


def test_two_starts_of_one_browser_within_a_second_are_two() -> None:
    first = states().issue("client-1", None)
    assert states().issue("client-1", first.browser).state != first.state


@pytest.mark.parametrize("cookie", ["", "short", "x" * 44, "é" * 43])
def test_a_cookie_that_is_none_of_ours_is_replaced(cookie: str) -> None:
    ticket = states().issue("client-1", cookie)
    assert ticket.browser != cookie
    assert len(ticket.browser) == 43


@given(st.text())
def test_whatever_is_shown_instead_is_refused(state: str) -> None:
    with pytest.raises(SignatureError):
        states().check(state, "x" * 43)
