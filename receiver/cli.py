"""The doors' part of the command line: `kommo webhooks`."""

import os
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from kommo import log
from kommo.api.client import Client
from kommo.api.clients import Clients, check_address
from kommo.errors import SettingsError
from kommo.hooks.signature import webhook_url
from kommo.settings import Settings
from kommo.store.accounts import Accounts
from kommo.store.connection import connect
from kommo.store.limiter import Limiter

#: What the commands need beside Redis, and what it is for.
_NEEDED = ("REDIS_URL", "KOMMO_CLIENT_ID", "KOMMO_CLIENT_SECRET")


@click.group()
def webhooks() -> None:
    """Where Kommo sends its deliveries: register this receiver, list, remove.

    The settings come from the environment; docs/settings.md explains them.
    """
    log.configure(level="WARNING")


@webhooks.command()
def url() -> None:
    """Print the signed address of this receiver.

    Paste it into Kommo where the API cannot register: smaller plans, Digital Pipeline. Who knows it can send
    deliveries for the account, so treat it like a password.
    """
    click.echo(_own_url(_settings()))


@webhooks.command()
def register() -> None:
    """Subscribe this receiver to the events of KOMMO_WEBHOOK_EVENTS (all that Kommo offers, unless set)."""
    settings = _settings()
    answer = _with_client(
        settings, lambda client: client.webhooks.register(_own_url(settings), settings.webhook_events)
    )
    click.echo(f"Registered: webhook {answer.get('id')}, {len(settings.webhook_events)} events.")


@webhooks.command(name="list")
def list_() -> None:
    """List the account's webhooks; one that is disabled gets nothing until a person enables it in Kommo."""
    settings = _settings()
    rows = _with_client(settings, lambda client: list(client.webhooks.list()))
    own = _own_url(settings) if settings.public_url else ""
    table = Table("id", "destination", "state", "events")
    for row in rows:
        destination = str(row.get("destination"))
        shown = "this receiver" if destination == own else log.mask(destination)
        table.add_row(
            str(row.get("id")), shown, "disabled" if row.get("disabled") else "on", ", ".join(row.get("settings", []))
        )
    Console().print(table)


@webhooks.command()
def remove() -> None:
    """Remove this receiver from the account's webhooks."""
    settings = _settings()
    _with_client(settings, lambda client: client.webhooks.remove(_own_url(settings)))
    click.echo("Removed.")


def _settings() -> Settings:
    return Settings.from_environ(os.environ, need=_NEEDED)


def _own_url(settings: Settings) -> str:
    missing = [
        f"{name} is not set: {what}"
        for name, given, what in (
            ("KOMMO_PUBLIC_URL", settings.public_url, "the address under which Kommo reaches the receiver"),
            ("KOMMO_ACCOUNT_ID", settings.account_id, "the number of the account (GET /api/v4/account names it)"),
        )
        if not given
    ]
    if missing or settings.account_id is None:
        raise SettingsError(missing)
    return webhook_url(settings.public_url, settings.client_secret, settings.client_id, settings.account_id)


def _with_client(settings: Settings, act: Callable[[Client], Any]) -> Any:
    """Do something with the account's client, within the limit that the fleet shares."""
    check_address(settings)
    redis = connect(settings.redis_url)
    clients = Clients(Accounts(settings), Limiter(redis), settings.api_base)
    try:
        return act(clients.client(settings.account_id or 0))
    finally:
        clients.close()
        redis.close()
