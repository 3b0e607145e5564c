"""Parked accounts: their writes are kept and wait, because a person has to pay, or to install anew."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from redis import Redis

from kommo.store.connection import now_ms, translated
from kommo.store.keys import Keys
from kommo.store.outbox import QUEUE
from kommo.store.scripts import Call, Scripts

#: `payment`: the subscription has ended (402). `token`: no token is accepted any more. `disconnected`: a person has
#: taken the integration out.
Reason = Literal["payment", "token", "disconnected"]
#: Seconds between two writes that try whether it is over.
EVERY_SECONDS: Final = {"payment": 3600.0, "token": 600.0, "disconnected": 3600.0}


@dataclass(frozen=True, slots=True)
class Parked:
    """Why an account is parked, and in how many seconds one call may try whether it still is."""

    reason: Reason
    seconds: float
    reads_refused: bool = False


class Parking:
    """Which accounts are parked."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._scripts = Scripts(redis)

    def park(self, account_id: int, reason: Reason, *, reads_refused: bool = False) -> bool:
        """Let the account's writes wait, and its reads too if they are refused; True when it was not parked before.

        Whatever is refused to a disconnected account, disconnected is what it is.
        """
        args: list[str | int | bytes] = [reason, int(EVERY_SECONDS[reason] * 1000), int(reads_refused)]
        return bool(self._scripts.run(Call("park_begin", [self._key(account_id)], args)))

    def admit(self, account_id: int, *, read: bool) -> Parked | bool:
        """Say how the account is parked, or True when it is not. False: it is, and this call is to try it."""
        outcome, *rest = self._scripts.run(Call("park_admit", [self._key(account_id)], [int(read)]))
        if outcome == 2:
            return Parked(rest[1].decode(), rest[0] / 1000)
        return bool(outcome == 0)

    def resume(self, account_id: int) -> bool:
        """Let the account go on; True when it was parked."""
        keys = [*self._keys.chains(QUEUE, account_id).all(), self._key(account_id)]
        return bool(self._scripts.run(Call("park_resume", keys, [account_id])))

    def try_next(self, account_id: int) -> None:
        """Let the next call try whether it is over: the one that was to could not."""
        self._scripts.run(Call("park_try", [self._key(account_id)], []))

    def allow_reads(self, account_id: int) -> None:
        """Let reads go on: one of them has worked."""
        with translated():
            self._redis.hdel(self._key(account_id), "reads")

    def state(self, account_id: int) -> Parked | None:
        """Say how the account is parked; None when it is not."""
        with translated():
            record: Any = self._redis.hgetall(self._key(account_id))
            if not record:
                return None
            left = max(0, int(record[b"until"]) - now_ms(self._redis, beside=self._key(account_id)))
        return Parked(record[b"reason"].decode(), left / 1000, reads_refused=record.get(b"reads") == b"1")

    def _key(self, account_id: int) -> str:
        return self._keys.of_account(account_id, "parked")
