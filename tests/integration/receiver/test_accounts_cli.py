"""`kommo accounts`: what is stored, what is shown, and that nothing secret is ever printed."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import click
import pytest
from click.testing import CliRunner
from redis import Redis

from kommo.errors import KommoError
from kommo.hooks.signature import webhook_url
from kommo.settings import Settings
from kommo.store.account import Account
from kommo.store.accounts import Accounts
from kommo.store.brakes import Brakes
from kommo.store.keys import Keys
from kommo.store.limiter import Scope
from kommo.store.parking import Parking
from kommo.store.renewals import Backoff
from kommo.store.server import PrivateServer
from kommo.store.vault import new_key
from kommo.variables import Secret
from receiver.cli.accounts import SECRET_VARIABLE, TOKEN_VARIABLE, accounts
from receiver.cli.webhooks import webhooks
from tests.integration.token_server import TokenServer, serving
from tests.integration.workers.logs import logging_restored

PUBLIC = "https://hooks.example.org"
KEY, OLD_KEY = new_key(), new_key()
REVOKED = (401, {"hint": "Token has been revoked", "status": 401})
HIDDEN = ("own-key", "key-two", "access-1", "access-2", "refresh-1", "refresh-2", str(KEY))
DAY = 86_400


@dataclass
class Ended:
    """How a command ended, and all that it printed, its error with it."""

    status: int
    text: str


Run = Callable[..., Ended]


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with serving() as server:
        yield server


@pytest.fixture
def environ(
    redis_server: PrivateServer, redis: Redis, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    for name, value in {
        "REDIS_URL": redis_server.url,
        "KOMMO_TOKEN_KEYS": str(KEY),
        "KOMMO_API_BASE": server.url,
        "KOMMO_PUBLIC_URL": PUBLIC,
        "KOMMO_WEBHOOK_EVENTS": "add_lead",
        "KOMMO_RATE_LIMITS": "integration=100,account=100,ip=100",
        "COLUMNS": "400",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def run(environ: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a command; whatever it prints, no secret may be in it."""

    def kommo(*arguments: str, typed: str = "", group: click.Group = accounts) -> Ended:
        result = CliRunner().invoke(group, arguments, input=typed)
        if result.exception and not isinstance(result.exception, SystemExit | KommoError):
            raise result.exception
        text = result.output + (str(result.exception) if isinstance(result.exception, KommoError) else "")
        for secret in HIDDEN:
            assert secret not in text
        return Ended(result.exit_code, text)

    with logging_restored():
        yield kommo


@pytest.fixture
def store(redis: Redis, environ: pytest.MonkeyPatch) -> Accounts:
    return Accounts(Settings(token_keys=(KEY,), client_id="env-id", client_secret=Secret("env-key")), redis)


def stored(**given: object) -> Account:
    account = Account(
        account_id=7,
        subdomain="acme",
        client_id="own-id",
        client_secret=Secret("own-key"),
        access_token=Secret("access-1"),
        refresh_token=Secret("refresh-1"),
        expires_at=int(time.time()) + DAY,
        refresh_expires_at=int(time.time()) + 90 * DAY,
        renewed_at=int(time.time()) - 100,
    )
    return replace(account, **given)  # type: ignore[arg-type]  # fields by name


def found(store: Accounts) -> Account:
    account = store.get(7)
    assert account is not None
    return account


def long_lived(server: TokenServer, ends: float) -> Secret:
    """Make a token that the server takes and that says when it ends."""
    body = base64.urlsafe_b64encode(json.dumps({"exp": int(ends), "account_id": 7}).encode()).decode()
    token = Secret(f"e30.{body.rstrip('=')}.c2ln")
    server.accepted.add(token)
    return token


