"""The command line for dead letters: `kommo dead`."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import click

from kommo import log
from kommo.cli.desk import Desk, opened, settings_of_environment
from kommo.cli.screen import console, echo_json
from kommo.errors import HandlersError
from kommo.store.dead import DeadLetters, KeptLetter, LetterKey
from kommo.store.fleet import Fleet
from kommo.store.inbox import Inbox
from kommo.store.returns import Returns
from workers.cli.choosing import Choice, choosing, one_letter, read_again
from workers.cli.hints import hints
from workers.cli.letters import add_row, described, in_full, new_table, printable, summary, weighed
from workers.retrying import CannotRetry, Retrying

_yes = click.option("--yes", is_flag=True, help="Do not ask.")
_all = click.option("--all", "everything", is_flag=True, help="All there are, where nothing else is asked for.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_ids = click.argument("ids", nargs=-1, metavar="[ID]...")


@click.group()
def dead() -> None:
    """What was given up: list, show, retry, drop.

    An id may be shortened as long as it is the only one that begins so. Dead letters are never dropped by themselves.
    """
    log.configure(level="WARNING")


@dead.command(name="list")
@choosing
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Show so many at most.")
@_json
def list_(*, limit: int, as_json: bool, **asked: Any) -> None:
    """List dead letters, the newest first; with --json one object a line."""
    with _post() as post:
        found = _letters(post, Choice(**asked))
        if as_json:
            for kept in islice(found, limit):
                echo_json(summary(kept))
            return
        letters = list(islice(found, limit + 1))
        weight = post.dead.weight(post.inbox.accounts())
    if letters:
        table = new_table()
        for kept in letters[:limit]:
            add_row(table, kept)
        console().print(table)
    if len(letters) > limit:
        click.echo(f"There are more than these {limit}: --limit, or ask for less.")
    elif not letters and weight.letters:
        click.echo("None of the dead letters is like that.")
    click.echo(weighed(weight))


@dead.command()
@click.argument("id_", metavar="ID")
@click.option("--account", type=int, metavar="NUMBER", help="Where two accounts have the same id.")
@_json
def show(id_: str, *, account: int | None, as_json: bool) -> None:
    """Show all there is of one: reason, error, traceback, event, bytes, call, and what to do."""
    with _post() as post:
        kept = post.letter(one_letter(post.dead, id_, account))
    if as_json:
        echo_json(in_full(kept))
        return
    for line in described(kept):
        click.echo(line)


@dead.command()
@_ids
@choosing
@_all
@click.option("--force", is_flag=True, help="Also what seems to be in vain, or might be done twice.")
@_yes
def retry(*, ids: Sequence[str], everything: bool, force: bool, yes: bool, **asked: Any) -> None:
    """Put dead letters back to where they were given up, the oldest first; each goes behind what waits there.

    Only the handler that failed runs again. Exit status 1 if one of them could not go back.
    """
    with _post() as post:
        keys = _chosen(post, ids, Choice(**asked), everything=everything)
        if not yes and not ids:
            _confirm("Retry", post, keys)
        with hints(post.desk.settings) as waker:
            retrying = Retrying(post.inbox, post.desk.outbox, post.fleet, post.returns, waker.wake)
            _report("Put back", _each(post, keys, partial(retrying.retry, force=force)), len(keys))


@dead.command()
@_ids
@choosing
@_all
@_yes
def drop(*, ids: Sequence[str], everything: bool, yes: bool, **asked: Any) -> None:
    """Drop dead letters for good."""
    with _post() as post:
        keys = _chosen(post, ids, Choice(**asked), everything=everything)
        if not yes:
            _confirm("Drop for good", post, keys)
        _report("Dropped", _each(post, keys, post.returns.drop), len(keys))


@dataclass(frozen=True)
class _Post:
    """The parts that the commands work with."""

    desk: Desk
    dead: DeadLetters
    inbox: Inbox
    fleet: Fleet
    returns: Returns

    def letter(self, key: LetterKey) -> KeptLetter:
        """Read a letter that was there a moment ago."""
        kept = read_again(self.dead, key)
        if kept is None:
            raise click.ClickException(f"{key.id} is gone: somebody has retried or dropped it.")
        return kept


@contextmanager
def _post() -> Iterator[_Post]:
    with opened(settings_of_environment(need=["REDIS_URL"])) as desk:
        fleet = Fleet(desk.redis)
        fleet.check_shards(desk.settings.shards)
        parts = DeadLetters(desk.redis, desk.keys), Inbox(desk.redis, desk.keys), fleet, Returns(desk.redis, desk.keys)
        yield _Post(desk, *parts)


def _chosen(post: _Post, ids: Sequence[str], choice: Choice, *, everything: bool) -> Sequence[LetterKey]:
    """Find the letters that are meant, the oldest first."""
    if ids:
        return [one_letter(post.dead, id_, choice.account) for id_ in dict.fromkeys(ids)]
    if not choice.is_made and not everything:
        raise click.UsageError("Say which: an id, --handler, --reason, --kind, --account, --since, --until, or --all.")
    return sorted(kept.key for kept in _letters(post, choice))


def _letters(post: _Post, choice: Choice) -> Iterator[KeptLetter]:
    """Give the letters that are meant, the newest first; raises HandlersError for a handler that never was."""
    found = False
    for kept in choice.letters(post.dead):
        found = True
        yield kept
    name = choice.handler
    if found or name is None or post.fleet.handler_unseen_ms(name) is not None:
        return
    if next(Choice(handler=name).letters(post.dead), None) is None:
        raise HandlersError(f"no dead letter is of a handler {name}, and no worker ever knew one: kommo dead list")


def _confirm(what: str, post: _Post, keys: Sequence[LetterKey]) -> None:
    if not keys:
        return
    by = Counter(f"{kept.letter.handler or kept.letter.kind}: {kept.letter.reason}" for kept in post.dead.read(keys))
    for name, number in by.most_common():
        click.echo(f"{number:>7}  {printable(name)}")
    click.confirm(f"{what}: {len(keys)} dead letter{'s' if len(keys) > 1 else ''}?", abort=True)


def _each(post: _Post, keys: Sequence[LetterKey], act: Callable[[KeptLetter], bool]) -> Iterator[tuple[LetterKey, str]]:
    """Do something with each letter; give those with which it was done, or why not."""
    for key in keys:
        kept = read_again(post.dead, key)
        try:
            done = kept is not None and act(kept)
        except CannotRetry as error:
            yield key, str(error)
        else:
            yield key, "" if done else "gone or given up anew meanwhile: nothing was done"


def _report(done: str, ended: Iterator[tuple[LetterKey, str]], number: int) -> None:
    """Tell of each letter that stayed, and how many did not."""
    failed = 0
    for key, problem in ended:
        if problem:
            failed += 1
            click.echo(f"{printable(key.id)}: {printable(problem)}", err=True)
    click.echo(f"{done}: {number - failed} of {number}.")
    if failed:
        raise SystemExit(1)
