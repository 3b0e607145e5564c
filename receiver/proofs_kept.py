"""Know beside the spool which URLs prove an account, for a receiver that starts while Redis is away.

What lies on the disk are salted hashes of the signatures in the URLs of stored accounts: enough to recognise one, not
to make one. A proof in a header takes the secret itself, and has to wait until Redis is back; the account of the
environment needs none of this.
"""

import hashlib
import hmac
import json
import os
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from kommo.errors import KommoError, SettingsError, SignatureError, StoreError
from kommo.hooks.signature import url_signature
from kommo.store.accounts import Accounts
from kommo.store.proofs import Proof
from receiver.gate import exclusive

_log = structlog.get_logger(__name__)
#: Seconds between two writes of the file.
EVERY_SECONDS: Final = 3.0
_LOCK_SECONDS: Final = 2.0


class NothingKept(KommoError):
    """Redis is away, and nothing is known here of the account: it may be one that was stored since, or none at all."""


@dataclass(frozen=True, slots=True)
class _File:
    """What lies on the disk."""

    salt: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    #: Account -> hashes of the signatures that prove it.
    hashes: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def hashes_of(self, account_id: int, proof: Proof) -> tuple[str, ...]:
        signatures = (url_signature(secret, proof.client_id, account_id) for secret in proof.secrets)
        return tuple(self.hash(account_id, signature) for signature in signatures)

    def hash(self, account_id: int, signature: str) -> str:
        return hmac.new(self.salt, f"{account_id}|{signature}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def proves(self, account_id: int, presented: str) -> bool:
        given = self.hash(account_id, presented)
        matches = [hmac.compare_digest(given, known) for known in self.hashes[account_id]]
        return any(matches)

    def to_bytes(self) -> bytes:
        accounts = {str(account_id): hashes for account_id, hashes in sorted(self.hashes.items())}
        return json.dumps({"salt": self.salt.hex(), "accounts": accounts}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "_File":
        told = json.loads(data)
        return cls(bytes.fromhex(told["salt"]), {int(name): tuple(hashes) for name, hashes in told["accounts"].items()})


class KeptProofs:
    """The file of one folder, shared by all receivers of a computer; safe for threads."""

    def __init__(self, folder: Path, *, every: float = EVERY_SECONDS) -> None:
        self._folder = folder
        self._path = folder / "proofs.json"
        self._every = every
        self._lock = threading.Lock()
        self._known: dict[int, Proof] = {}
        self._changed: dict[int, Proof | None] = {}
        self._timer: threading.Timer | None = None
        self._written = -every
        #: What was read last, and of which file: any delivery may ask for it, and reading it anew takes a millisecond
        #: for a thousand accounts.
        self._last: tuple[tuple[int, ...], _File] | None = None

    def note(self, account_id: int, proof: Proof | None) -> None:
        """Remember what proves an account now, None if it is not stored any more; returns at once."""
        with self._lock:
            if self._known.get(account_id) == proof:
                return
            if proof is None:
                del self._known[account_id]
            else:
                self._known[account_id] = proof
            self._changed[account_id] = proof
            self._schedule()

    def learn(self, accounts: Accounts) -> None:
        """Note all stored accounts, from a thread: the first delivery of one may come when Redis is away."""
        threading.Thread(target=self._learn, args=(accounts,), name="proofs", daemon=True).start()

    def verify(self, account_id: int, presented: str) -> None:
        """Accept a signature that was known to prove an account when Redis was last there.

        Raises:
            SignatureError: others were known, and not this one.
            NothingKept: none was known.
        """
        found = self._newest()
        if account_id not in found.hashes:
            raise NothingKept(f"what proves account {account_id} is in Redis, and that is away")
        if not found.proves(account_id, presented):
            raise SignatureError("The signature is wrong")

    def write(self) -> None:
        """Write down what has changed. The file is another one then, never half of one."""
        with self._lock:
            changed, self._changed = self._changed, {}
            self._timer = None
            self._written = time.monotonic()
        try:
            self._merge(changed)
        except OSError as error:
            _log.warning("proofs not kept for when Redis is away", reason=str(error))
            with self._lock:
                self._changed = {**changed, **self._changed}
                self._schedule()

    def _learn(self, accounts: Accounts) -> None:
        try:
            stored = set(accounts.ids())
            for account_id in stored:
                accounts.proof(account_id)
        except (StoreError, SettingsError) as error:
            _log.warning("proofs not kept for when Redis is away", reason=str(error))
            return
        with self._lock:
            self._changed.update(dict.fromkeys(self._read().hashes.keys() - stored))
            self._schedule()

    def _schedule(self) -> None:
        if self._timer is None and self._changed:
            wait = max(0.0, self._written + self._every - time.monotonic())
            self._timer = threading.Timer(wait, self.write)
            self._timer.daemon = True
            self._timer.start()

    def _merge(self, changed: Mapping[int, Proof | None]) -> None:
        if not self._folder.is_dir():
            self._folder.mkdir(0o700, parents=True, exist_ok=True)
        with exclusive(self._folder / "proofs.lock", seconds=_LOCK_SECONDS):
            found = self._read()
            hashes = {one: known for one, known in found.hashes.items() if one not in changed}
            for account_id, proof in changed.items():
                if proof is not None:
                    hashes[account_id] = found.hashes_of(account_id, proof)
            if hashes != found.hashes:
                self._replace(_File(found.salt, hashes).to_bytes())

    def _replace(self, data: bytes) -> None:
        new = self._path.with_suffix(".new")
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(file)
        new.replace(self._path)

    def _newest(self) -> _File:
        """Give what the file holds; it is read when it is another one than before."""
        try:
            status = self._path.stat()
        except OSError:
            return _File()
        which = (status.st_ino, status.st_mtime_ns, status.st_size)
        last = self._last
        if last is None or last[0] != which:
            last = self._last = which, self._read()
        return last[1]

    def _read(self) -> _File:
        """Read the file; one that is not there, or that nobody can read, holds nothing."""
        try:
            return _File.from_bytes(self._path.read_bytes())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return _File()