class TestAdd:
    ARGUMENTS = ("add", "--subdomain", "acme", "--client-id", "own-id")

    def test_it_stores_what_kommo_has_confirmed(self, run: Run, store: Accounts, server: TokenServer) -> None:
        token = long_lived(server, time.time() + 300 * DAY)
        ended = run(*self.ARGUMENTS, "--secret-from-stdin", typed=f"own-key\n{token}\n")
        assert (ended.status, "Stored account 7 (acme)" in ended.text) == (0, True)
        account = found(store)
        assert (account.client_id, account.client_secret, account.access_token) == ("own-id", "own-key", token)
        assert (account.refresh_token, account.state) == ("", "ready")
        assert account.expires_at > time.time() + 299 * DAY

    @pytest.mark.parametrize("way", ["variables", "keyboard"])
    def test_its_keys_are_typed_or_stand_in_variables(
        self, run: Run, store: Accounts, environ: pytest.MonkeyPatch, way: str
    ) -> None:
        if way == "variables":
            environ.setenv(SECRET_VARIABLE, "own-key")
            environ.setenv(TOKEN_VARIABLE, "access-1")
        ended = run(*self.ARGUMENTS, typed="own-key\naccess-1\n" if way == "keyboard" else "")
        assert ended.status == 0, ended.text
        assert (found(store).client_secret, found(store).access_token) == ("own-key", "access-1")

    def test_an_account_of_the_environments_integration_needs_no_secret(self, run: Run, store: Accounts) -> None:
        assert run("add", "--subdomain", "acme", "--secret-from-stdin", typed="access-1\n").status == 0
        assert (found(store).client_id, found(store).client_secret) == ("", "")

    def test_a_token_that_kommo_does_not_take_is_not_stored(self, run: Run, store: Accounts) -> None:
        ended = run(*self.ARGUMENTS, "--secret-from-stdin", typed="own-key\nwrong\n")
        assert (ended.status, "answered 401" in ended.text) == (1, True)
        assert list(store.ids()) == []

    def test_a_wrong_token_keeps_no_later_one_from_being_tried(self, run: Run, store: Accounts) -> None:
        for typed, status in (("wrong", 1), ("wrong-too", 1), ("access-1", 0)):
            assert run(*self.ARGUMENTS, "--secret-from-stdin", typed=f"own-key\n{typed}\n").status == status
        assert found(store).access_token == "access-1"

    @pytest.mark.parametrize("said", [{"name": "x"}, {"id": "x"}, {"id": 0}, {"id": True}], ids=repr)
    def test_an_answer_that_names_no_account_stores_none(
        self, run: Run, store: Accounts, server: TokenServer, said: object
    ) -> None:
        server.account = said
        ended = run(*self.ARGUMENTS, "--secret-from-stdin", typed="own-key\naccess-1\n")
        assert (ended.status, "the answer names no account" in ended.text) == (1, True), ended.text
        assert list(store.ids()) == []

    def test_a_kommo_that_cannot_be_reached_is_told_as_what_the_person_can_do(
        self, run: Run, environ: pytest.MonkeyPatch
    ) -> None:
        environ.setenv("KOMMO_API_BASE", "http://127.0.0.1:9")
        ended = run(*self.ARGUMENTS, "--secret-from-stdin", typed="own-key\naccess-1\n")
        assert (ended.status, "Repeat the command" in ended.text) == (1, True), ended.text
        assert "tried again" not in ended.text

    def test_a_token_of_another_account_is_not_stored(self, run: Run, store: Accounts) -> None:
        ended = run(*self.ARGUMENTS, "--account-id", "8", "--secret-from-stdin", typed="own-key\naccess-1\n")
        assert (ended.status, "belongs to account 7, not 8" in ended.text) == (1, True)
        assert list(store.ids()) == []

    def test_unchecked_it_asks_nobody_and_needs_the_number(
        self, run: Run, store: Accounts, server: TokenServer
    ) -> None:
        unchecked = (*self.ARGUMENTS, "--no-check", "--secret-from-stdin")
        assert "--no-check needs --account-id" in run(*unchecked, typed="own-key\nwrong\n").text
        assert run(*unchecked, "--account-id", "7", typed="own-key\nwrong\n").status == 0
        assert (found(store).access_token, server.webhooks) == ("wrong", [])

    def test_new_keys_make_a_stored_account_ready_and_its_writes_go_on(
        self, run: Run, store: Accounts, redis: Redis
    ) -> None:
        store.save(stored(installed_at=5))
        store.mark(7, "needs_person", "revoked")
        Parking(redis, Keys()).park(7, "token")
        run(*self.ARGUMENTS, "--secret-from-stdin", typed="key-two\naccess-1\n")
        account = found(store)
        assert (account.state, account.reason, account.installed_at) == ("ready", "", 5)
        assert (account.client_secret, account.previous_secret) == ("key-two", "own-key")
        assert Parking(redis, Keys()).state(7) is None

    def test_what_no_key_opens_any_more_can_be_added_anew(
        self, run: Run, store: Accounts, environ: pytest.MonkeyPatch
    ) -> None:
        store.save(stored())
        environ.setenv("KOMMO_TOKEN_KEYS", str(OLD_KEY))
        assert run(*self.ARGUMENTS, "--secret-from-stdin", typed="own-key\naccess-1\n").status == 0

    @pytest.mark.parametrize(
        ("variable", "value", "sentence"),
        [
            ("KOMMO_TOKEN_KEYS", "", "kommo accounts key"),
            ("REDIS_URL", "", "REDIS_URL is not set"),
            ("REDIS_URL", "unix:///nowhere/redis.sock", "Redis cannot do it now"),
        ],
    )
    def test_what_is_missing_is_a_sentence(
        self, run: Run, environ: pytest.MonkeyPatch, variable: str, value: str, sentence: str
    ) -> None:
        environ.setenv(variable, value)
        ended = run(*self.ARGUMENTS, "--secret-from-stdin", typed="own-key\naccess-1\n")
        assert (ended.status, sentence in ended.text) == (1, True), ended.text

    @pytest.mark.parametrize("typed", ["", "own-key\n", "own-key\nacce ss\n", "own\x07key\naccess-1\n"])
    def test_a_key_that_cannot_be_one_is_refused_unseen(self, run: Run, store: Accounts, typed: str) -> None:
        assert run(*self.ARGUMENTS, "--secret-from-stdin", typed=typed).status == 1
        assert list(store.ids()) == []

    def test_a_host_that_is_nobodys_account_is_refused_before_anything_is_typed(self, run: Run) -> None:
        ended = run("add", "--subdomain", "acme.example.org")
        assert (ended.status, "is no account" in ended.text) == (1, True)


