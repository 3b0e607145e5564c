"""The doors' part of the command line: `kommo webhooks`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click
from rich.table import Table

from kommo import log
from kommo.api.client import Client
from kommo.api.clients import check_address
from kommo.cli.desk import Desk, opened, settings_of_environment
from kommo.cli.screen import console
from kommo.errors import SettingsError
from kommo.hooks.signature import webhook_url
from kommo.store.accounts import Credentials
from kommo.store.gaps import Gaps
from kommo.store.watch import Watch
from kommo.variables import Secret

#: What the commands need beside Redis, and what it is for; a stored account may have a client of its own.
_NEEDED: Final = ("REDIS_URL", "KOMMO_CLIENT_ID", "KOMMO_CLIENT_SECRET")
_NEEDED_OF_STORED: Final = ("REDIS_URL",)
_account = click.option("--account", "stored", type=int, metavar="NUMBER", help="A stored account: kommo accounts.")


@click.group()
def webhooks() -> None:
    """Where Kommo sends its deliveries: register this receiver, list, remove.

    The settings come from the environment; docs/settings.md explains them.
    """
    log.configure(level="WARNING")


@webhooks.command()
@_account
def url(stored: int | None) -> None:
    """Print the signed address of this receiver.

    Paste it into Kommo where the API cannot register: smaller plans, Digital Pipeline. Who knows it can send
    deliveries for the account, so treat it like a password.
    """
    with _desk(stored) as desk:
        click.echo(own_url(desk, stored))


@webhooks.command()
@_account
def register(stored: int | None) -> None:
    """Subscribe this receiver to the events of KOMMO_WEBHOOK_EVENTS (all that Kommo offers, unless set)."""
    with _desk(stored) as desk:
        events = desk.settings.webhook_events
        address = own_url(desk, stored)
        answer = _with_client(desk, stored, lambda client: client.webhooks.register(address, events))
        click.echo(f"Registered: webhook {answer.get('id')}, {len(events)} events.")


@webhooks.command(name="list")
@_account
def list_(stored: int | None) -> None:
    """List the account's webhooks; one that is disabled gets nothing until a person enables it in Kommo."""
    with _desk(stored) as desk:
        rows = _with_client(desk, stored, lambda client: list(client.webhooks.list()))
        own = own_url(desk, stored) if desk.settings.public_url else ""
    table = Table("id", "destination", "state", "events")
    for row in rows:
        destination = str(row.get("destination"))
        shown = "this receiver" if destination == own else log.mask(destination)
        table.add_row(
            str(row.get("id")), shown, "disabled" if row.get("disabled") else "on", ", ".join(row.get("settings", []))
        )
    console().print(table)


@webhooks.command()
@_account
def remove(stored: int | None) -> None:
    """Remove this receiver from the account's webhooks."""
    with _desk(stored) as desk:
        address = own_url(desk, stored)
        _with_client(desk, stored, lambda client: client.webhooks.remove(address))
        # Or the next look at it would register it again.
        account_id = stored or desk.settings.account_id or 0
        Watch(desk.redis, desk.keys).forget(account_id)
        Gaps(desk.redis, desk.keys).forget(account_id)
        click.echo("Removed.")


def own_url(desk: Desk, stored: int | None = None) -> str:
    """Make the address to register; raises SettingsError when something for it is not known."""
    settings, account_id = desk.settings, stored or desk.settings.account_id
    missing = [
        f"{name} is not set: {what}"
        for name, given, what in (
            ("KOMMO_PUBLIC_URL", settings.public_url, "the address under which Kommo reaches the receiver"),
            ("KOMMO_ACCOUNT_ID", account_id, "the number of the account (GET /api/v4/account names it)"),
        )
        if not given
    ]
    if missing or account_id is None:
        raise SettingsError(missing)
    proof = desk.accounts.proof(account_id)
    if not proof.secrets:
        raise SettingsError(
            [f"no secret is known for account {account_id}: kommo accounts add, or KOMMO_CLIENT_SECRET"]
        )
    return webhook_url(settings.public_url, proof.secrets[0], proof.client_id, account_id)


@contextmanager
def _desk(stored: int | None) -> Iterator[Desk]:
    needed = _NEEDED if stored is None else _NEEDED_OF_STORED
    with opened(settings_of_environment(need=needed)) as desk:
        yield desk


def _with_client(desk: Desk, stored: int | None, act: Callable[[Client], Any]) -> Any:
    """Do something with the account's client, within the limit that the fleet shares."""
    if stored is None:
        check_address(desk.settings)
    account_id = stored or desk.settings.account_id or 0
    # Without a token there is still a limit to be named; the call then says what is missing.
    known = desk.accounts.credentials(account_id) or Credentials(account_id, "", "", Secret())
    return act(desk.client(known))
