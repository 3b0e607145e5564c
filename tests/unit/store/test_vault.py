"""The vault: what is sealed, what opens it, and what the errors say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.errors import SettingsError
from kommo.settings import Settings
from kommo.store.vault import Vault, new_key

OLD, NEW, OTHER = new_key(), new_key(), new_key()


@given(st.binary(max_size=200))
def test_what_was_sealed_opens_again_and_does_not_show_itself(plain: bytes) -> None:
    sealed = Vault([NEW]).seal(plain)
    assert Vault([NEW]).unseal(sealed, of="account 7") == plain
    assert len(plain) < 8 or plain not in sealed


def test_an_older_key_opens_and_the_newest_seals() -> None:
    sealed = Vault([OLD]).seal(b"x")
    assert Vault([NEW, OLD]).unseal(sealed, of="account 7") == b"x"
    assert Vault([NEW]).unseal(Vault([NEW, OLD]).seal(b"y"), of="account 7") == b"y"


def test_sealing_anew_makes_the_older_key_needless() -> None:
    resealed = Vault([NEW, OLD]).reseal(Vault([OLD]).seal(b"x"), of="account 7")
    assert Vault([NEW]).unseal(resealed, of="account 7") == b"x"


@pytest.mark.parametrize("method", ["unseal", "reseal"])
@pytest.mark.parametrize("sealed", [Vault([OLD]).seal(b"x"), b"", b"not sealed at all"], ids=["other", "empty", "wild"])
def test_what_no_key_opens_names_the_variable_the_account_and_the_remedy(method: str, sealed: bytes) -> None:
    with pytest.raises(SettingsError) as caught:
        getattr(Vault([NEW, OTHER]), method)(sealed, of="account 7")
    said = str(caught.value)
    for part in ("KOMMO_TOKEN_KEYS", "account 7", "KOMMO_TOKEN_KEYS=newest,older", "kommo accounts add"):
        assert part in said
    assert NEW not in said


def test_without_a_key_nothing_is_stored_and_the_error_says_how_to_make_one() -> None:
    for use in (lambda: Vault([]).seal(b"x"), lambda: Vault([]).unseal(b"x", of="account 7")):
        with pytest.raises(SettingsError, match=r"KOMMO_TOKEN_KEYS is not set.*kommo accounts key"):
            use()


def test_a_new_key_is_one_that_the_settings_take() -> None:
    assert Settings.from_environ({"KOMMO_TOKEN_KEYS": f"{new_key()}, {new_key()}"}).token_keys
    assert new_key() != new_key()