class TestList:
    def test_every_account_is_a_row_with_its_state_and_its_times(
        self, run: Run, store: Accounts, redis: Redis, environ: pytest.MonkeyPatch
    ) -> None:
        now = int(time.time())
        store.save(stored())
        store.save(stored(account_id=8, subdomain="soon", refresh_token=Secret(), expires_at=now + 30 * 3600 + 60))
        store.save(stored(account_id=9, subdomain="over", refresh_token=Secret(), expires_at=now - 5))
        store.save(stored(account_id=10, subdomain="revoked"))
        store.mark(10, "needs_person", "Kommo has revoked the refresh token")
        store.save(stored(account_id=11, subdomain="gone"))
        store.mark(11, "disconnected", "taken out")
        Parking(redis, Keys()).park(7, "payment")
        Brakes(redis).slow([Scope("account:7", 100)], after=60)
        environ.setenv("KOMMO_ACCOUNT_ID", "5")
        environ.setenv("KOMMO_ACCESS_TOKEN", "opaque")
        ended = run("list")
        assert ended.status == 0
        rows = {row.split()[1]: row for row in ended.text.splitlines() if row.startswith("│")}
        assert list(rows) == ["7", "8", "9", "10", "11", "5"]
        assert "ready; writes wait (payment)" in rows["7"]
        assert "account 99 of 100 (paused" in rows["7"]
        assert time.strftime("%Y-%m-%d", time.gmtime(now + 90 * DAY)) in rows["7"]
        assert "(in 30 h)" in rows["8"]
        assert "long-lived" in rows["8"]
        assert "(ended)" in rows["9"]
        assert "needs a person: Kommo has revoked the refresh token" in rows["10"]
        assert "token not renewed" not in ended.text
        assert "disconnected: taken out" in rows["11"]
        assert "of the environment" in rows["5"]
        assert "not known" in rows["5"]

    @pytest.mark.parametrize(
        ("fault", "said"),
        [("Kommo does not accept client id and secret", "Kommo does not accept"), ("", "Kommo gave none 1 times")],
    )
    def test_a_token_that_cannot_be_renewed_is_told_though_the_account_is_ready(
        self, run: Run, store: Accounts, fault: str, said: str
    ) -> None:
        saved = store.save(stored())
        store.renewals.lock(saved, "a", lease_ms=5000)
        store.renewals.unlock(7, "a", backoff=Backoff(30, 600, fault=fault))
        (row,) = (line for line in run("list").text.splitlines() if line.startswith("│"))
        assert f"ready; token not renewed, again in 30 s: {said}" in row

    def test_a_record_that_no_key_opens_is_a_row_too(
        self, run: Run, store: Accounts, environ: pytest.MonkeyPatch
    ) -> None:
        store.save(stored())
        environ.setenv("KOMMO_TOKEN_KEYS", str(OLD_KEY))
        environ.setenv("COLUMNS", "1000")
        ended = run("list")
        assert (ended.status, "KOMMO_TOKEN_KEYS has no key" in ended.text) == (0, True)

    def test_without_accounts_it_says_how_to_get_one(self, run: Run) -> None:
        ended = run("list")
        assert (ended.status, "kommo accounts add" in ended.text) == (0, True)


