"""The pages of an installation: each says what happened and what to do, whatever came with it."""

import re
from typing import get_args

import pytest
from flask import Flask

from receiver.installs import sentences
from receiver.installs.pages import Page, Tone, guarded

PAGES = {
    "probed": sentences.probed(),
    "under way": sentences.under_way(reload=4),
    "denied": sentences.unusable("denied", "No."),
    **{reason: sentences.unusable(reason, "No.") for reason in ("error", "code", "referer", "twice", "hint")},
    "expired": sentences.state_refused(expired=True),
    "state": sentences.state_refused(expired=False),
    "misses": sentences.misses(["Set THIS."]),
    "too many": sentences.too_many(),
    "crowded": sentences.crowded(),
    "state used": sentences.state_used(),
    "unset": sentences.unset(),
    "away": sentences.store_away(),
    "installed": sentences.ended({"what": "installed", "account_id": 42, "host": "acme.kommo.com"}),
    "no webhook": sentences.ended({"what": "installed", "account_id": 42, "host": "a.kommo.com", "problem": "402"}),
    **{
        what: sentences.ended({"what": what, "host": "acme.kommo.com", "problem": "because"})
        for what in (
            "code_refused",
            "code_lost",
            "too_late",
            "client_refused",
            "refused",
            "other_account",
            "other_integration",
            "unknown_client",
            "settings",
        )
    },
}


@pytest.fixture
def app() -> Flask:
    return Flask("receiver.app")


def html(app: Flask, page: Page) -> str:
    with app.test_request_context():
        return page.response().get_data(as_text=True)


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_every_page_has_a_title_a_sentence_and_a_known_tone(app: Flask, page: Page) -> None:
    assert page.title
    assert page.text
    assert page.tone in get_args(Tone)
    assert page.title in html(app, page).replace("&#39;", "'")


@pytest.mark.parametrize("page", [page for page in PAGES.values() if page.status >= 400], ids=lambda page: page.title)
def test_every_page_about_a_failure_says_what_to_do(page: Page) -> None:
    assert page.todo


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_no_page_has_a_script_or_loads_anything(app: Flask, page: Page) -> None:
    assert re.findall(r"<script|<img|<link|src=|href=|style=|\son\w+=", html(app, page)) == []


def test_what_came_from_outside_is_text_and_nothing_else(app: Flask) -> None:
    page = sentences.ended({"what": "refused", "host": "acme.kommo.com", "problem": "<script>alert(1)</script>"})
    assert "<script>" not in html(app, page)
    assert "&lt;script&gt;" in html(app, page)


def test_only_the_page_that_waits_loads_itself_anew(app: Flask) -> None:
    assert [name for name, page in PAGES.items() if "http-equiv" in html(app, page)] == ["under way"]


def test_the_policy_lets_in_the_style_of_the_page_and_nothing_else(app: Flask) -> None:
    with app.test_request_context():
        response = guarded(PAGES["installed"].response())
    assert "script-src" not in response.headers["Content-Security-Policy"]
    assert response.headers["Content-Security-Policy"].count("'sha256-") == 1
