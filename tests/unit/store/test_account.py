"""A stored account: nothing secret in its repr, and every field back from its bytes."""

import json
from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from kommo.store.account import Account
from kommo.variables import Secret

secrets = st.text(min_size=4, max_size=30).map(Secret)
accounts = st.builds(
    Account,
    account_id=st.integers(1, 10**15),
    subdomain=st.text(max_size=20),
    client_id=st.text(max_size=20),
    client_secret=secrets,
    access_token=secrets,
    refresh_token=secrets,
    previous_secret=secrets,
    expires_at=st.integers(0, 10**10),
    state=st.sampled_from(["ready", "needs_person", "disconnected"]),
    reason=st.text(max_size=20),
    version=st.integers(0, 99),
    tried_at=st.integers(0, 10**10),
)
SAMPLE = Account(
    account_id=7,
    subdomain="acme",
    client_secret=Secret("s-one"),
    previous_secret=Secret("s-two"),
    access_token=Secret("t-one"),
    refresh_token=Secret("t-two"),
)


@given(accounts)
def test_it_comes_back_from_its_bytes_and_what_stands_beside_them(account: Account) -> None:
    beside = {"state": account.state, "reason": account.reason, "version": account.version}
    back = Account.from_bytes(account.to_bytes(), **beside, tried_at=account.tried_at)  # type: ignore[arg-type]  # by name
    assert (back, back.tried_at) == (account, account.tried_at)
    for one in fields(Account):
        assert type(getattr(back, one.name)) is type(getattr(account, one.name))


def test_its_repr_shows_no_secret() -> None:
    for shown in (repr(SAMPLE), str(SAMPLE), repr([SAMPLE])):
        for secret in ("s-one", "s-two", "t-one", "t-two"):
            assert secret not in shown


def test_what_changes_without_the_rest_is_not_sealed() -> None:
    inside = json.loads(replace(SAMPLE, state="needs_person", reason="x", version=5, tried_at=9).to_bytes())
    assert {"state", "reason", "version", "tried_at"}.isdisjoint(inside)


def test_a_field_of_a_later_release_is_passed_over() -> None:
    inside = json.dumps({**json.loads(SAMPLE.to_bytes()), "colour": "red"}).encode()
    assert Account.from_bytes(inside, state="ready", reason="", version=0) == SAMPLE