class TestRemove:
    def test_it_forgets_the_account(self, run: Run, store: Accounts) -> None:
        store.save(stored())
        assert run("remove", "7", "--yes") == Ended(0, "Removed.\n")
        assert store.get(7) is None

    def test_it_asks_first(self, run: Run, store: Accounts) -> None:
        store.save(stored())
        assert run("remove", "7", typed="n\n").status == 1
        assert store.get(7) is not None

    def test_one_that_is_not_stored_is_told(self, run: Run) -> None:
        assert "account 7 is not stored" in run("remove", "7", "--yes").text


class TestKeys:
    def test_a_printed_key_is_one_to_use(self, run: Run) -> None:
        ended = run("key")
        assert Settings.from_environ({"KOMMO_TOKEN_KEYS": ended.text}).token_keys

    def test_all_are_encrypted_with_the_newest_so_that_the_old_one_can_go(
        self, run: Run, store: Accounts, environ: pytest.MonkeyPatch
    ) -> None:
        store.save(stored())
        environ.setenv("KOMMO_TOKEN_KEYS", f"{OLD_KEY},{KEY}")
        assert run("rotate-keys") == Ended(0, "Encrypted anew: 1 of 1 accounts.\n")
        environ.setenv("KOMMO_TOKEN_KEYS", str(OLD_KEY))
        assert "KOMMO_TOKEN_KEYS has no" not in run("list").text

    def test_one_that_no_key_opens_is_told_and_the_others_are_done(
        self, run: Run, store: Accounts, redis: Redis
    ) -> None:
        store.save(stored())
        store.save(stored(account_id=8))
        redis.hset(Keys().account(8).record, "sealed", b"of another key")
        ended = run("rotate-keys")
        assert ended.status == 1
        assert "Encrypted anew: 1 of 2" in ended.text
        assert "account 8" in ended.text


class TestRotate:
    def urls(self, *secrets: str) -> list[str]:
        return [webhook_url(PUBLIC, secret, "own-id", 7) for secret in secrets]

    def test_secret_tokens_and_address_change_in_this_order(
        self, run: Run, store: Accounts, server: TokenServer, redis: Redis
    ) -> None:
        store.save(stored())
        Parking(redis, Keys()).park(7, "token")
        ended = run("rotate", "7", "--secret-from-stdin", typed="key-two\n")
        assert ended.status == 0, ended.text
        assert [line.split()[0] for line in ended.text.splitlines()] == ["Stored", "Renewed", "Registered", "Removed"]
        new, old = self.urls("key-two", "own-key")
        assert server.webhooks == [("register", new), ("remove", old)]
        assert server.asked[0]["client_secret"] == "key-two"
        assert store.proof(7).secrets == ("key-two", "own-key")
        assert found(store).access_token == "access-2"

    def test_what_failed_and_what_is_left_is_told_and_the_command_can_be_repeated(
        self, run: Run, store: Accounts, server: TokenServer
    ) -> None:
        store.save(stored())
        server.instead = [(503, None)] * 3
        failed = run("rotate", "7", "--secret-from-stdin", typed="key-two\n")
        assert failed.status == 1
        assert "Stored the new secret" in failed.text
        assert "Left to do: renew the tokens; register the new address; remove the old address" in failed.text
        assert "tried again" not in failed.text[failed.text.index("not done") :]
        again = run("rotate", "7", "--secret-from-stdin", typed="key-two\n")
        assert again.status == 0, again.text
        assert "The secret is stored already." in again.text
        assert store.proof(7).secrets == ("key-two", "own-key")

    def test_an_account_that_kommo_has_revoked_is_told_to_install_again(
        self, run: Run, store: Accounts, server: TokenServer
    ) -> None:
        store.save(stored())
        server.instead = [REVOKED]
        ended = run("rotate", "7", "--secret-from-stdin", typed="key-two\n")
        assert (ended.status, "not done: renew the tokens" in ended.text) == (1, True)
        assert found(store).state == "needs_person"
        assert server.webhooks == []

    def test_a_long_lived_token_is_replaced_by_the_one_that_is_given(
        self, run: Run, store: Accounts, server: TokenServer
    ) -> None:
        store.save(stored(refresh_token=Secret()))
        token = long_lived(server, time.time() + 9 * DAY)
        ended = run("rotate", "7", "--secret-from-stdin", typed=f"key-two\n{token}\n")
        assert ended.status == 0, ended.text
        assert (found(store).access_token, server.asked) == (token, [])
        assert found(store).expires_at > time.time() + 8 * DAY

    def test_one_of_the_environments_integration_is_rotated_with_its_two_secrets(
        self, run: Run, store: Accounts, server: TokenServer, environ: pytest.MonkeyPatch
    ) -> None:
        store.save(stored(client_id="", client_secret=Secret()))
        for name, value in {"ID": "own-id", "SECRET": "key-two", "SECRET_PREVIOUS": "own-key"}.items():
            environ.setenv(f"KOMMO_CLIENT_{name}", value)
        ended = run("rotate", "7")
        assert ended.status == 0, ended.text
        new, old = self.urls("key-two", "own-key")
        assert server.webhooks == [("register", new), ("remove", old)]

    @pytest.mark.parametrize(
        ("given", "variable", "sentence"),
        [
            (None, "COLUMNS", "account 7 is not stored"),
            ({}, "KOMMO_PUBLIC_URL", "KOMMO_PUBLIC_URL is not set"),
        ],
    )
    def test_what_is_missing_is_told_before_anything_is_done(
        self,
        run: Run,
        store: Accounts,
        environ: pytest.MonkeyPatch,
        given: dict[str, object] | None,
        variable: str,
        sentence: str,
    ) -> None:
        if given is not None:
            store.save(stored())
        environ.delenv(variable)
        ended = run("rotate", "7", "--secret-from-stdin", typed="key-two\n")
        assert (ended.status, sentence in ended.text) == (1, True), ended.text
        assert given is None or found(store).client_secret == "own-key"


