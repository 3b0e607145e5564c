"""Gaps: stretches of time from which an account's deliveries may be missing, and up to where they are filled."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis

from kommo.errors import StoreError
from kommo.store.connection import translated
from kommo.store.keys import Keys
from kommo.store.scripts import Call, Scripts

#: ms for which a gap stays with the process that fills it, unless that says that it goes on. After a death the next
#: one waits as long.
LEASE_MS: Final = 180_000
_FILLED: Final = 2


class TakenOver(StoreError):
    """A gap is another process's by now, since the lease of this one has ended; or it was forgotten."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap as it is known: all times are unix seconds, `until` is None while it goes on."""

    since: int
    until: int | None
    #: Up to where it is filled.
    position: int
    why: str


@dataclass(frozen=True, slots=True)
class Filling:
    """A gap that this process fills, under its token."""

    account_id: int
    token: str
    gap: Gap


class Gaps:
    """The gap of each account: there is one at most, two that are noticed become one."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._scripts = Scripts(redis)

    def open(self, account_id: int, *, since: int, until: int | None, why: str) -> bool:
        """Note a gap; True when there was none. One that begins earlier lets the filling begin again from there."""
        return bool(self._scripts.run(Call("gap_open", [self._key(account_id)], [since, until or 0, why])))

    def shut(self, account_id: int, *, until: int) -> bool:
        """Say when a gap that went on has ended; False when there is none that does."""
        return bool(self._scripts.run(Call("gap_shut", [self._key(account_id)], [until])))

    def get(self, account_id: int) -> Gap | None:
        """Read an account's gap; None when nothing is missing."""
        with translated():
            read: Any = self._redis.hmget(self._key(account_id), ["since", "until", "position", "why"])
        return _gap(read) if read[0] else None

    def take(self, account_id: int, token: str, *, lease_ms: int = LEASE_MS) -> Filling | None:
        """Begin to fill a gap; None when there is none, or another process fills it."""
        read = self._scripts.run(Call("gap_take", [self._key(account_id)], [token, lease_ms]))
        return Filling(account_id, token, _gap(read)) if read else None

    def advance(self, filling: Filling, position: int, *, lease_ms: int = LEASE_MS) -> Filling | None:
        """Note up to where it is filled and go on; None when all is.

        Raises:
            TakenOver: this process is not the one that fills it any more; nothing was noted.
        """
        was = filling.gap
        args: list[str | int | bytes] = [filling.token, was.position, position, lease_ms]
        outcome, until, at = self._scripts.run(Call("gap_advance", [self._key(filling.account_id)], args))
        if not int(outcome):
            raise _taken_over(filling)
        if int(outcome) == _FILLED:
            return None
        return Filling(filling.account_id, filling.token, Gap(was.since, int(until) or None, int(at), was.why))

    def renew(self, filling: Filling, *, lease_ms: int = LEASE_MS) -> None:
        """Keep a gap while its filling takes long; raises TakenOver."""
        if not self._scripts.run(Call("gap_renew", [self._key(filling.account_id)], [filling.token, lease_ms])):
            raise _taken_over(filling)

    def release(self, filling: Filling) -> None:
        """Let go of a gap, wherever its filling has come to, for any process to go on."""
        with suppress(TakenOver):
            self.advance(filling, filling.gap.position, lease_ms=0)

    def forget(self, account_id: int) -> None:
        """Drop what is known of an account's gap."""
        with translated():
            self._redis.delete(self._key(account_id))

    def _key(self, account_id: int) -> str:
        return self._keys.of_account(account_id, "webhook", "gap")


def _taken_over(filling: Filling) -> TakenOver:
    return TakenOver(f"the gap of account {filling.account_id} is filled by another process, or was forgotten")


def _gap(read: Any) -> Gap:
    since, until, position, why = read[:4]
    return Gap(int(since), int(until) or None, int(position), why.decode())
