"""Which loops are awake, which account is next, and whom to wake (see lua/loop_pick.lua and lua/_wake.lua)."""

from dataclasses import dataclass
from typing import Any, Final

from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.store.connection import is_partly_away, now_ms, translated
from kommo.store.keys import Keys
from kommo.store.scripts import Call, Scripts

#: A loop counts as awake for this long after it last looked for work, in ms. One that is busy in a slow handler
#: longer than this no longer counts, and new work wakes another.
AWAKE_MS: Final = 100


@dataclass(frozen=True, slots=True)
class Picked:
    """The account to work on, None when there is none and the loop now rests.

    `more` counts the other accounts that were due. When none was, `due_in_ms` says when the first one will be.
    """

    account_id: int | None
    more: int
    due_in_ms: int | None = None


class Loops:
    """The loops over one queue: `inbox`, `lanes` or `outbox`."""

    def __init__(self, queue: str, redis: Redis, keys: Keys) -> None:
        self.queue = queue
        self._redis = redis
        self._keys = keys
        self._scripts = Scripts(redis)

    def pick(self, shard: int, loop: str, *, first: bool, hold_ms: int = 0) -> Picked:
        """Choose the account that has waited longest, and keep it from other loops for `hold_ms`.

        With its `first` pick a loop answers the wake-up that was sent for it. In a shard on a node of a Cluster that is
        away there is nothing to pick, as long as other nodes are there.
        """
        keys = self._keys.queue(self.queue, shard)
        call = Call("loop_pick", [keys.ready, keys.awake, keys.flag], [loop, AWAKE_MS, int(first), hold_ms])
        try:
            account, more = self._scripts.run(call)
        except StoreUnavailable:
            if is_partly_away(self._redis):
                return Picked(None, 0)
            raise
        if account:
            return Picked(int(account), int(more))
        return Picked(None, 0, None if int(more) < 0 else int(more))

    def want_sibling(self, shard: int, *, at_most: int) -> bool:
        """Say whether to wake one more loop: below `at_most`, and not while another one is on its way."""
        keys = self._keys.queue(self.queue, shard)
        return bool(self._scripts.run(Call("loop_sibling", [keys.awake, keys.flag], [at_most])))

    def overdue(self, shard: int, *, by_ms: int) -> bool:
        """Say whether an account has been due for so long that nobody seems to come.

        None is where nobody can come: in a shard on a node of a Cluster that is away, while others are there.
        """
        ready = self._keys.queue(self.queue, shard).ready
        try:
            with translated():
                late = now_ms(self._redis, beside=ready) - by_ms
                number: Any = self._redis.zcount(ready, "-inf", late)
        except StoreUnavailable:
            if is_partly_away(self._redis):
                return False
            raise
        return int(number) > 0
