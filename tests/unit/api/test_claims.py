"""What a token says of itself, and that nonsense says nothing."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.api.tokens.claims import Claims, claims_of


def token(payload: Any) -> str:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return f"e30.{base64.urlsafe_b64encode(body).rstrip(b'=').decode()}.c2ln"


def test_a_token_of_kommos_says_when_it_ends_whose_it_is_and_whom_to_ask() -> None:
    said = {"aud": "c", "exp": 1_900_000_000, "account_id": 7, "api_domain": "api-c.kommo.com", "scopes": ["crm"]}
    assert claims_of(token(said)) == Claims(1_900_000_000, 7, "api-c.kommo.com")


def test_numbers_may_be_texts_or_have_fractions() -> None:
    assert claims_of(token({"exp": 1_900_000_000.75, "account_id": "7"})) == Claims(1_900_000_000, 7, "")


@pytest.mark.parametrize(
    "payload",
    [
        {},
        [],
        "x",
        7,
        None,
        b"\xff",
        b"{",
        {"exp": None, "account_id": True, "api_domain": 5},
        {"exp": 1e300},
        {"exp": -1},
    ],
    ids=repr,
)
def test_what_is_no_claim_says_nothing(payload: Any) -> None:
    assert claims_of(token(payload)) == Claims()


@pytest.mark.parametrize(
    "host",
    ["evil.example", "kommo.com", "www.kommo.com", "a.b.kommo.com", "kommo.com.evil.example", "x/y.kommo.com", "x"],
)
def test_a_host_that_is_not_one_of_kommos_is_passed_over(host: str) -> None:
    assert claims_of(token({"api_domain": host})).api_domain == ""


@given(st.text(max_size=60))
def test_whatever_a_token_is_asking_it_does_not_fail(text: str) -> None:
    assert claims_of(text) == Claims()
    claims_of(f"a.{text}.b")
