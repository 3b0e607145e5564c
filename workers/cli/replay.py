"""The command line for past deliveries: `kommo replay`."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import click

from kommo import log
from kommo.api.clients import Clients
from kommo.cli.desk import Desk, opened, settings_of_environment
from kommo.cli.moments import time_range
from kommo.errors import HandlersError, SettingsError, StoreError
from kommo.router import Router
from kommo.router.filters import checked_types
from kommo.store.connection import now_ms
from kommo.store.fleet import LIFE_MS, Fleet
from kommo.store.inbox import Inbox
from kommo.store.replays import Replays
from kommo.store.stories import Stories
from workers.cli.hints import hints
from workers.cli.rehearsal import Rehearsal
from workers.handlers import load
from workers.rehearsing import Reads
from workers.replaying import Asked, Count, Replaying, read_asked

_WARNING: Final = (
    "The handlers run here, in this process. No call of theirs that changes something reaches Kommo; whatever else "
    "they do, as writing to a database or calling another service, they do."
)


@click.command()
@click.argument("ids", nargs=-1, metavar="[DELIVERY]...")
@click.option("--account", type=int, metavar="NUMBER", help="Of this account only.")
@time_range
@click.option("--type", "types", multiple=True, metavar="NAME", help="Events of this type: lead.added, lead.*.")
@click.option("--handler", "handlers", multiple=True, metavar="NAME", help="For this handler only.")
@click.option("--dry-run", is_flag=True, help="Run the handlers here, and show the calls instead of sending them.")
@click.option("--with-reads", is_flag=True, help="In a dry run, let handlers read from Kommo, within its limits.")
@click.option("--resume", default="", metavar="REPLAY", help="Go on with a replay that was interrupted.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def replay(*, ids: Sequence[str], dry_run: bool, with_reads: bool, resume: str, yes: bool, **asked: Any) -> None:
    """Run handlers again on past deliveries, as long as retention keeps them.

    Which ones: ids, or a time; of them the events of --type, for --handler. The events are computed again from the
    bytes, and their steps go behind what already waits in their lanes.
    """
    log.configure(level="WARNING")
    if with_reads and not dry_run:
        raise click.UsageError("--with-reads is for --dry-run: in a replay the workers call Kommo as always.")
    with _parts() as parts:
        if resume:
            _no_other(ids, asked, dry_run=dry_run)
            _run(parts, resume, read_asked(parts.replaying.replays.asked(resume), resume))
            return
        wanted = _asked(parts, ids, **asked)
        if dry_run:
            click.echo(_WARNING, err=True)
            Rehearsal(parts.replaying, parts.reads if with_reads else None).perform(wanted)
        elif _is_wanted(parts, wanted, yes=yes):
            _run(parts, f"{datetime.now(UTC):%Y%m%d}-{uuid4().hex[:8]}", wanted)


@dataclass(frozen=True)
class _Parts:
    desk: Desk
    fleet: Fleet
    clients: Clients
    replaying: Replaying

    @property
    def router(self) -> Router:
        return self.replaying.router

    def reads(self, account_id: int) -> Reads:
        """Let handlers read from Kommo, in the row with all calls of the fleet."""

        def send(*call: Any) -> Any:
            method, path, params, json, headers = (*call, None)[:5]
            return self.clients.send(account_id, (method, path, params, json, headers))

        return Reads(send, self.clients.client(account_id).metadata)


@contextmanager
def _parts() -> Iterator[_Parts]:
    settings = settings_of_environment(need=["REDIS_URL"])
    router = load(settings.handlers)
    if not router.handlers:
        raise SettingsError(["KOMMO_HANDLERS names no handlers: there is nobody to replay for"])
    with opened(settings) as desk:
        redis, keys = desk.redis, desk.keys
        fleet = Fleet(redis)
        fleet.check_shards(settings.shards)
        clients = Clients(desk.accounts, desk.shared, settings.api_base, desk.transport)
        replaying = Replaying(Inbox(redis, keys), Stories(redis, keys), Replays(redis, keys), router)
        yield _Parts(desk, fleet, clients, replaying)


def _asked(
    parts: _Parts,
    ids: Sequence[str],
    *,
    account: int | None,
    since_ms: int,
    until_ms: int | None,
    types: Sequence[str],
    handlers: Sequence[str],
) -> Asked:
    if not ids and not since_ms and until_ms is None:
        raise click.UsageError("Say which deliveries: their ids, --since or --until.")
    if ids and (since_ms or until_ms is not None):
        raise click.UsageError("Say which deliveries by their ids or by a time, not both.")
    for name in handlers:
        if name not in parts.router.handlers:
            raise HandlersError(f"there is no handler {name}; there are: {', '.join(parts.router.handlers)}")
    inbox = parts.replaying.inbox
    accounts = inbox.accounts() if account is None else [account]
    return Asked(
        accounts=accounts,
        deliveries=[_delivery(inbox, name, accounts) for name in ids],
        since_ms=since_ms,
        until_ms=now_ms(parts.desk.redis) if until_ms is None else until_ms,
        types=checked_types(types) if types else (),
        handlers=handlers,
    )


def _delivery(inbox: Inbox, name: str, accounts: Sequence[int]) -> str:
    found = {entry.delivery.id for entry in inbox.find(name, accounts)}
    if name in found:
        return name
    if len(found) != 1:
        what = "several deliveries begin" if found else "no delivery that retention has kept begins"
        raise StoreError(f"{what} with {name}: kommo deliveries list")
    return found.pop()


def _no_other(ids: Sequence[str], asked: dict[str, Any], *, dry_run: bool) -> None:
    if ids or dry_run or any(asked.values()):
        raise click.UsageError("--resume goes on with what was asked for at first; it takes no other options.")


def _is_wanted(parts: _Parts, asked: Asked, *, yes: bool) -> bool:
    """Show what would be done, and ask."""
    count = parts.replaying.plan(asked)
    for line in _told(count):
        click.echo(line)
    if not count.steps:
        click.echo("Nothing to do.")
        return False
    for name in count.steps:
        unseen = parts.fleet.handler_unseen_ms(name)
        if unseen is None or unseen > LIFE_MS:
            click.echo(f"No living worker knows the handler {name}: its steps will wait for one.", err=True)
    return yes or click.confirm("Replay?", abort=True)


def _told(count: Count) -> Iterator[str]:
    yield f"{count.deliveries} deliveries, {count.events} events that a handler wants:"
    for name, number in count.steps.most_common():
        yield f"{number:>7}  {name}"
    if count.unreadable:
        yield f"{count.unreadable} of the deliveries cannot be read: kommo dead list --kind delivery"


def _run(parts: _Parts, name: str, asked: Asked) -> None:
    click.echo(f"Replay {name}. If it is interrupted: kommo replay --resume {name}")
    began = time.monotonic()
    with hints(parts.desk.settings) as waker:
        steps = parts.replaying.run(name, asked, waker.wake)
    click.echo(f"Done: {steps} steps put into their lanes in {time.monotonic() - began:.1f} s.")
