"""What is looked at before a proof, and what is not: streams that must not be read, stores that must not be asked."""

from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from kommo.hooks.signature import url_signature
from kommo.store.inbox import Entry
from receiver import create_app
from receiver.bodies import UNPROVEN_BYTES
from receiver.strangers import LINES, TRIES
from tests.integration.receiver.conftest import settings
from tests.integration.receiver.wire import ACCOUNT, CLIENT, DOOR, SIGNATURE, body_proof, lead
from tests.integration.workers.logs import Lines

Stored = Callable[[], list[Entry]]


class Sealed:
    """A body that nobody may read."""

    def read(self, _size: int = -1) -> bytes:
        """Fail the test."""
        raise AssertionError("the body was read")


def send(app: Flask, path: str, *, query: str = "", length: int = 1000, **environ: Any) -> int:
    """Send a request with a body that must not be read, straight to the app."""
    statuses: list[str] = []
    given = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_LENGTH": str(length),
        "REMOTE_ADDR": "203.0.113.5",
        "SERVER_NAME": "hooks.example.org",
        "SERVER_PORT": "443",
        "wsgi.input": Sealed(),
        "wsgi.url_scheme": "https",
        **environ,
    }
    told: Iterator[bytes] = iter(app.wsgi_app(given, lambda status, _headers, _error=None: statuses.append(status)))
    assert b"".join(told) == b""
    return int(statuses[0].partition(" ")[0])


GUESS = url_signature("guess", CLIENT, ACCOUNT)


@pytest.mark.parametrize(
    ("path", "query", "environ"),
    [
        (f"/webhooks/{ACCOUNT}/{GUESS}/", "", {}),
        (f"/webhooks/{ACCOUNT}/", f"signature={GUESS}", {}),
        (f"/webhooks/{ACCOUNT}/", f"signature={GUESS}", {"HTTP_X_SIGNATURE": SIGNATURE}),
        (f"/webhooks/{ACCOUNT}/", "signature=", {}),
        (f"/webhooks/{ACCOUNT}/", f"signature={SIGNATURE}&signature={SIGNATURE}", {}),
        (f"/webhooks/{ACCOUNT}/", "", {}),
        (f"/webhooks/{ACCOUNT}/", "", {"HTTP_X_SIGNATURE": SIGNATURE.upper()}),
        (f"/webhooks/{ACCOUNT}/", "", {"HTTP_X_SIGNATURE": f"{SIGNATURE},{SIGNATURE}"}),
        (f"/webhooks/0{ACCOUNT}/", "", {"HTTP_X_SIGNATURE": SIGNATURE}),
        ("/webhooks/", "", {}),
        ("/webhooks/", "signature=short", {}),
        ("/webhooks/", f"signature[]={SIGNATURE}", {}),
    ],
)
def test_what_is_wrong_without_the_body_is_refused_without_it(
    app: Flask, path: str, query: str, environ: dict[str, str]
) -> None:
    assert send(app, path, query=query, **environ) == 401


@pytest.mark.parametrize(
    ("path", "query", "environ"),
    [
        (f"/webhooks/{ACCOUNT}/", "", {"HTTP_X_SIGNATURE": SIGNATURE}),
        (f"/webhooks/{ACCOUNT}/", "", {"HTTP_X_SIGNATURE": GUESS}),
        (f"/webhooks/{ACCOUNT}/", "", {}),
        ("/webhooks/", "", {"HTTP_X_SIGNATURE": SIGNATURE}),
        ("/webhooks/", f"signature={SIGNATURE}", {}),
        ("/webhooks/", f"signature={GUESS}", {}),
    ],
)
def test_above_the_limit_no_body_is_read_and_right_and_wrong_are_answered_alike(
    app: Flask, path: str, query: str, environ: dict[str, str]
) -> None:
    for _ in range(TRIES):
        send(app, f"/webhooks/{ACCOUNT}/{GUESS}/")
    assert send(app, path, query=query, **environ) == 429
    assert send(app, path, query=query, length=10**12, **environ) == 429


def test_above_the_limit_a_proof_in_the_address_passes(app: Flask, client: FlaskClient, stored: Stored) -> None:
    here = {"REMOTE_ADDR": "203.0.113.5"}
    for _ in range(3 * TRIES):
        assert send(app, f"/webhooks/{ACCOUNT}/{GUESS}/") == 401
    for number, path in enumerate((DOOR, f"/webhooks/{ACCOUNT}/?signature={SIGNATURE}")):
        assert client.post(path, data=lead(number), environ_overrides=here).status_code == 200
    # It has proven itself by now, so that the body is read to see whose it is.
    bare = f"/webhooks/?signature={SIGNATURE}"
    assert client.post(bare, data=lead(7), environ_overrides=here).status_code == 200
    assert client.post(bare, data=b"account[id]=1", environ_overrides=here).status_code == 401
    assert len(stored()) == 3


def test_honest_headers_are_never_above_the_limit(client: FlaskClient, stored: Stored) -> None:
    for number in range(5 * TRIES):
        body = lead(number)
        assert client.post(f"/webhooks/{ACCOUNT}/", data=body, headers=body_proof(body)).status_code == 200
    assert len(stored()) == 5 * TRIES


def test_a_body_that_is_too_long_costs_a_try_like_a_wrong_proof(app: Flask) -> None:
    door = f"/webhooks/{ACCOUNT}/"
    for _ in range(TRIES):
        assert send(app, door, length=UNPROVEN_BYTES + 1, HTTP_X_SIGNATURE=SIGNATURE) == 413
    assert send(app, door, HTTP_X_SIGNATURE=SIGNATURE) == 429


def test_a_proxy_is_believed_only_where_the_settings_name_it(redis_server: Any, redis: Any) -> None:
    given = settings(redis_server.url)
    for trusted, status in (((), 429), ((ip_network("203.0.113.0/24"),), 401)):
        app = create_app(type(given)(**{**vars(given), "trusted_proxies": trusted}))
        for number in range(TRIES):
            send(app, "/webhooks/", HTTP_X_FORWARDED_FOR=f"198.51.100.{number}")
        assert send(app, "/webhooks/", HTTP_X_FORWARDED_FOR="198.51.100.99") == status


def test_a_flood_of_refusals_writes_a_few_lines_and_how_many_were_left_out(app: Flask, lines: Lines) -> None:
    for _ in range(500):
        send(app, f"/webhooks/{ACCOUNT}/{GUESS}/")
    written = lines.saying("delivery refused")
    assert LINES <= len(written) < 100
    assert sum(line["left_out"] for line in written) <= 500 - len(written)
    assert {line["remote"] for line in written} == {"203.0.113.5"}
    assert [line for line in lines.all if GUESS in str(line)] == []
