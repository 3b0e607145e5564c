"""The command line for stored accounts: `kommo accounts`."""

import os
import sys
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import click
from rich.console import Console

from kommo import log
from kommo.api.address import account_host, api_base
from kommo.api.calls import Access, FixedAccess
from kommo.api.tokens.claims import claims_of
from kommo.cli.desk import Desk, opened, settings_of_environment
from kommo.errors import KommoError, RequestError, SettingsError
from kommo.store.account import Account
from kommo.store.accounts import Credentials
from kommo.store.vault import new_key
from kommo.variables import Secret
from receiver.cli.accounts_table import moment, table_of
from receiver.cli.rotation import Rotation
from receiver.installs.calls import account_number

_NEEDED: Final = ("REDIS_URL",)
#: Where a secret key and a long-lived token may stand instead of being typed; arguments could be seen by others.
SECRET_VARIABLE: Final = "KOMMO_ACCOUNT_SECRET"  # noqa: S105 - a name
TOKEN_VARIABLE: Final = "KOMMO_ACCOUNT_TOKEN"  # noqa: S105 - a name

_from_stdin = click.option(
    "--secret-from-stdin",
    "from_stdin",
    is_flag=True,
    help="Read what is secret from standard input instead of asking: the secret key, then the token, a line each, "
    f"as far as wanted. Or set {SECRET_VARIABLE} and {TOKEN_VARIABLE}.",
)


@click.group()
def accounts() -> None:
    """Stored accounts: list, add, remove, rotate after a leak.

    The account of KOMMO_ACCOUNT_ID needs none of this. docs/accounts.md explains it all.
    """
    log.configure(level="WARNING")


@accounts.command(name="list")
def list_() -> None:
    """Show every account: its state, when its tokens end, what waits, and its limits."""
    with opened(settings_of_environment(need=_NEEDED)) as desk:
        table = table_of(desk, now=time.time())
    if table.row_count:
        Console().print(table)
    else:
        click.echo("No account yet: open /oauth/start, or `kommo accounts add`, or set KOMMO_ACCOUNT_ID and its token.")


@accounts.command()
@click.option("--subdomain", required=True, help="The account's name (acme) or full host (acme.amocrm.ru).")
@click.option("--account-id", type=click.IntRange(1, 10**15), help="Its number; asked for at Kommo unless given.")
@click.option("--client-id", default="", help="Its own Integration ID; without, that of KOMMO_CLIENT_ID.")
@click.option("--check/--no-check", default=True, help="Ask Kommo for the account with the token first.")
@_from_stdin
def add(*, subdomain: str, account_id: int | None, client_id: str, check: bool, from_stdin: bool) -> None:
    """Store an account with a long-lived token, or give a stored one new keys.

    The secret key and the token are asked for; they never stand on the command line.
    """
    settings = settings_of_environment(need=_NEEDED)
    account_host(subdomain)
    given = _typed(
        from_stdin=from_stdin, key_question="Secret key" if client_id else "", bearer_question="Long-lived token"
    )
    with opened(settings) as desk:
        number = _number(desk, subdomain, account_id, given["token"], check=check)
        stored = desk.accounts.save(_added(desk, number, subdomain, client_id, given["secret"], given["token"]))
        desk.shared.parking.resume(number)
    click.echo(f"Stored account {number} ({subdomain}); its token ends {moment(stored.expires_at, now=time.time())}.")


@accounts.command()
@click.argument("account", type=int)
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(*, account: int, yes: bool) -> None:
    """Forget an account's secrets and tokens. Its webhook stays at Kommo: kommo webhooks remove --account, before."""
    with opened(settings_of_environment(need=_NEEDED)) as desk:
        if not yes:
            click.confirm(f"Forget the secrets and tokens of account {account}?", abort=True)
        if not desk.accounts.remove(account):
            raise SettingsError([f"account {account} is not stored: kommo accounts list"])
    click.echo("Removed.")


