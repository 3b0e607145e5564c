"""The accounts: whose secret proves a delivery, and with which token and address Kommo is called.

Those that are stored lie in Redis, encrypted (see account_store.lua). The account of the environment is never stored.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from redis import Redis

from kommo.errors import SettingsError, StoreError, StoreUnavailable
from kommo.settings import Settings
from kommo.store.account import Account, State
from kommo.store.breaker import Breaker
from kommo.store.connection import translated
from kommo.store.keys import Keys
from kommo.store.limiter import Scope
from kommo.store.proofs import Noticed, Proof, Proofs
from kommo.store.renewals import Renewals, pause_key
from kommo.store.scripts import Call, Scripts
from kommo.store.vault import Vault
from kommo.variables import Secret

__all__ = ["Account", "Accounts", "Credentials", "Proof", "State"]

#: Seconds for which a change waits until a renewal has ended; a renewal's lease is shorter.
PATIENCE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.2
#: Seconds between two warnings about the same account, and between two about an integration whose keys are refused.
_REMIND_SECONDS: Final = 24 * 3600
_REMIND_OF_CLIENT_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class Credentials:
    """With what an account's API is called."""

    account_id: int
    client_id: str
    #: The account's name at Kommo, or its full host.
    subdomain: str
    token: Secret = field(repr=False)
    #: Unix seconds, 0 when not known.
    expires_at: int = 0
    state: State = "ready"