class TestDroppingThePreviousSecret:
    def test_the_old_address_goes_first_and_then_the_secret_is_accepted_no_longer(
        self, run: Run, store: Accounts, server: TokenServer
    ) -> None:
        store.save(stored(client_secret=Secret("key-two"), previous_secret=Secret("own-key")))
        ended = run("rotate", "7", "--drop-previous")
        assert ended.status == 0, ended.text
        assert [line.split()[0] for line in ended.text.splitlines()] == ["Removed", "The"]
        assert server.webhooks == [("remove", webhook_url(PUBLIC, "own-key", "own-id", 7))]
        assert store.proof(7).secrets == ("key-two",)
        assert (found(store).access_token, server.asked) == ("access-1", [])

    def test_where_there_is_none_nothing_is_removed(self, run: Run, store: Accounts, server: TokenServer) -> None:
        store.save(stored())
        ended = run("rotate", "7", "--drop-previous")
        assert (ended.status, "no previous secret" in ended.text, server.webhooks) == (0, True, [])
        assert store.proof(7).secrets == ("own-key",)

    def test_while_the_old_address_cannot_be_removed_it_goes_on_being_accepted(self, run: Run, store: Accounts) -> None:
        store.save(stored(previous_secret=Secret("key-two"), access_token=Secret("wrong"), refresh_token=Secret()))
        ended = run("rotate", "7", "--drop-previous")
        assert (ended.status, "Left to do: remove the old address; drop the previous" in ended.text) == (1, True)
        assert store.proof(7).secrets == ("own-key", "key-two")

    def test_that_of_the_environment_is_dropped_there(self, run: Run, store: Accounts) -> None:
        store.save(stored(client_id="", client_secret=Secret()))
        ended = run("rotate", "7", "--drop-previous")
        assert (ended.status, "KOMMO_CLIENT_SECRET_PREVIOUS" in ended.text) == (1, True)


class TestWebhooksOfAStoredAccount:
    def test_its_address_is_signed_with_its_own_secret(self, run: Run, store: Accounts, server: TokenServer) -> None:
        store.save(stored())
        own = webhook_url(PUBLIC, "own-key", "own-id", 7)
        assert run("url", "--account", "7", group=webhooks) == Ended(0, f"{own}\n")
        assert run("register", "--account", "7", group=webhooks).status == 0
        assert run("remove", "--account", "7", group=webhooks).status == 0
        assert server.webhooks == [("register", own), ("remove", own)]

    def test_one_that_nobody_knows_is_told(self, run: Run) -> None:
        assert "no secret is known for account 7" in run("url", "--account", "7", group=webhooks).text
