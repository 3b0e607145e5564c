"""How deliveries were answered: the bad answers of two hours, by the minute, and since when nobody answers at all.

Kommo switches a webhook off after more than a hundred bad answers in two hours when the latest is bad too.
https://developers.kommo.com/docs/webhooks-general
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis import Redis

from kommo.store.connection import now_ms, translated
from kommo.store.scripts import Call, Scripts

#: Kommo's rule: so many bad answers in so many seconds.
RULE_ANSWERS: Final = 100
RULE_SECONDS: Final = 2 * 3600
#: Under this number stands what no known account's door has answered.
NO_ACCOUNT: Final = 0
#: What stands for the status of an answer that came after two seconds: Kommo has not waited for it.
SLOW: Final = "slow"
#: Seconds without a receiver that leave a gap: a refused connection is tried again for 20 minutes.
AWAY_SECONDS: Final = 20 * 60
#: How many such times are kept until somebody has looked.
_AWAY_KEPT: Final = 100
#: Seconds after which it is forgotten that there ever was a receiver.
_LIVED_SECONDS: Final = 90 * 86_400
_TAG: Final = "kommo:{answers}"
_LIVED: Final = f"{_TAG}:lived"
_AWAY: Final = f"{_TAG}:away"


@dataclass(slots=True)
class Tally:
    """What one process has answered since it last told: times are unix seconds, statuses text."""

    #: (minute, account, status) -> number.
    bad: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    #: When each account's latest good and bad answer was given.
    good_at: dict[int, float] = field(default_factory=dict)
    bad_at: dict[int, float] = field(default_factory=dict)

    def merge(self, other: "Tally") -> None:
        """Take up what another one, of the same process, has counted."""
        self.bad.update(other.bad)
        for mine, others in ((self.good_at, other.good_at), (self.bad_at, other.bad_at)):
            for account_id, at in others.items():
                mine[account_id] = max(at, mine.get(account_id, 0.0))

    def __bool__(self) -> bool:
        return bool(self.bad or self.good_at or self.bad_at)


@dataclass(frozen=True, slots=True)
class Standing:
    """How an account stands to Kommo's rule."""

    bad: int
    #: The same by status.
    by_status: Mapping[str, int]
    latest_is_bad: bool


class Answers:
    """The answers of all receivers on one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)

    def add(self, tally: Tally) -> None:
        """Add what a process has counted; what is older than the rule's time goes by itself."""
        minutes = {minute for minute, _, _ in tally.bad}
        with translated():
            pipe = self._redis.pipeline(transaction=True)
            for (minute, account_id, status), number in tally.bad.items():
                pipe.hincrby(_minute(minute), f"{account_id} {status}", number)
            for minute in minutes:
                pipe.expireat(_minute(minute), minute * 60 + 60 + RULE_SECONDS)
            for name, times in (("good", tally.good_at), ("bad", tally.bad_at)):
                if times:
                    pipe.zadd(f"{_TAG}:{name}", {str(account): at for account, at in times.items()}, gt=True)
                    pipe.expire(f"{_TAG}:{name}", 2 * RULE_SECONDS)
            pipe.execute()

    def standings(self) -> Mapping[int, Standing]:
        """Say how those accounts stand that had a bad answer in the rule's time; one look when there is none."""
        with translated():
            now = now_ms(self._redis, beside=f"{_TAG}:bad") // 1000
            bad: Any = self._redis.zrangebyscore(f"{_TAG}:bad", now - RULE_SECONDS, "+inf", withscores=True)
            if not bad:
                return {}
            accounts = {int(account): float(at) for account, at in bad}
            good: Any = self._redis.zmscore(f"{_TAG}:good", [str(account) for account in accounts])
        counted = self._counted(range((now - RULE_SECONDS) // 60 + 1, now // 60 + 1))
        return {
            account_id: Standing(
                sum(counted.get(account_id, {}).values()), counted.get(account_id, {}), at > (good_at or 0.0)
            )
            for (account_id, at), good_at in zip(accounts.items(), good, strict=True)
        }

    def _counted(self, minutes: Iterable[int]) -> dict[int, Counter[str]]:
        with translated():
            pipe = self._redis.pipeline(transaction=False)
            for minute in minutes:
                pipe.hgetall(_minute(minute))
            rows: Any = pipe.execute()
        counted: dict[int, Counter[str]] = {}
        for row in rows:
            for name, number in row.items():
                account, _, status = name.decode().partition(" ")
                counted.setdefault(int(account), Counter())[status] += int(number)
        return counted

    def lived(self, *, seconds: float) -> bool:
        """Say that this receiver could take deliveries for the last seconds; True when there was none before that.

        What Kommo has sent meanwhile, and has not repeated since, never came: `away` names the time.
        """
        args: list[str | int | bytes] = [int(seconds), AWAY_SECONDS, _AWAY_KEPT, _LIVED_SECONDS]
        return bool(self._scripts.run(Call("receiver_lived", [_LIVED, _AWAY], args)))

    def away(self) -> Sequence[tuple[int, int]]:
        """Give the times (unix seconds, from and until) without a receiver that nobody has seen to, oldest first."""
        with translated():
            rows: Any = self._redis.lrange(_AWAY, 0, -1)
        return [(int(since), int(until)) for since, until in (row.split() for row in rows)]

    def seen_to(self, away: tuple[int, int]) -> None:
        """Forget such a time."""
        with translated():
            self._redis.lrem(_AWAY, 1, "{} {}".format(*away))


def _minute(minute: int) -> str:
    return f"{_TAG}:minute:{minute}"
