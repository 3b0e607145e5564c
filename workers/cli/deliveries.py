"""The command line for deliveries: `kommo deliveries`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final

import click

from kommo import log
from kommo.cli.desk import Desk, opened, settings_of_environment
from kommo.cli.moments import shown, time_range
from kommo.cli.screen import console, echo_json
from kommo.errors import HandlersError, StoreError
from kommo.router import Router
from kommo.settings import Settings
from kommo.store.fleet import Fleet
from kommo.store.inbox import PREFIX_CHARS, Entry
from workers.archive import Archive
from workers.cli.drawing import line_record, story_record, table_of, tree_of
from workers.cli.letters import printable
from workers.handlers import load

#: Deliveries that a list shows unless told otherwise.
_LIMIT: Final = 50
#: The ms at which an id was made are its first twelve digits.
_MADE_AT: Final = re.compile(r"[0-9a-f]{12}")
_account = click.option("--account", type=int, metavar="NUMBER", help="Of this account only.")
_as_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")


class NoSuchDelivery(StoreError):
    """No delivery is called so, or several are."""


@click.group()
def deliveries() -> None:
    """What came from Kommo, and what became of it.

    Deliveries are there as long as retention keeps them: KOMMO_RETENTION and KOMMO_RETENTION_BYTES.
    """
    log.configure(level="WARNING")


@deliveries.command(name="list")
@_account
@time_range
@click.option("--state", type=click.Choice(["waiting", "handled", "dead"]), help="In this state only.")
@click.option("--limit", type=click.IntRange(min=1), default=_LIMIT, show_default=True, help="At most so many.")
@_as_json
def list_(
    *, account: int | None, since_ms: int, until_ms: int | None, state: str | None, limit: int, as_json: bool
) -> None:
    """List deliveries, the newest first; with --json one object a line.

    A delivery is waiting until all its steps have ended, dead while it has a dead letter, and else handled.
    """
    with _desk() as desk:
        archive = Archive(desk.redis, desk.keys)
        accounts = archive.inbox.accounts() if account is None else [account]
        lines = archive.lines(archive.newest(accounts, since_ms=since_ms, until_ms=until_ms))
        found = islice((line for line in lines if state in {None, line.state}), limit)
        if as_json:
            for line in found:
                echo_json(line_record(line))
            return
        shown_lines = list(found)
    console().print(table_of(shown_lines) if shown_lines else "No deliveries.")


@deliveries.command()
@click.argument("delivery")
@_account
@click.option("--body", is_flag=True, help="With the bytes as they came: they may hold people's data.")
@_as_json
def show(*, delivery: str, account: int | None, body: bool, as_json: bool) -> None:
    """Tell the story of one delivery, by its id or at least 8 digits of its beginning.

    With KOMMO_HANDLERS set, it also says which handlers want an event, and that no handler does.
    """
    with _desk() as desk:
        archive = Archive(desk.redis, desk.keys, _router(desk.settings))
        entry = _one(archive, desk.settings, delivery.lower(), account)
        story = archive.story(entry)
    text = entry.delivery.body.decode("utf-8", "backslashreplace")
    if as_json:
        echo_json({**story_record(story), **({"body": text} if body else {})}, indent=2)
        return
    console().print(tree_of(story))
    if body:
        click.echo(printable(text))


@contextmanager
def _desk() -> Iterator[Desk]:
    settings = settings_of_environment(need=["REDIS_URL"])
    with opened(settings) as desk:
        Fleet(desk.redis).check_shards(settings.shards)
        yield desk


def _router(settings: Settings) -> Router | None:
    """Load the handlers; without them the story says less, and is still told."""
    if not settings.handlers:
        return None
    try:
        return load(settings.handlers)
    except HandlersError as error:
        click.echo(f"Which handlers want an event is not said: {error}", err=True)
        return None


def _one(archive: Archive, settings: Settings, name: str, account: int | None) -> Entry:
    """Find the delivery that is meant; raises NoSuchDelivery."""
    if len(name) < PREFIX_CHARS:
        raise click.BadParameter(f"at least {PREFIX_CHARS} digits of a delivery's id", param_hint="DELIVERY")
    found = archive.inbox.find(name, archive.inbox.accounts() if account is None else [account])
    if not found:
        raise NoSuchDelivery(_missing(settings, name))
    whole = [entry for entry in found if entry.delivery.id == name] or found
    if len(whole) > 1:
        some = ", ".join(f"{one.delivery.id} (account {one.delivery.account_id})" for one in whole[:5])
        raise NoSuchDelivery(f"{name!r} may be any of {len(whole)}: {some}: give more of the id, or --account")
    return whole[0]


def _missing(settings: Settings, name: str) -> str:
    made = _MADE_AT.match(name)
    when = f", which by its id came at {shown(int(made[0], 16))}" if made else ""
    return (
        f"there is no delivery {name!r}{when}: it was never stored, or retention has dropped it, which keeps handled "
        f"deliveries for {settings.retention / 86_400:g} days or {settings.retention_bytes / 1024**2:g} MB "
        "(KOMMO_RETENTION, KOMMO_RETENTION_BYTES)"
    )