class Accounts:
    """The accounts that this process may serve: those that are stored, and those of the environment.

    An integration proves deliveries of any account that installed it; it calls those that it has a token for. Without
    a Redis there is only the environment. Every method may raise StoreUnavailable, and SettingsError when a record
    cannot be opened with the keys of KOMMO_TOKEN_KEYS; the exceptions say so.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis | None = None,
        keys: Keys | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        breaker: Breaker | None = None,
        noticed: Noticed | None = None,
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._keys = keys or Keys(settings.shards)
        self._vault = Vault(settings.token_keys)
        self._clock = clock
        self._sleep = sleep
        self._proofs = Proofs(self._stored_proof, clock=clock, breaker=breaker, noticed=noticed)

    # What everybody asks

    def proof(self, account_id: int) -> Proof:
        """Give what a delivery of this account has to be proven with, from memory for some seconds.

        A change made elsewhere is seen within 5 s. While Redis is away, what was known last goes on being used.

        Raises:
            StoreUnavailable: nothing is known here, and Redis is away or the record cannot be opened.
        """
        if self._redis is None:
            return self._own_proof()
        try:
            return self._proofs.of(account_id) or self._own_proof()
        except StoreUnavailable:
            if account_id == self._settings.account_id or not self._settings.token_keys:
                return self._own_proof()
            raise

    def remembers_proof(self, account_id: int) -> bool:
        """Say whether `proof` answers without asking Redis."""
        return self._redis is None or self._proofs.remembers(account_id)

    def credentials(self, account_id: int) -> Credentials | None:
        """Give what the account's API is called with; None when there is no token for it."""
        account = self.get(account_id)
        if account is None:
            own = self.environment()
            return own if own and own.account_id == account_id else None
        return self._credentials(account) if account.access_token else None

    def environment(self) -> Credentials | None:
        """Give the account of the environment, if it names one with a token."""
        settings = self._settings
        if settings.account_id is None or not settings.access_token:
            return None
        return Credentials(settings.account_id, settings.client_id, settings.subdomain, settings.access_token)

    def scopes(self, credentials: Credentials) -> tuple[Scope, ...]:
        """Name the limits that a call to this account counts in."""
        limits, settings = self._settings.rate_limits, self._settings
        return (
            Scope(f"integration:{credentials.client_id}:{credentials.account_id}", limits["integration"]),
            Scope(f"account:{credentials.account_id}", limits["account"]),
            Scope(f"ip:{settings.egress}", limits["ip"]),
        )

    def resolved(self, account: Account) -> Account:
        """Fill in what a stored account leaves to the environment: client id, secret, redirect."""
        settings = self._settings
        client_id = account.client_id or settings.client_id
        inherited = settings.client_secret if client_id == settings.client_id else Secret()
        return replace(
            account,
            client_id=client_id,
            client_secret=account.client_secret or inherited,
            redirect_uri=account.redirect_uri or settings.redirect,
        )

    # What is stored

    def get(self, account_id: int) -> Account | None:
        """Read a stored account."""
        if self._redis is None:
            return None
        with translated():
            record: Any = self._redis.hgetall(self._keys.account(account_id).record)
        return self._opened(account_id, record) if b"sealed" in record else None

    def ids(self) -> Sequence[int]:
        """Name the stored accounts, in order."""
        if self._redis is None:
            return []
        found: list[int] = []
        with translated():
            for shard in range(self._keys.shards):
                members: Any = self._redis.smembers(self._keys.known_accounts(shard))
                found += map(int, members)
        return sorted(found)

    def list(self) -> Sequence[Account]:
        """Read all stored accounts, in the order of their numbers."""
        return [account for account_id in self.ids() if (account := self.get(account_id))]

    def save(self, account: Account) -> Account:
        """Store an account anew, whatever was there: a token that a person has given."""
        return replace(account, version=self._store(account))

    def install(self, account: Account) -> Account | None:
        """Store an installation; None when this one, by its `installed_at`, or a later one is stored already.

        So it may be repeated: the pair that came with it has been renewed meanwhile, and would be a spent one.
        """
        version = self._store(account, leave_newer=True)
        return replace(account, version=version) if version else None

    def update(self, account: Account, *, lock: str = "") -> Account | None:
        """Store a changed account in place of the version that it was read as; None when that has moved on.

        Waits while somebody else renews its tokens; `lock` is the token of the renewal that this belongs to.

        Raises:
            StoreError: the renewal does not come to an end.
        """
        ends = self._clock() + PATIENCE_SECONDS
        while (version := self._store(account, version=str(account.version), lock=lock)) < 0:
            if self._clock() >= ends:
                raise StoreError(f"the tokens of account {account.account_id} are being renewed; try again in a minute")
            self._sleep(_POLL_SECONDS)
        return replace(account, version=version) if version else None

    def reseal(self, account_id: int) -> bool:
        """Encrypt an account anew with the newest key; False when it is not stored."""
        while account := self.get(account_id):
            if self.update(account):
                return True
        return False

    def remove(self, account_id: int) -> bool:
        """Forget a stored account, its secrets and tokens with it; True when it was there."""
        redis, keys = self._reachable(), self._keys.account(account_id)
        with translated():
            pipe = redis.pipeline(transaction=True)
            pipe.delete(keys.record)
            pipe.delete(keys.lock, pause_key(self._keys, account_id), self._reminder(account_id))
            pipe.srem(keys.known, account_id)
            removed: Any = pipe.execute()
        self._proofs.forget(account_id)
        return bool(removed[0])

    def mark(self, account_id: int, state: State, reason: str = "", *, version: int | None = None) -> bool:
        """Change the state of a stored account; True when it is another one now.

        `disconnected` forgets the tokens too. With `version`, nothing changes once that has moved on.
        """
        if state == "disconnected":
            return self._disconnect(account_id, reason, version)
        expected = "" if version is None else str(version)
        call = Call("account_mark", [self._keys.account(account_id).record], [state, reason, expected])
        return bool(self._scripts.run(call))

    def remind(self, account_id: int) -> bool:
        """Say whether a person is to be warned about an account now: once a day."""
        with translated():
            return bool(self._reachable().set(self._reminder(account_id), 1, nx=True, ex=_REMIND_SECONDS))

    def remind_of_client(self, client_id: str) -> bool:
        """Say whether it is to be told now that Kommo refuses an integration's keys: once an hour."""
        key = self._keys.of_shard(0, "client", "warned", client_id)
        with translated():
            return bool(self._reachable().set(key, 1, nx=True, ex=_REMIND_OF_CLIENT_SECONDS))

    @property
    def renewals(self) -> Renewals:
        """The locks of renewals; raises StoreError when there is no Redis."""
        return Renewals(self._reachable(), self._keys)

    # Inside

    @property
    def _scripts(self) -> Scripts:
        return Scripts(self._reachable())

    def _reachable(self) -> Redis:
        if self._redis is None:
            raise StoreError("there is no Redis to store accounts in")
        return self._redis

    def _store(self, account: Account, *, version: str = "", lock: str = "", leave_newer: bool = False) -> int:
        keys, sealed = self._keys.account(account.account_id), self._vault.seal(account.to_bytes())
        args: list[str | int | bytes] = [account.account_id, sealed, account.state, account.reason, version, lock]
        args += [account.installed_at, int(leave_newer)]
        names = [keys.record, keys.lock, keys.known, pause_key(self._keys, account.account_id)]
        stored = int(self._scripts.run(Call("account_store", names, args)))
        self._proofs.forget(account.account_id)
        return stored

    def _opened(self, account_id: int, record: dict[bytes, bytes]) -> Account:
        inside = self._vault.unseal(record[b"sealed"], of=f"account {account_id}")
        account = Account.from_bytes(
            inside,
            state=record[b"state"].decode(),
            reason=record[b"reason"].decode(),
            version=int(record[b"version"]),
            tried_at=int(record.get(b"tried", 0)),
        )
        # Sealed is not bound to its key: somebody who can write to Redis may have put it elsewhere.
        if account.account_id != account_id:
            raise SettingsError(
                [f"what is stored as account {account_id} is another account: remove it and add it anew"]
            )
        return account

    def _credentials(self, account: Account) -> Credentials:
        client_id = account.client_id or self._settings.client_id
        return Credentials(
            account.account_id, client_id, account.subdomain, account.access_token, account.expires_at, account.state
        )

    def _disconnect(self, account_id: int, reason: str, version: int | None) -> bool:
        nothing = Secret()
        while account := self.get(account_id):
            if account.state == "disconnected" or version not in {None, account.version}:
                return False
            gone = replace(
                account, access_token=nothing, refresh_token=nothing, expires_at=0, refresh_expires_at=0,
                state="disconnected", reason=reason,
            )  # fmt: skip
            if self.update(gone):
                return True
        return False

    def _own_proof(self) -> Proof:
        return Proof(self._settings.client_id, self._settings.client_secrets)

    def _stored_proof(self, account_id: int) -> Proof | None:
        account = self.get(account_id)
        if account is None:
            return None
        client_id = account.client_id or self._settings.client_id
        if not account.client_secret:
            inherited = self._settings.client_secrets if client_id == self._settings.client_id else ()
            return Proof(client_id, inherited)
        return Proof(client_id, tuple(filter(None, (account.client_secret, account.previous_secret))))

    def _reminder(self, account_id: int) -> str:
        return self._keys.of_account(account_id, "account", "warned")
