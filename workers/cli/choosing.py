"""Which dead letters a command is about: by id, or by what they have in common."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import click

from kommo.cli.moments import time_range
from kommo.errors import StoreError
from kommo.store.dead import DeadLetters, KeptLetter, LetterKey

_F = TypeVar("_F", bound=Callable[..., Any])
#: Letters that a sentence about an ambiguous id names.
_NAMED = 5


class NoSuchLetter(StoreError):
    """No dead letter is called so, or several are."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the letters have in common; the names are those of the options."""

    account: int | None = None
    handler: str | None = None
    reason: str | None = None
    kind: str | None = None
    since_ms: int = 0
    until_ms: int | None = None

    @property
    def is_made(self) -> bool:
        """Say whether anything was asked for."""
        return any(getattr(self, option.name) != option.default for option in fields(self))

    def letters(self, dead: DeadLetters) -> Iterator[KeptLetter]:
        """Give the letters that are meant, the newest first."""
        keys = dead.newest(account_id=self.account, since_ms=self.since_ms, until_ms=self.until_ms)
        return (kept for kept in dead.read(keys) if self._takes(kept))

    def _takes(self, kept: KeptLetter) -> bool:
        wanted = ((self.handler, kept.letter.handler), (self.reason, kept.letter.reason), (self.kind, kept.letter.kind))
        return all(asked in {None, found} for asked, found in wanted)


def choosing(command: _F) -> _F:
    """Give a command the options of a choice."""
    options = (
        click.option("--account", type=int, metavar="NUMBER", help="Of this account only."),
        click.option("--handler", metavar="NAME", help="Of this handler only."),
        click.option("--reason", metavar="NAME", help="With this reason only, e.g. attempts_exhausted."),
        click.option("--kind", type=click.Choice(["delivery", "step", "write"]), help="Of this kind only."),
        time_range,
    )
    for option in reversed(options):
        command = option(command)
    return command


def one_letter(dead: DeadLetters, name: str, account: int | None = None) -> LetterKey:
    """Find the letter of an id, or of how one begins; raises NoSuchLetter."""
    found: Sequence[LetterKey] = dead.find(name, account_id=account) if name else ()
    if not found:
        raise NoSuchLetter(f"there is no dead letter {name!r}: kommo dead list")
    if len(found) > 1:
        some = ", ".join(f"{key.id} (account {key.account_id})" for key in found[:_NAMED])
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise NoSuchLetter(f"{name!r} may be any of {some}{more}: give more of the id, or --account")
    return found[0]


def read_again(dead: DeadLetters, key: LetterKey) -> KeptLetter | None:
    """Read a letter as it is now; None when it is gone."""
    return next(dead.read([key]), None)
