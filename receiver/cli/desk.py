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
from kommo.settings import Settings
from kommo.store.accounts import Accounts, Credentials
from kommo.store.connection import connect
from kommo.store.keys import Keys
from kommo.store.limiter import Slot
from kommo.store.outbox import Outbox


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
        return AccountTokens(self.accounts, oauth, account_id, override)

    def client(self, credentials: Credentials, tokens: Tokens | None = None) -> Client:
        """Give the client of an account, within the limit that the fleet shares."""
        account_id = credentials.account_id
        caller = Caller(tokens or self.tokens(account_id), self.transport, self.ways(credentials))
        return Client(caller, account_id=account_id)

    @property
    def ways(self) -> Ways:
        """Give the way through the limits."""
        return Ways(self.accounts, self.shared.limiter, self.shared.brakes, self.shared.parking)


def settings_of_environment(*, need: Sequence[str]) -> Settings:
    """Read the settings of a command; raises SettingsError."""
    return Settings.from_environ(os.environ, need=need)


@contextmanager
def opened(settings: Settings) -> Iterator[Desk]:
    """Make the parts, and let go of them."""
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
        finally:
            redis.close()
