"""A whole life of an installation against the sandbox, whose tokens rotate, end and are revoked as Kommo's do."""

import time
from collections.abc import Iterator

import pytest
from redis import Redis

from kommo.api.client import Client
from kommo.api.clients import Clients, Shared
from kommo.api.oauth import OAuth
from kommo.api.tokens.pairs import with_pair
from kommo.api.transport import HttpTransport
from kommo.api.ways import Ways
from kommo.errors import AccessEnded
from kommo.settings import Settings
from kommo.store.account import Account
from kommo.store.accounts import Accounts
from kommo.store.keys import Keys
from kommo.store.vault import new_key
from kommo.variables import Secret
from sandbox import Sandbox
from tests.waiting import wait_for

ACCOUNT = 31_415_926


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(account_id=ACCOUNT, rate=1000, access_seconds=2.0) as box:
        yield box


@pytest.fixture
def accounts(box: Sandbox, redis: Redis) -> Accounts:
    settings = Settings(
        client_id=box.options.client_id,
        client_secret=Secret(box.options.client_secret),
        redirect_uri=box.options.redirect_uri,
        token_keys=(new_key(),),
    )
    return Accounts(settings, redis)


@pytest.fixture
def client(box: Sandbox, accounts: Accounts, redis: Redis) -> Iterator[Client]:
    """The client of an account that has just been installed."""
    shared = Shared.on(redis, Keys())
    with HttpTransport() as transport:
        oauth = OAuth(
            transport, Ways(accounts, shared.limiter, shared.brakes, shared.parking), api_base_override=box.url
        )
        code, options = box.code(), box.options
        host = f"{options.subdomain}.kommo.com"
        pair = oauth.exchange(code, host, options.client_id, options.client_secret, options.redirect_uri)
        now = time.time()
        account = Account(account_id=ACCOUNT, subdomain=host, installed_at=int(now))
        accounts.save(with_pair(account, pair, now=now))
        yield Clients(accounts, shared, box.url, transport).client(ACCOUNT)


def stored(accounts: Accounts) -> Account:
    account = accounts.get(ACCOUNT)
    assert account is not None
    return account


def test_an_installation_outlives_its_access_tokens(client: Client, accounts: Accounts) -> None:
    first = stored(accounts)
    assert first.api_domain == "api-c.kommo.com"
    seen = {first.refresh_token}

    def renewed_twice() -> bool:
        assert client.account()["id"] == ACCOUNT
        seen.add(stored(accounts).refresh_token)
        return len(seen) >= 3

    wait_for(renewed_twice, seconds=15)
    assert stored(accounts).state == "ready"


def test_a_revoked_installation_needs_a_person_and_is_not_called_again(
    client: Client, accounts: Accounts, box: Sandbox
) -> None:
    box.revoke()
    for _ in range(3):
        with pytest.raises(AccessEnded):
            client.account()
    assert stored(accounts).state == "needs_person"
    assert "revoked" in stored(accounts).reason
    assert box.token_calls["refresh_token"] == {"asked": 1, "granted": 0}
