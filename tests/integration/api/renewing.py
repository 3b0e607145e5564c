"""Tokens of account 7 as any process of the fleet would have them, over a token endpoint that rotates strictly."""

import time
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from redis import Redis

from kommo.api.oauth import OAuth
from kommo.api.tokens.access import AccountTokens
from kommo.api.transport import HttpTransport
from kommo.api.ways import Ways
from kommo.settings import Settings
from kommo.store.account import Account
from kommo.store.accounts import Accounts
from kommo.store.brakes import Brakes
from kommo.store.keys import Keys
from kommo.store.limiter import Limiter
from kommo.store.parking import Parking
from kommo.store.vault import new_key
from kommo.variables import Secret
from tests.integration.token_server import TokenServer

KEY = new_key()
NOW = 1_800_000_000.0
REVOKED = (401, {"hint": "Token has been revoked", "title": "x", "status": 401})
WRONG_CLIENT = (401, {"title": "Wrong client", "status": 401})
Make = Callable[..., AccountTokens[Any]]


def settings_for(server: TokenServer, **given: Any) -> Settings:
    known: dict[str, Any] = {
        "client_id": "client",
        "client_secret": Secret("client-secret"),
        "token_keys": (KEY,),
        "api_base": server.url,
        "rate_limits": MappingProxyType({"integration": 500, "account": 500, "ip": 500}),
    }
    return Settings(**{**known, **given})


def compose(redis: Redis, settings: Settings, transport: HttpTransport, **given: Any) -> AccountTokens[Any]:
    accounts = Accounts(settings, redis)
    ways = Ways(accounts, Limiter(redis), Brakes(redis), Parking(redis, Keys()))
    oauth = OAuth(transport, ways, api_base_override=settings.api_base)
    return AccountTokens(accounts, oauth, 7, settings.api_base, **given)


def soon(seconds: float) -> None:
    time.sleep(min(seconds, 0.02))


def account(**given: Any) -> Account:
    known: dict[str, Any] = {
        "account_id": 7,
        "subdomain": "acme",
        "access_token": Secret("access-1"),
        "refresh_token": Secret("refresh-1"),
        "expires_at": int(NOW) + 86_400,
        "installed_at": int(NOW) - 100,
        "renewed_at": int(NOW) - 100,
        "api_domain": "api-c.kommo.com",
    }
    return Account(**{**known, **given})


def stored(tokens: AccountTokens[Any]) -> Account:
    found = tokens.accounts.get(7)
    assert found is not None
    return found
