"""Encrypt what must not lie readable in Redis: secrets and tokens of accounts.

Fernet (https://cryptography.io/en/latest/fernet/): whoever can read Redis learns nothing, and whoever can write to it
can make nothing that would be taken for ours.
"""

from collections.abc import Sequence
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from kommo.errors import SettingsError
from kommo.variables import Secret

_NO_KEYS: Final = (
    "KOMMO_TOKEN_KEYS is not set: secrets and tokens are stored encrypted or not at all. Make a key with "
    "`kommo accounts key`, keep a copy in a safe place, and give it to every process"
)


def new_key() -> Secret:
    """Make a key for KOMMO_TOKEN_KEYS."""
    return Secret(Fernet.generate_key().decode())


class Vault:
    """Seals with the newest key, opens with any of them."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None

    def seal(self, plain: bytes) -> bytes:
        """Encrypt; raises SettingsError when there is no key."""
        return self._open_for_use().encrypt(plain)

    def unseal(self, sealed: bytes, *, of: str) -> bytes:
        """Decrypt; `of` says whose it is, for the sentence of the SettingsError when no key opens it."""
        try:
            return self._open_for_use().decrypt(sealed)
        except InvalidToken:
            raise _no_key_opens(of) from None

    def reseal(self, sealed: bytes, *, of: str) -> bytes:
        """Encrypt anew with the newest key; raises SettingsError when no key opens it."""
        try:
            return self._open_for_use().rotate(sealed)
        except InvalidToken:
            raise _no_key_opens(of) from None

    def _open_for_use(self) -> MultiFernet:
        if self._fernet is None:
            raise SettingsError([_NO_KEYS])
        return self._fernet


def _no_key_opens(of: str) -> SettingsError:
    return SettingsError(
        [
            f"KOMMO_TOKEN_KEYS has no key that opens what is stored of {of}: put the key that it was stored with "
            "behind the newest one (KOMMO_TOKEN_KEYS=newest,older), or, if that key is lost, store it again with "
            "`kommo accounts add` or by installing again"
        ]
    )