@accounts.command()
@click.argument("account", type=int)
@click.option("--drop-previous", is_flag=True, help="Only accept the previous secret no longer; the last thing to do.")
@_from_stdin
def rotate(*, account: int, drop_previous: bool, from_stdin: bool) -> None:
    """After a leak: take the new secret that you have made in Kommo, renew the tokens, change the webhook's address.

    Each step is told; when one fails, mend what it says and repeat the command.
    """
    with opened(settings_of_environment(need=_NEEDED)) as desk:
        if drop_previous:
            for done in Rotation(desk, account, Secret(), Secret()).drop_previous():
                click.echo(done)
            return
        stored = desk.accounts.get(account)
        own = bool(stored and stored.client_secret)
        given = _typed(
            from_stdin=from_stdin,
            key_question="New secret key (empty: the stored one)" if own else "",
            bearer_question="" if stored and stored.refresh_token else "New long-lived token (empty: the stored one)",
            may_be_empty=True,
        )
        for done in Rotation(desk, account, given["secret"], given["token"]).run():
            click.echo(done)


@accounts.command(name="rotate-keys")
def rotate_keys() -> None:
    """Encrypt all accounts anew with the newest key of KOMMO_TOKEN_KEYS; older ones can then be left out."""
    problems: list[str] = []
    with opened(settings_of_environment(need=_NEEDED)) as desk:
        known = desk.accounts.ids()
        for number in known:
            try:
                desk.accounts.reseal(number)
            except KommoError as error:
                problems.append(str(error))
    click.echo(f"Encrypted anew: {len(known) - len(problems)} of {len(known)} accounts.")
    if problems:
        raise SettingsError(problems)


@accounts.command()
def key() -> None:
    """Print a new key for KOMMO_TOKEN_KEYS. Put it in front of those that are there."""
    click.echo(new_key())


def _typed(
    *, from_stdin: bool, key_question: str, bearer_question: str, may_be_empty: bool = False
) -> dict[str, Secret]:
    """Get what is secret from standard input, the environment or the keyboard; a question of "" is not asked."""
    lines = iter(sys.stdin.read().splitlines()) if from_stdin else None
    found: dict[str, Secret] = {}
    for name, question, variable in (
        ("secret", key_question, SECRET_VARIABLE),
        ("token", bearer_question, TOKEN_VARIABLE),
    ):
        value = ""
        if question and lines is not None:
            value = next(lines, "")
        elif question:
            value = os.environ.get(variable, "") or _asked(question, may_be_empty=may_be_empty)
        found[name] = _usable(value.strip(), question)
        if question and not found[name] and not may_be_empty:
            raise SettingsError([f"{question}: nothing was given"])
    return found


def _asked(question: str, *, may_be_empty: bool) -> str:
    answer: Any = click.prompt(question, hide_input=True, default="" if may_be_empty else None, show_default=False)
    return str(answer)


def _usable(value: str, question: str) -> Secret:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise SettingsError(
            [f"{question}: it holds characters that no key and no token has; was it cut while copying?"]
        )
    return Secret(value)


def _number(desk: Desk, subdomain: str, account_id: int | None, token: Secret, *, check: bool) -> int:
    """See that the token opens the account, and give its number."""
    if not check:
        number = account_id or claims_of(token).account_id
        if not number:
            raise RequestError("--no-check needs --account-id: nobody is asked for the account's number")
        return number
    access = FixedAccess(Access(api_base(subdomain, desk.settings.api_base or None), token))
    number = account_number(desk.client(Credentials(0, "", subdomain, token), access).account())
    if account_id not in {None, number}:
        raise RequestError(f"the token belongs to account {number}, not {account_id}; nothing was stored")
    return number


def _added(desk: Desk, number: int, subdomain: str, client_id: str, secret: Secret, token: Secret) -> Account:
    """Make the account as it is to be stored; the secret that it had goes on being accepted of deliveries."""
    now = int(time.time())
    before: Account | None = None
    # What no key opens any more is what this command replaces.
    with suppress(SettingsError):
        before = desk.accounts.get(number)
    account = before or Account(account_id=number, subdomain=subdomain, installed_at=now)
    replaced = account.client_secret if account.client_secret != secret else account.previous_secret
    return replace(
        account,
        subdomain=subdomain,
        client_id=client_id,
        client_secret=secret,
        previous_secret=replaced if client_id == account.client_id else Secret(),
        access_token=token,
        refresh_token=Secret(),
        expires_at=claims_of(token).expires_at,
        refresh_expires_at=0,
        api_domain=claims_of(token).api_domain or account.api_domain,
        state="ready",
        reason="",
        renewed_at=now,
    )
