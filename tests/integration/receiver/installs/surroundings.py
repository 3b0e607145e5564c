"""A receiver that accounts are installed at, with a sandbox in Kommo's place."""

import http.client
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html import unescape
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

from cryptography.fernet import Fernet
from flask import Flask
from redis import Redis
from werkzeug.test import TestResponse

from kommo.settings import Settings
from kommo.store.accounts import Account, Accounts
from kommo.store.inbox import Entry, Inbox
from kommo.store.keys import Keys
from kommo.store.parking import Parking
from kommo.variables import Secret
from receiver.installs.doors import Doors
from sandbox import Sandbox

PUBLIC: Final = "https://hooks.example.org"
REDIRECT: Final = f"{PUBLIC}/oauth/callback"
CLIENT: Final = "5b1f0c77-public-integration"
SECRET: Final = "secret-of-the-public-integration"
KEY: Final = Fernet.generate_key().decode()
ACCOUNT: Final = 31_555_777
#: What a page of ours may bring along, by the shape of it.
PRIVATE: Final = ("def50200", "eyJ", SECRET, KEY)


def sandbox(**changes: Any) -> Sandbox:
    """A sandbox whose integration is the receiver's."""
    given = {
        "client_id": CLIENT,
        "client_secret": SECRET,
        "redirect_uri": REDIRECT,
        "account_id": ACCOUNT,
        "subdomain": "acme",
        "rate": 50,
    }
    return Sandbox(**{**given, **changes})


def settings(redis_url: str, api_base: str, **changes: Any) -> Settings:
    return replace(
        Settings(
            redis_url=Secret(redis_url),
            broker_url=Secret("redis://127.0.0.1:1/0"),
            client_id=CLIENT,
            client_secret=Secret(SECRET),
            public_url=PUBLIC,
            token_keys=(Secret(KEY),),
            api_base=api_base,
            webhook_events=("add_lead", "update_lead"),
            rate_limits={"integration": 50, "account": 50, "ip": 50},
        ),
        **changes,
    )


@dataclass
class Visitor:
    """A person's browser before the receiver, and what lies behind it."""

    app: Flask
    settings: Settings
    box: Sandbox
    redis: Redis
    accounts: Accounts = field(init=False)

    def __post_init__(self) -> None:
        self.browser = self.app.test_client()
        self.accounts = Accounts(self.settings, self.redis, Keys())
        self.parking = Parking(self.redis, Keys())

    def get(self, path: str, **query: str) -> TestResponse:
        return self.browser.get(path, query_string=query or None, base_url=PUBLIC)

    def start(self, **query: str) -> dict[str, str]:
        """Go to the start, and give what the browser is sent to Kommo with."""
        answer = self.get("/oauth/start", **query)
        assert answer.status_code == 302, answer.text
        return {name: values[0] for name, values in parse_qs(urlsplit(answer.location).query).items()}

    def agree(self, **query: str) -> TestResponse:
        """Start, agree at the sandbox, and come back."""
        location = self.get("/oauth/start").location
        extra = "".join(f"&{name}={value}" for name, value in query.items())
        return self.browser.get(fetched(location + extra)["location"])

    def arrive(self, **changes: str) -> TestResponse:
        """Come back with a code and a state that are good, but for the changes; "" leaves a parameter out."""
        given = {
            "code": self.box.code(),
            "state": self.start()["state"],
            "client_id": CLIENT,
            "referer": "acme.kommo.com",
            **changes,
        }
        return self.get("/oauth/callback", **{name: value for name, value in given.items() if value})

    def widget(self, **changes: str) -> TestResponse:
        """Come as Kommo's call after a widget was installed: from a server, without a state."""
        given = {"code": self.box.code(), "client_id": CLIENT, "referer": "acme.kommo.com", "from_widget": "1"}
        return self.get("/oauth/callback", **{**given, **changes})

    def stored(self, account: int = ACCOUNT) -> Account | None:
        return self.accounts.get(account)

    def inbox(self, account: int = ACCOUNT) -> list[Entry]:
        return Inbox(self.redis, Keys()).read(account, after="0-0", limit=100)

    def lying(self) -> bytes:
        """All that lies in Redis as strings and hashes, where codes and tokens could."""
        client: Any = self.redis
        names = client.keys("*")
        texts = [client.get(name) for name in names if client.type(name) == b"string"]
        hashes = [client.hgetall(name) for name in names if client.type(name) == b"hash"]
        return b"\n".join([*texts, *(value for one in hashes for value in one.values())])

    def errands(self) -> int:
        return int(self.redis.zcard("kommo:{errands}:due"))


def fetched(url: str, method: str = "GET", body: object = None) -> dict[str, str]:
    """Ask a server, and give the headers of its answer, lower case."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        given = None if body is None else json.dumps(body)
        connection.request(method, f"{parts.path}?{parts.query}", given, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def title(answer: TestResponse) -> str:
    """The heading of a page."""
    return unescape(answer.text.partition("<h1>")[2].partition("</h1>")[0])


Visit = Callable[..., Visitor]


def threads_of_errands() -> list[threading.Thread]:
    """The threads that do errands now, of whichever receiver in this process."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("errand")]


def doors_of(app: Flask) -> Doors:
    """The doors of a receiver."""
    # The view is a method of theirs.
    doors: Doors = cast(Any, app.view_functions["installs.callback"]).__self__
    return doors


def impatient(app: Flask, *, seconds: float) -> None:
    """Let browsers wait no longer than this."""
    app.view_functions["installs.callback"] = replace(doors_of(app), patience=seconds).callback
