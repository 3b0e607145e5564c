import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.errors import SignatureError
from kommo.hooks import signature

SECRET, PREVIOUS, CLIENT, ACCOUNT = "current-secret", "previous-secret", "3f1c2b7a-client", 40507010
BODY = b"leads%5Badd%5D%5B0%5D%5Bid%5D=7"
RIGHT = signature.url_signature(SECRET, CLIENT, ACCOUNT)

MALFORMED = {
    "missing": None,
    "empty": "",
    "short": RIGHT[:-1],
    "long": RIGHT + "0",
    "not hexadecimal": "g" * 64,
    "upper case": RIGHT.upper(),
    "not ASCII": "é" * 64,
    "not Latin-1": "ж" * 64,
    "a lone surrogate": "\udc80" * 64,
    "full-width digits": "１" * 64,
    "a repeated header": f"{RIGHT}, {RIGHT}",
    "a line break after it": f"{RIGHT}\n",
    "spaces around it": f" {RIGHT} ",
}


def _account(presented: str | None, secrets: list[str]) -> None:
    signature.verify_account(presented, secrets=secrets, client_id=CLIENT, account_id=ACCOUNT)


def _header(presented: str | None, secrets: list[str], body: bytes = BODY) -> None:
    signature.verify_header(presented, secrets=secrets, client_id=CLIENT, account_id=ACCOUNT, body=body)


def test_the_account_scheme_is_the_one_of_the_disconnect_call() -> None:
    by_hand = hmac.new(b"current-secret", b"3f1c2b7a-client|40507010", hashlib.sha256).hexdigest()
    assert signature.url_signature(SECRET, CLIENT, ACCOUNT) == by_hand
    assert signature.url_signature(SECRET, CLIENT, str(ACCOUNT)) == by_hand


def test_the_body_schemes_sign_the_bytes_as_they_came() -> None:
    assert signature.body_signature(SECRET, BODY) == hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
    assert signature.chat_signature(SECRET, BODY) == hmac.new(SECRET.encode(), BODY, "sha1").hexdigest()


@pytest.mark.parametrize("secret", [SECRET, PREVIOUS])
def test_the_current_and_the_previous_secret_are_accepted(secret: str) -> None:
    both = [SECRET, PREVIOUS]
    _account(signature.url_signature(secret, CLIENT, ACCOUNT), both)
    _header(signature.url_signature(secret, CLIENT, ACCOUNT), both)
    _header(signature.body_signature(secret, BODY), both)
    signature.verify_chat(signature.chat_signature(secret, BODY), secrets=both, body=BODY)


@pytest.mark.parametrize(
    "presented",
    [
        signature.url_signature("another secret", CLIENT, ACCOUNT),
        signature.url_signature(SECRET, "another client", ACCOUNT),
        signature.url_signature(SECRET, CLIENT, ACCOUNT + 1),
        signature.body_signature(SECRET, BODY + b"&"),
    ],
)
def test_a_signature_over_anything_else_is_refused(presented: str) -> None:
    with pytest.raises(SignatureError, match="wrong"):
        _account(presented, [SECRET])
    with pytest.raises(SignatureError, match="wrong"):
        _header(presented, [SECRET])


def test_a_signature_of_the_body_is_none_of_the_account() -> None:
    with pytest.raises(SignatureError):
        _account(signature.body_signature(SECRET, BODY), [SECRET])


@pytest.mark.parametrize("presented", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_has_not_the_form_of_a_signature_is_refused(presented: str | None) -> None:
    with pytest.raises(SignatureError):
        _account(presented, [SECRET])
    with pytest.raises(SignatureError):
        _header(presented, [SECRET])
    with pytest.raises(SignatureError):
        signature.verify_chat(presented, secrets=[SECRET], body=BODY)


def test_an_empty_secret_proves_nothing() -> None:
    forged = signature.url_signature("", CLIENT, ACCOUNT)
    for secrets in ([], [""], ["", SECRET]):
        with pytest.raises(SignatureError):
            _account(forged, secrets)
        with pytest.raises(SignatureError):
            _header(signature.body_signature("", BODY), secrets)
        with pytest.raises(SignatureError):
            signature.verify_chat(signature.chat_signature("", BODY), secrets=secrets, body=BODY)


def test_every_candidate_is_compared_even_after_a_match(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def counting(given: bytes, candidate: bytes) -> bool:
        compared.append(candidate)
        return given == candidate

    monkeypatch.setattr(hmac, "compare_digest", counting)
    _header(RIGHT, [SECRET, PREVIOUS])
    assert len(compared) == 4


def test_the_error_tells_nothing_of_what_would_have_been_right() -> None:
    with pytest.raises(SignatureError) as caught:
        _account("0" * 64, [SECRET])
    assert RIGHT not in str(caught.value)
    assert SECRET not in str(caught.value)


@given(st.none() | st.text())
def test_whatever_is_presented_the_answer_is_a_signature_error(presented: str | None) -> None:
    with pytest.raises(SignatureError):
        _header(presented, [SECRET])


@given(st.text(min_size=1), st.text(), st.integers(min_value=1), st.binary())
def test_any_secret_proves_what_it_has_signed(secret: str, client_id: str, account_id: int, body: bytes) -> None:
    signed = signature.url_signature(secret, client_id, account_id)
    signature.verify_account(signed, secrets=[secret], client_id=client_id, account_id=account_id)
    signature.verify_chat(signature.chat_signature(secret, body), secrets=[secret], body=body)


class TestTheSameWorkForEveryAccount:
    """How long a refusal takes must not tell whether an account is known, or whether its secret is being changed."""

    def hashed(self, monkeypatch: pytest.MonkeyPatch, secrets: list[str], *, header: bool) -> int:
        made: list[str] = []
        make = hmac.new
        monkeypatch.setattr(signature.hmac, "new", lambda *given: made.append("") or make(*given))
        with pytest.raises(SignatureError):
            (_header if header else _account)("0" * 64, secrets)
        monkeypatch.undo()
        return len(made)

    @pytest.mark.parametrize("header", [False, True])
    def test_none_one_or_two_secrets_are_as_many_hashes(self, monkeypatch: pytest.MonkeyPatch, header: bool) -> None:
        counts = [
            self.hashed(monkeypatch, secrets, header=header) for secrets in ([], [""], [SECRET], [SECRET, PREVIOUS])
        ]
        assert counts == [4 if header else 2] * 4

    @pytest.mark.parametrize("secrets", [[], [""], ["", ""]])
    def test_what_fills_up_never_proves(self, secrets: list[str]) -> None:
        forged = signature.url_signature("", CLIENT, ACCOUNT)
        with pytest.raises(SignatureError):
            _account(forged, secrets)
        with pytest.raises(SignatureError):
            _header(signature.body_signature("", BODY), secrets)
        with pytest.raises(SignatureError):
            signature.verify_chat(signature.chat_signature("", BODY), secrets=secrets, body=BODY)


@pytest.mark.parametrize("presented", [value for name, value in MALFORMED.items()], ids=list(MALFORMED))
def test_what_cannot_be_a_signature_is_refused_before_anything_is_looked_up(presented: str | None) -> None:
    with pytest.raises(SignatureError):
        signature.check_digest(presented)
    signature.check_digest("0" * 64)
