"""The command line for what Kommo never told: `kommo backfill`."""

import time
from dataclasses import replace
from typing import Final
from uuid import uuid4

import click

from kommo import log
from kommo.api.calls import Caller
from kommo.api.client import Client
from kommo.cli.desk import Desk, opened, settings_of_environment
from kommo.cli.moments import Moment, shown
from kommo.errors import SettingsError
from kommo.store.accounts import Credentials
from kommo.store.gaps import Gap, Gaps
from kommo.store.inbox import Inbox
from workers.backfill import LAG_SECONDS, Ground, fill
from workers.cli.hints import hints

_WHY: Final = "asked for at the command line"
#: Seconds after which the command says where it is.
_SAY_SECONDS: Final = 10.0


@click.command()
@click.option("--account", type=int, metavar="NUMBER", help="Of this account; else that of KOMMO_ACCOUNT_ID.")
@click.option("--since", "since_ms", type=Moment(), required=True, help="From then on: ISO time (UTC), or 10m, 2h ago.")
@click.option("--until", "until_ms", type=Moment(), help="Up to then (UTC); else up to a minute ago.")
def backfill(*, account: int | None, since_ms: int, until_ms: int | None) -> None:
    """Find in Kommo's API what no webhook has told, and hand it to the handlers.

    The chores do this by themselves after a webhook was off, or no receiver was there. What has come all the same is
    left out as far as it can be told; in doubt it runs again. Ctrl-C stops it, and the chores go on with it.
    """
    log.configure(level="WARNING")
    with opened(settings_of_environment(need=["REDIS_URL"])) as desk, hints(desk.settings) as waker:
        known = _credentials(desk, account)
        gaps, latest = Gaps(desk.redis, desk.keys), int(time.time()) - LAG_SECONDS
        since, until = since_ms // 1000, min(latest, until_ms // 1000 if until_ms is not None else latest)
        if since >= until:
            raise click.UsageError("--since has to be before --until, and more than a minute ago.")
        inbox = Inbox(desk.redis, desk.keys)
        ground = Ground(gaps, inbox, lambda _account: _client(desk, known), waker.wake)
        gaps.open(known.account_id, since=since, until=until, why=_WHY)
        _fill(ground, known.account_id)


def _credentials(desk: Desk, account: int | None) -> Credentials:
    account_id = account or desk.settings.account_id
    known = desk.accounts.credentials(account_id) if account_id else None
    if known is None:
        raise SettingsError([f"no token is known for account {account_id or '?'}: give --account, or kommo accounts"])
    return known


def _client(desk: Desk, known: Credentials) -> Client:
    """Give a client whose calls take turns with the writes that wait, as those of the chores do."""
    way = replace(desk.ways(known), urgent=False)
    return Client(Caller(desk.tokens(known.account_id), desk.transport, way), account_id=known.account_id)


def _fill(ground: Ground, account_id: int) -> None:
    put = known = 0
    while gap := ground.gaps.get(account_id):
        filled = fill(ground, account_id, uuid4().hex, budget=_SAY_SECONDS)
        if filled is None:
            click.echo("A worker fills this gap already, and goes on with it.")
            return
        put, known = put + filled.put, known + filled.known
        if not filled.done and _stands(gap, ground.gaps.get(account_id)):
            click.echo("The rest cannot be filled now: a webhook is off, or Kommo does not answer. The chores go on.")
            break
        if not filled.done:
            click.echo(f"Up to {shown(_position(ground, account_id) * 1000)}: {put} deliveries.")
    click.echo(f"{put} deliveries were put into the inbox; {known} had come already.")


def _position(ground: Ground, account_id: int) -> int:
    gap = ground.gaps.get(account_id)
    return gap.position if gap else 0


def _stands(before: Gap, after: Gap | None) -> bool:
    return after is not None and after.position == before.position
