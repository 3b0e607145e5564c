"""Renewals of tokens: which process does one now, and for how long nobody does, because the last came to nothing."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from redis import Redis

from kommo.store.account import Account
from kommo.store.connection import now_ms, translated
from kommo.store.keys import Keys
from kommo.store.scripts import Call, Scripts


class Lock(IntEnum):
    """What comes of asking for the lock of a renewal, as account_lock.lua answers."""

    HELD = 1
    #: Another process renews.
    BUSY = 0
    #: What was to be renewed is no longer what is stored.
    MOVED = -1
    #: The last renewal came to nothing, and the next one has to wait: `Renewals.pause`.
    PAUSED = -2


@dataclass(frozen=True, slots=True)
class Backoff:
    """For how many seconds nobody tries after a renewal that failed: `first`, twice as long with each, to `longest`."""

    first: float
    longest: float
    least: float = 0.0
    #: Why, when it is the fault of the client that asked; others may then try.
    fault: str = ""
    client: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """How the renewals of an account stand after those in a row that failed."""

    seconds: float
    failed: int
    fault: str


class Renewals:
    """The lock of each account's renewal, and the pause after those that failed."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._scripts = Scripts(redis)

    def lock(self, account: Account, token: str, *, lease_ms: int, client: str = "", hurry: bool = False) -> Lock:
        """Begin a renewal of the account as it was read, or go on with it for another lease.

        `client` marks with whose keys; `hurry` does not wait for the end of a pause.
        """
        keys = self._keys.account(account.account_id)
        args: list[str | int | bytes] = [token, lease_ms, account.version, client, int(hurry)]
        return Lock(
            self._scripts.run(Call("account_lock", [keys.record, keys.lock, self._key(account.account_id)], args))
        )

    def unlock(self, account_id: int, token: str, *, backoff: Backoff | None = None) -> None:
        """End a renewal; with `backoff` it has failed."""
        args: list[str | int | bytes] = [token]
        if backoff:
            waits = (backoff.first, backoff.longest, backoff.least)
            args += [*(int(seconds * 1000) for seconds in waits), backoff.fault, backoff.client]
        keys = [self._keys.account(account_id).lock, self._key(account_id)]
        self._scripts.run(Call("account_unlock", keys, args))

    def pause(self, account_id: int) -> Pause | None:
        """Say how the renewals stand; None when none has failed in the last hour, or the account is another since."""
        with translated():
            record: Any = self._redis.hgetall(self._key(account_id))
            if not record:
                return None
            left = max(0, int(record[b"until"]) - now_ms(self._redis, beside=self._key(account_id)))
        return Pause(left / 1000, int(record[b"failed"]), record[b"fault"].decode())

    def _key(self, account_id: int) -> str:
        return pause_key(self._keys, account_id)


def pause_key(keys: Keys, account_id: int) -> str:
    """Name the key of an account's pause."""
    return keys.of_account(account_id, "account", "pause")
