"""Say of webhooks what a person has to know: in the table of accounts, and as reasons of a degraded receiver."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from redis import Redis

from kommo.store.answers import RULE_ANSWERS, Answers, Standing
from kommo.store.gaps import Gap, Gaps
from kommo.store.keys import Keys
from kommo.store.watch import OFF, Watch, Watched

#: Bad answers from which Kommo's rule is near.
NEAR: Final = RULE_ANSWERS // 2
#: Accounts whose bad answers are told one by one.
_TOLD: Final = 5


def column(redis: Redis, keys: Keys, account_id: int) -> str:
    """Say how an account's webhook stands, for `kommo accounts list`."""
    gap = Gaps(redis, keys).get(account_id)
    said = state_said(Watch(redis, keys).get(account_id))
    return f"{said}; {gap_said(gap)}" if gap else said


def state_said(watched: Watched | None) -> str:
    """Say a state in a few words."""
    if watched is None:
        return "not looked at yet"
    if watched.state == "on":
        return f"on, without {', '.join(watched.lacking)}" if watched.lacking else "on"
    if watched.state == "unseen":
        return f"cannot be asked for: {watched.reason}"
    if watched.state == "missing" and not watched.good_at:
        return "not registered"
    what = "switched off by Kommo" if watched.state == "disabled" else "gone"
    return f"{what} since {_moment(watched.since)}"


def gap_said(gap: Gap) -> str:
    """Say a gap that is being filled."""
    until = "now" if gap.until is None else _moment(gap.until)
    return f"backfill from {_moment(gap.since)} to {until}, done to {_moment(gap.position)}"


def reasons(redis: Redis, keys: Keys) -> list[str]:
    """Say what is wrong with webhooks: those that are off, and bad answers that come near to Kommo's rule."""
    return [*_off(Watch(redis, keys).all()), *_near(Answers(redis).standings())]


def _off(watched: Mapping[int, Watched]) -> list[str]:
    """Count the webhooks that are off. Anybody may read a reason, so it names no account."""
    off = Counter(
        one.state for one in watched.values() if one.state in OFF and (one.good_at or one.state == "disabled")
    )
    said = {"disabled": "Kommo has switched off: a person has to enable it there", "missing": "is gone from Kommo"}
    return [f"webhooks: {number} {said[state]} (kommo accounts list names it)" for state, number in off.items()]


def _near(standings: Mapping[int, Standing]) -> list[str]:
    near = [one for one in standings.values() if one.bad >= NEAR and one.latest_is_bad]
    return [_rule_said(one) for one in sorted(near, key=lambda one: -one.bad)[:_TOLD]]


def _rule_said(standing: Standing) -> str:
    shown = ", ".join(f"{number} x {status}" for status, number in sorted(standing.by_status.items()))
    return (
        f"{standing.bad} bad answers to an account's deliveries within 2 h ({shown}): after more than {RULE_ANSWERS} "
        "Kommo may switch the webhook off"
    )


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
