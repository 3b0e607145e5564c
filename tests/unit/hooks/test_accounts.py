import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.hooks.accounts import MAX_ACCOUNTS, accounts_named


@pytest.mark.parametrize(
    "body",
    [
        b"account[id]=405&leads[add][0][id]=7",
        b"leads%5Badd%5D%5B0%5D%5Bid%5D=7&account%5Bid%5D=405",
        b"account%5bid%5d=405",
        b"account_id=405&timestamp=1",
        b"leads[add][0][account_id]=405",
        b"leads%5Badd%5D%5B0%5D%5Baccount_id%5D=405&x=1",
        b"leads%5Bnote%5D%5B0%5D%5Bnote%5D%5Baccount_id%5D=405",
        b"leads[delete][account_id]=405\r\n",
        b'{"account_id": 405, "leads": {}}',
        b'\n {"account_id":"405"}',
        b'{"account": {"subdomain": "x", "_links": {"self": "y"}, "id": "405"}}',
        b'{"leads":{"add":[{"id":7,"account_id":405}]}}',
    ],
)
def test_an_account_is_found_wherever_a_body_names_it(body: bytes) -> None:
    assert accounts_named(body) == {405}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"account[subdomain]=birchyard",
        b"account[id]=XXXXXXX",
        b"account[id]=4057x",
        b"account_id=0",
        b"account_id=",
        b"account_id=" + b"9" * 40,
        b"text=account_id%3D405",
        b"text=%5Baccount_id%5D%3D405%26account%5Bid%5D%3D405",
        b"my_account_id=405&xaccount[id]=405",
        b"account[id][x]=405",
        b'{"account_id": "XXXXXXX"}',
        b'{"account_id": 4.5, "other": {"id": 405}}',
        json.dumps({"text": '"account_id": 405'}).encode(),
        "account[id]=٤٠٥".encode(),
    ],
)
def test_what_only_looks_like_an_account_is_not_found(body: bytes) -> None:
    assert accounts_named(body) == set()


def test_contradicting_accounts_are_all_found_up_to_a_limit() -> None:
    assert accounts_named(b"account[id]=1&leads[add][0][account_id]=2") == {1, 2}
    many = b"&".join(b"leads[add][%d][account_id]=%d" % (n, n) for n in range(1, 100))
    assert len(accounts_named(many)) == MAX_ACCOUNTS


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_searched_without_an_error(body: bytes) -> None:
    accounts_named(body)
    accounts_named(b"{" + body)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    [
        b'"account":{',
        b'"account":{"x":{}',
        b'"account":{"id":',
        b'"account":{' + b"x" * 300,
        b'"account":{' + b"{}" * 150,
        b'"account_id":' + b" " * 30,
    ],
)
@pytest.mark.parametrize("start", [b"{", b""])
def test_a_hostile_mebibyte_of_json_is_searched_in_one_go(start: bytes, piece: bytes) -> None:
    assert accounts_named(start + piece * (2**20 // len(piece))) == set()


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    [b"a[", b"a[b]", b"&a[b][c][d]", b"&" + b"a" * 40 + b"[" + b"b" * 40, b"account[id]=", b"&account_id=1", b"&"],
)
def test_a_hostile_mebibyte_of_a_form_is_searched_in_one_go(piece: bytes) -> None:
    assert accounts_named(piece * (2**20 // len(piece))) <= {1}
