"""What the commands work with: the settings, the stored accounts, and the way to Kommo that the fleet shares."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from redis import Redis

from kommo.api.calls import Caller, Tokens
from kommo.api.client import Client
from kommo.api.clients import Shared
from kommo.api.oauth import OAuth
from kommo.api.tokens.access import AccountTokens
from kommo.api.transport import HttpTransport, Transport
from kommo.api.ways import Ways
from kommo.errors import ApiError, BadRequest, KommoError, TryLater
from kommo.settings import Settings
from kommo.store.accounts import Accounts, Credentials
from kommo.store.connection import connect
from kommo.store.keys import Keys
from kommo.store.limiter import Slot
from kommo.store.outbox import Outbox


class CallFailed(KommoError):
    """A call of a command has failed; says what a person at a keyboard can do."""


@dataclass(frozen=True)
class Desk:
    """The parts, made for one command."""

    settings: Settings
    redis: Redis
    keys: Keys
    accounts: Accounts
    shared: Shared
    outbox: Outbox
    transport: Transport

    def tokens(self, account_id: int) -> AccountTokens[Slot]:
        """Give the access of an account, renewed when it has to be."""
        override = self.settings.api_base
        oauth = OAuth(self.transport, self.ways, api_base_override=override)
        return AccountTokens(self.accounts, oauth, account_id, override, in_background=False)

    def client(self, credentials: Credentials, tokens: Tokens | None = None) -> Client:
        """Give the client of an account, within the limit that the fleet shares."""
        account_id = credentials.account_id
        caller = Caller(tokens or self.tokens(account_id), self.transport, self.ways(credentials))
        return Client(caller, account_id=account_id)

    @property
    def ways(self) -> Ways:
        """Give the way through the limits."""
        return self.shared.ways(self.accounts)


def settings_of_environment(*, need: Sequence[str]) -> Settings:
    """Read the settings of a command; raises SettingsError."""
    return Settings.from_environ(os.environ, need=need)


def told(error: KommoError) -> str:
    """Say an error of a command, which repeats nothing by itself and runs no handler."""
    if not isinstance(error, ApiError):
        return str(error)
    if isinstance(error, TryLater):
        remedy = f"Repeat the command{f' in {error.after:.0f} s' if error.after else ''}"
    elif isinstance(error, BadRequest):
        remedy = "Check what was given to the command, and KOMMO_PUBLIC_URL"
    else:
        return str(error)
    return f"{str(error).removesuffix(error.remedy)}{remedy}"


@contextmanager
def opened(settings: Settings) -> Iterator[Desk]:
    """Make the parts, and let go of them; an ApiError becomes a CallFailed."""
    redis, keys = connect(settings.redis_url), Keys(settings.shards)
    with HttpTransport() as transport:
        try:
            yield Desk(
                settings,
                redis,
                keys,
                Accounts(settings, redis, keys),
                Shared.on(redis, keys),
                Outbox(redis, keys),
                transport,
            )
        except ApiError as error:
            raise CallFailed(told(error)) from error
        finally:
            redis.close()
