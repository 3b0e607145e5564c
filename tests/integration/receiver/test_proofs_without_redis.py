"""A receiver that starts while Redis is away: whose deliveries it can prove."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from flask import Flask, request

from kommo.hooks.signature import url_signature
from kommo.settings import Settings
from kommo.store.account import Account
from kommo.store.accounts import Accounts
from kommo.store.connection import connect
from kommo.store.server import PrivateServer
from kommo.variables import Secret
from receiver import app as receiver_app
from receiver import create_app
from receiver.answers import UNPROVEN
from receiver.strangers import LINES, TRIES
from tests.integration.receiver.conftest import NoBroker
from tests.integration.receiver.conftest import settings as plain_settings
from tests.integration.receiver.wire import ACCOUNT, SIGNATURE, lead
from tests.integration.workers.logs import Lines
from tests.waiting import wait_for

STORED = 31_555_077
STORED_SIGNATURE = url_signature("its-own-secret", "its-own-client", STORED)


@pytest.fixture
def settings(lone_server: PrivateServer, tmp_path: Path) -> Settings:
    """Settings of a receiver with accounts of their own secrets beside that of the environment."""
    own = plain_settings(lone_server.url, spool_dir=tmp_path / "spool")
    return replace(own, account_id=ACCOUNT, token_keys=(Secret(Fernet.generate_key().decode()),))


@pytest.fixture
def away(
    settings: Settings, lone_server: PrivateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flask]:
    """A receiver that has never seen Redis, after one that has."""
    monkeypatch.setattr(receiver_app, "publisher", lambda _broker: NoBroker())
    with connect(lone_server.url) as redis:
        account = Account(
            account_id=STORED,
            subdomain="stored",
            client_id="its-own-client",
            client_secret=Secret("its-own-secret"),
        )
        Accounts(settings, redis).save(account)
    first = create_app(settings)
    proofs = tmp_path / "spool" / "proofs.json"
    # At the start, before any delivery has come.
    wait_for(lambda: proofs.exists() and str(STORED) in proofs.read_text(), what="the proof is kept")
    lone_server.kill()
    second = create_app(settings)
    yield second
    for app in (first, second):
        app.extensions["intake"].close()


def test_a_stored_account_is_proven_by_its_url_and_the_delivery_is_spooled(away: Flask, tmp_path: Path) -> None:
    client = away.test_client()
    assert client.post(f"/webhooks/{STORED}/{STORED_SIGNATURE}/", data=lead()).status_code == 200
    assert client.post(f"/webhooks/{STORED}/?signature={STORED_SIGNATURE}", data=lead(2)).status_code == 200
    assert len(list((tmp_path / "spool").glob("*.spool"))) == 1


def test_the_account_of_the_environment_is_proven_as_ever(away: Flask) -> None:
    client = away.test_client()
    assert client.post(f"/webhooks/{ACCOUNT}/{SIGNATURE}/", data=lead()).status_code == 200
    assert client.post(f"/webhooks/{ACCOUNT}/", data=lead(), headers={"X-Signature": SIGNATURE}).status_code == 200


def test_a_wrong_url_is_refused_and_one_of_an_unknown_account_has_to_come_again(away: Flask) -> None:
    client = away.test_client()
    assert client.post(f"/webhooks/{STORED}/{'0' * 64}/", data=lead()).status_code == 401
    assert client.post(f"/webhooks/{STORED + 1}/{STORED_SIGNATURE}/", data=lead()).status_code == 503


def test_a_proof_in_a_header_takes_the_secret_and_has_to_come_again(away: Flask) -> None:
    answer = away.test_client().post(f"/webhooks/{STORED}/", data=lead(), headers={"X-Signature": STORED_SIGNATURE})
    assert answer.status_code == 503


class TestGuesses:
    """Of an account of which nothing is kept, a guess and a good proof look the same."""

    @pytest.fixture
    def environs(self, away: Flask) -> list[dict[str, object]]:
        """The environs of all requests, as they are after them."""
        seen: list[dict[str, object]] = []

        @away.teardown_request
        def note(_error: BaseException | None) -> None:
            seen.append(request.environ)

        return seen

    def guess(self, app: Flask, number: int) -> int:
        return app.test_client().post(f"/webhooks/{STORED + number}/{number:064x}/", data=lead()).status_code

    def test_are_told_in_the_log_within_the_limit_for_strangers(self, away: Flask, lines: Lines) -> None:
        assert {self.guess(away, number) for number in range(1, 5 * LINES)} == {503}
        told = lines.saying("delivery not stored: Kommo will send it again")
        assert LINES <= len(told) < 3 * LINES
        assert {line["left_out"] for line in told[:LINES]} == {0}

    def test_cost_their_address_its_tries(self, away: Flask) -> None:
        for number in range(1, 2 * TRIES):
            self.guess(away, number)
        client = away.test_client()
        assert client.post(f"/webhooks/{ACCOUNT}/", data=lead(), headers={"X-Signature": "0" * 64}).status_code == 429
        # In the address it is never refused.
        assert client.post(f"/webhooks/{STORED}/{STORED_SIGNATURE}/", data=lead()).status_code == 200

    def test_are_no_sign_that_deliveries_cannot_be_taken(self, away: Flask, environs: list[dict[str, object]]) -> None:
        self.guess(away, 1)
        away.test_client().post(f"/webhooks/{STORED}/{'0' * 64}/", data=lead())
        assert [UNPROVEN in environ for environ in environs] == [True, False]
