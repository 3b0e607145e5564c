"""What slows a limit down and what stops it: the pauses Kommo asks for, its warnings, its blocks; and how it stands.

https://developers.kommo.com/docs/limitations
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.store.connection import now_ms, translated
from kommo.store.limiter import TAG, Scope, keys_of
from kommo.store.scripts import Call, Scripts

#: The longest pause after answers 429 that do not say how long, in ms.
LONGEST_BACKOFF_MS: Final = 60_000
#: How long a 429 is remembered by allowing one request a second fewer, in ms.
LESS_MS: Final = 600_000
#: How long a blocked scope is left alone before one careful call: at first, and at most, in ms.
FIRST_BLOCK_MS: Final = 5 * 60_000
LONGEST_BLOCK_MS: Final = 3600_000
#: How long one process has for the careful call, in ms: longer than a call may last.
PROBE_MS: Final = 60_000
_BLOCKS: Final = f"{TAG}:blocks"


@dataclass(frozen=True, slots=True)
class ScopeState:
    """How a limit stands: `allowed` requests a second now, of `limit`; taken and waited for; stopped for how long."""

    scope: Scope
    allowed: int
    taken: int
    waiting: int
    paused_seconds: float
    blocked: bool


class Brakes:
    """The pauses and blocks of all scopes."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)

    def slow(self, scopes: Sequence[Scope], *, after: float | None) -> None:
        """Pause the scopes for `after` seconds, or by the backoff, and allow fewer requests for ten minutes.

        Forgotten if Redis is away just now: no call is made then.
        """
        keys = [key for scope in scopes for key in keys_of(scope)[3:]]
        pause = 0 if after is None else max(1, int(after * 1000))
        args: list[str | int | bytes] = [pause, LONGEST_BACKOFF_MS, LESS_MS]
        args += [scope.per_second - 1 for scope in scopes]
        with suppress(StoreUnavailable):
            self._scripts.run(Call("limiter_slow", keys, args))

    def block(self, scope: Scope, account_id: int, *, after: float | None) -> None:
        """Stop a scope that Kommo has blocked, until a careful call for this account has worked."""
        least = int((after or 0) * 1000)
        args: list[str | int | bytes] = [scope.name, account_id, least, FIRST_BLOCK_MS, LONGEST_BLOCK_MS]
        with suppress(StoreUnavailable):
            self._scripts.run(Call("limiter_block", [_block_key(scope.name), _BLOCKS, keys_of(scope).pause], args))

    def probes_due(self, *, address: str) -> list[str]:
        """Name the scopes for which it is time for a careful call; other addresses have to ask for themselves."""
        with translated():
            due: Any = self._redis.zrange(_BLOCKS, "-inf", now_ms(self._redis, beside=_BLOCKS), byscore=True)
        names = [name.decode() for name in due]
        return [name for name in names if name == address or not name.startswith("ip:")]

    def claim_probe(self, *, address: str) -> tuple[str, int] | None:
        """Take over the careful call that is due, if there is one: the scope's name, and the account to call for.

        `address` is the scope of the address that this process calls from.
        """
        for scope in self.probes_due(address=address):
            account = self._scripts.run(Call("limiter_probe", [_block_key(scope), _BLOCKS], [scope, PROBE_MS]))
            if account:
                return scope, int(account)
        return None

    def release(self, scope_name: str) -> None:
        """Let a scope go on: the careful call has worked."""
        with translated():
            self._redis.delete(_block_key(scope_name), keys_of(Scope(scope_name, 1)).pause)
            self._redis.zrem(_BLOCKS, scope_name)

    def state(self, scope: Scope) -> ScopeState:
        """Say how a limit stands."""
        slots, queue, _, pause, less, _ = keys_of(scope)
        with translated():
            now = now_ms(self._redis, beside=slots)
            pipe = self._redis.pipeline(transaction=False)
            pipe.zcount(slots, f"({now}", "+inf")
            pipe.zcard(queue)
            pipe.get(pause)
            pipe.get(less)
            pipe.exists(_block_key(scope.name))
            taken, waiting, paused, fewer, blocked = pipe.execute()
        return ScopeState(
            scope=scope,
            allowed=max(1, scope.per_second - int(fewer or 0)),
            taken=taken,
            waiting=waiting,
            paused_seconds=max(0, int((paused or b"0").rstrip(b"!")) - now) / 1000,
            blocked=bool(blocked),
        )


def _block_key(scope_name: str) -> str:
    return f"{TAG}:block:{scope_name}"
