"""Moments on the command line: `2026-11-20T10:15`, `10m`, `2h ago`; in UTC, like the log lines."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_PART: Final = re.compile(r"([0-9]{1,9})\s*([smhdw])", re.ASCII)
_AGO: Final = re.compile(rf"(?:{_PART.pattern}\s*)+(?:ago)?", re.ASCII)


def moment(text: str, now: datetime) -> datetime:
    """Read a moment: `now`, ISO 8601 (UTC unless it names a zone), or how long ago, as `90s`, `1h30m` or `2d ago`.

    Raises ValueError with a sentence for whoever typed it.
    """
    given = text.strip()
    if given.lower() == "now":
        return now
    if _AGO.fullmatch(given.lower()):
        return _ago(given.lower(), now)
    try:
        read = datetime.fromisoformat(given)
    except ValueError:
        raise ValueError(
            f"{text[:60]!r} is no time: write 2026-11-20T10:15, or how long ago: 90s, 10m, 2h, 3d, 1w"
        ) from None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def milliseconds(at: datetime) -> int:
    """Give a moment in ms since 1970."""
    return (at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


def shown(at_ms: int) -> str:
    """Write a moment, given in ms since 1970, as a table shows it and `moment` reads it again."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ago(text: str, now: datetime) -> datetime:
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    try:
        return now - timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"{text[:60]!r} is longer ago than there are dates for") from None


class Moment(click.ParamType[int]):
    """The type of an option that takes a moment; gives it as ms since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read what was typed; a command's own default is a number already."""
        if isinstance(value, int):
            return value
        try:
            return milliseconds(moment(value, datetime.now(UTC)))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


def time_range(command: _F) -> _F:
    """Give a command `--since` and `--until`: `since_ms`, 0 unless given, and `until_ms`, None unless given."""
    since = click.option(
        "--since", "since_ms", type=Moment(), default=0, help="From then on: ISO time (UTC), or 10m, 2h ago."
    )
    until = click.option("--until", "until_ms", type=Moment(), help="Up to then (UTC).")
    return since(until(command))
