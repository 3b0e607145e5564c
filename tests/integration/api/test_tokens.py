"""An account's token: renewed once for all, never lost, and never by two at once."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from redis import Redis

from kommo.api.calls import Access, Caller
from kommo.api.oauth import OAuth
from kommo.api.tokens import renewal
from kommo.api.tokens.access import AccountTokens
from kommo.api.transport import HttpTransport
from kommo.api.ways import Ways
from kommo.errors import (
    AccessEnded,
    PaymentRequired,
    ServerError,
    StoreUnavailable,
    TryLater,
    Unauthorized,
    Unreachable,
)
from kommo.settings import Settings
from kommo.store.account import Account
from kommo.store.accounts import Accounts, Credentials
from kommo.store.brakes import Brakes
from kommo.store.keys import Keys
from kommo.store.limiter import Limiter
from kommo.store.parking import Parking
from kommo.store.server import PrivateServer
from kommo.store.vault import new_key
from kommo.variables import Secret
from tests.integration.token_server import TokenServer, serving
from tests.integration.workers.logs import Lines, logged
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]
KEY = new_key()
NOW = 1_800_000_000.0
REVOKED = (401, {"hint": "Token has been revoked", "title": "x", "status": 401})
WRONG_CLIENT = (401, {"title": "Wrong client", "status": 401})
Make = Callable[..., AccountTokens[Any]]


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with serving() as server:
        yield server


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


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


@pytest.fixture
def make(redis: Redis, server: TokenServer) -> Iterator[Make]:
    """Make the tokens of account 7, as another process would have them."""
    with HttpTransport() as transport:
        yield lambda given=None, **more: compose(
            redis, settings_for(server, **(given or {})), transport, **{"clock": lambda: NOW, "sleep": soon, **more}
        )


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


class TestAccess:
    def test_a_token_with_most_of_its_life_left_is_given_without_a_call(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        assert tokens.access() == Access(server.url, "access-1")
        assert server.asked == []

    def test_one_that_is_nearly_over_is_renewed_and_stored_before_it_is_given(
        self, make: Make, server: TokenServer
    ) -> None:
        tokens = make()
        tokens.accounts.save(account(expires_at=int(NOW) + 200, renewed_at=int(NOW) - 86_200))
        assert tokens.access().token == "access-2"
        after = stored(tokens)
        assert (after.access_token, after.refresh_token) == ("access-2", "refresh-2")
        assert (after.expires_at, after.renewed_at) == (NOW + 86_400, NOW)
        assert after.refresh_expires_at == NOW + 90 * 86_400
        assert server.asked == [
            {
                "client_id": "client",
                "client_secret": "client-secret",
                "grant_type": "refresh_token",
                "refresh_token": "refresh-1",
                "redirect_uri": "",
            }
        ]

    def test_an_account_with_its_own_integration_is_renewed_with_that(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        own = {"client_id": "own", "client_secret": Secret("own-secret"), "redirect_uri": "https://own.example/cb"}
        tokens.accounts.save(account(expires_at=int(NOW), **own))
        tokens.access()
        (asked,) = server.asked
        assert (asked["client_id"], asked["client_secret"]) == ("own", "own-secret")
        assert asked["redirect_uri"] == "https://own.example/cb"

    def test_while_the_old_one_is_good_it_serves_though_kommo_gives_no_new_one(
        self, make: Make, server: TokenServer
    ) -> None:
        tokens = make()
        tokens.accounts.save(account(expires_at=int(NOW) + 60))
        server.instead = [(503, None)] * 3
        assert tokens.access().token == "access-1"
        assert server.spent == ["refresh-1"] * 3

    def test_while_the_old_one_is_good_nobody_waits_for_another_process(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        saved = tokens.accounts.save(account(expires_at=int(NOW) + 60))
        tokens.accounts.lock(saved, "another", lease_ms=60_000)
        assert tokens.access().token == "access-1"
        assert server.asked == []

    def test_one_that_has_ended_is_not_given(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account(expires_at=int(NOW) - 1))
        server.instead = [(503, None)] * 3
        with pytest.raises(ServerError):
            tokens.access()
        assert stored(tokens).state == "ready"

    def test_a_long_lived_token_is_given_whatever_its_date(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account(refresh_token=Secret(), expires_at=int(NOW) - 5))
        assert tokens.access().token == "access-1"
        assert server.asked == []

    def test_the_account_of_the_environment_needs_no_store(self, make: Make, server: TokenServer, redis: Redis) -> None:
        tokens = make({"account_id": 7, "subdomain": "acme", "access_token": Secret("from-env"), "token_keys": ()})
        assert tokens.access() == Access(server.url, "from-env")
        assert tokens.renewed(Access(server.url, "from-env")) is None
        assert redis.keys() == []

    def test_an_account_that_nobody_knows_is_told_with_the_remedy(self, make: Make) -> None:
        with pytest.raises(Unauthorized, match="kommo accounts add"):
            make().access()

    def test_a_client_that_this_process_lacks_is_no_reason_to_give_the_account_up(
        self, make: Make, server: TokenServer
    ) -> None:
        tokens = make({"client_secret": Secret()})
        tokens.accounts.save(account(expires_at=int(NOW) - 1))
        with pytest.raises(Unauthorized, match="KOMMO_CLIENT_SECRET"):
            tokens.access()
        assert (stored(tokens).state, server.asked) == ("ready", [])

    @pytest.mark.parametrize("state", ["needs_person", "disconnected"])
    def test_an_account_that_needs_a_person_is_not_called(self, make: Make, server: TokenServer, state: Any) -> None:
        tokens = make()
        tokens.accounts.save(account(expires_at=int(NOW) - 1))
        tokens.accounts.mark(7, state, "somebody did something")
        for ask in (tokens.access, lambda: tokens.renewed(Access(server.url, "access-1"))):
            with pytest.raises(AccessEnded, match="somebody did something; nothing was sent"):
                ask()
        assert server.asked == []


class TestARefusedToken:
    def test_it_is_renewed(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        assert tokens.renewed(Access(server.url, "access-1")) == Access(server.url, "access-2")

    def test_one_that_was_renewed_meanwhile_is_not_renewed_again(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account(access_token=Secret("access-9"), refresh_token=Secret("refresh-9")))
        assert tokens.renewed(Access(server.url, "access-1")) == Access(server.url, "access-9")
        assert server.asked == []

    def test_one_that_is_new_and_yet_refused_is_not_renewed_for_ever(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        fresh = tokens.renewed(Access(server.url, "access-1"))
        assert fresh is not None
        assert tokens.renewed(fresh) is None
        assert (len(server.asked), len(server.questions)) == (1, 1)

    def test_a_long_lived_one_is_only_given_up_when_its_own_date_says_so_too(self, make: Make, lines: Lines) -> None:
        tokens = make()
        refused = Access(tokens.api_base_override, "access-1")
        tokens.accounts.save(account(refresh_token=Secret(), expires_at=int(NOW) + 5))
        assert (tokens.renewed(refused), stored(tokens).state) == (None, "ready")
        tokens.accounts.save(account(refresh_token=Secret(), expires_at=int(NOW) - 5))
        assert (tokens.renewed(refused), stored(tokens).state) == (None, "needs_person")
        assert len(lines.saying("account needs a person")) == 1

    def test_the_whole_call_works_the_second_time(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account(access_token=Secret("access-0")))
        way = tokens.oauth._turnstile(Credentials(7, "client", "acme", Secret()))
        with HttpTransport() as transport:
            assert Caller(tokens, transport, way)("GET", "/api/v4/account") == {"id": 7}
        assert server.spent == ["refresh-1"]


class TestWhatKommoAnswers:
    @pytest.mark.parametrize(
        "lost",
        [None, (500, {"title": "x"}), (502, b"<html>"), (200, b"{"), (200, {"access_token": "half"}), (200, b"[]")],
        ids=["nothing", "500", "a page", "cut off", "half a pair", "no pair"],
    )
    def test_the_same_refresh_token_is_sent_again_when_no_answer_came(
        self, make: Make, server: TokenServer, lost: Any
    ) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead = [lost]
        tokens.renew()
        assert server.spent == ["refresh-1", "refresh-1"]
        assert stored(tokens).refresh_token == "refresh-2"

    def test_after_three_answers_that_did_not_come_it_stays_what_it_was(
        self, make: Make, server: TokenServer, redis: Redis
    ) -> None:
        tokens = make()
        saved = tokens.accounts.save(account())
        server.instead = [None] * 3
        with pytest.raises(Unreachable):
            tokens.renew()
        assert stored(tokens) == saved
        # Others hold off for a moment instead of doing the same at once.
        assert 0 < redis.pttl(Keys().account(7).lock) <= 1000

    def test_a_429_is_not_answered_with_more_calls(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead = [(429, {"retry_after": 30})]
        with pytest.raises(TryLater):
            tokens.renew()
        assert len(server.asked) == 1

    def test_a_subscription_that_has_ended_is_no_revoked_token(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead = [(402, {"title": "Payment Required"})]
        with pytest.raises(PaymentRequired):
            tokens.renew()
        assert stored(tokens).state == "ready"

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (REVOKED, "revoked the refresh token"),
            (WRONG_CLIENT, "does not accept client id and secret"),
            ((400, {"hint": "Cannot decrypt the refresh token"}), "refused to renew"),
            ((404, None), "no longer at its address"),
        ],
        ids=["revoked", "wrong client", "bad request", "not there"],
    )
    def test_a_refused_refresh_token_needs_a_person_is_told_once_and_costs_no_more_calls(
        self, make: Make, server: TokenServer, lines: Lines, answer: Any, reason: str
    ) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead = [answer]
        with pytest.raises(AccessEnded, match=reason):
            tokens.renew()
        for _ in range(3):
            with pytest.raises(AccessEnded, match=reason):
                tokens.access()
        assert len(server.asked) == 1
        assert (stored(tokens).state, reason in stored(tokens).reason) == ("needs_person", True)
        (line,) = lines.saying("account needs a person")
        assert (line["level"], line["account"]) == ("error", 7)
        assert "refresh-1" not in lines.text
        assert "client-secret" not in lines.text

    def test_those_who_waited_for_that_answer_do_not_ask_for_it_again(self, make: Make, server: TokenServer) -> None:
        make().accounts.save(account())
        server.instead, server.delay = [REVOKED] * 8, 0.3
        refused: list[AccessEnded] = []

        def ask(tokens: AccountTokens[Any]) -> None:
            with pytest.raises(AccessEnded) as caught:
                tokens.renewed(Access(server.url, "access-1"))
            refused.append(caught.value)

        threads = [threading.Thread(target=ask, args=(make(),)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(refused), len(server.asked)) == (8, 1)

    def test_a_long_pause_that_kommo_wants_is_not_waited_for(self, make: Make, server: TokenServer) -> None:
        slept: list[float] = []
        tokens = make(sleep=slept.append)
        tokens.accounts.save(account())
        server.instead = [(503, {"retry_after": 3600})]
        with pytest.raises(ServerError):
            tokens.renew()
        assert (len(server.asked), slept) == (1, [])

    def test_a_new_installation_makes_it_ready(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead = [REVOKED]
        with pytest.raises(AccessEnded):
            tokens.renew()
        tokens.accounts.save(account(access_token=Secret("access-5")))
        assert tokens.access().token == "access-5"

    def test_a_revoked_token_that_somebody_has_replaced_meanwhile_is_nobodys_trouble(
        self, make: Make, server: TokenServer
    ) -> None:
        tokens = make()
        tokens.accounts.save(account(refresh_token=Secret("refresh-0")))
        newer = account(access_token=Secret("access-8"), refresh_token=Secret("refresh-8"))
        server.delay = 0.3
        installing = threading.Timer(0.1, lambda: tokens.accounts.save(newer))
        installing.start()
        assert tokens.renew().access_token == "access-8"
        installing.join()
        assert stored(tokens).state == "ready"


class TestARenamedAccount:
    NAME = MappingProxyType({"id": 7, "subdomain": "newname", "domain": "newname.kommo.com", "top_level_domain": "com"})

    @pytest.mark.parametrize(
        "answer", [(404, None), WRONG_CLIENT, (301, None)], ids=["not there", "unknown client", "redirect"]
    )
    def test_it_is_asked_for_its_name_and_renewed_under_it_with_the_same_token(
        self, make: Make, server: TokenServer, answer: Any
    ) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead, server.name = [answer], dict(self.NAME)
        tokens.renew()
        assert (stored(tokens).subdomain, stored(tokens).access_token) == ("newname.kommo.com", "access-2")
        assert (server.questions, server.spent) == (["refresh-1"], ["refresh-1", "refresh-1"])

    def test_an_answer_lost_after_the_new_name_is_asked_for_again_under_it(
        self, make: Make, server: TokenServer
    ) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead, server.name = [(404, None), None], dict(self.NAME)
        tokens.renew()
        assert (stored(tokens).subdomain, stored(tokens).refresh_token) == ("newname.kommo.com", "refresh-2")

    @pytest.mark.parametrize(
        "name",
        [
            {"id": 8, "subdomain": "other", "domain": "other.kommo.com"},
            {"id": 7, "subdomain": "evil", "domain": "evil.example"},
            {"id": 7, "subdomain": "evil.example/", "domain": "kommo.com"},
            {},
            [],
        ],
        ids=["another account", "another domain", "a path", "nothing", "a list"],
    )
    def test_a_name_that_cannot_be_its_own_is_not_followed(self, make: Make, server: TokenServer, name: Any) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead, server.name = [(404, None)], name
        with pytest.raises(AccessEnded):
            tokens.renew()
        assert (stored(tokens).subdomain, len(server.asked)) == ("acme", 1)

    def test_a_fresh_token_that_is_answered_with_a_redirect_leads_to_the_new_name(
        self, make: Make, server: TokenServer
    ) -> None:
        tokens = make()
        tokens.accounts.save(account(renewed_at=int(NOW) - 1))
        server.name = dict(self.NAME)
        tokens.renewed(Access(server.url, "access-1"))
        assert (stored(tokens).subdomain, server.asked) == ("newname.kommo.com", [])


class TestKeepingThePair:
    """Redis is full from the moment that Kommo has answered, so nothing can be stored."""

    @pytest.fixture
    def full(self, redis: Redis, server: TokenServer) -> Iterator[Redis]:
        server.before_answer = lambda: redis.config_set("maxmemory", "1")
        yield redis
        redis.config_set("maxmemory", "0")

    def test_it_is_stored_as_soon_as_redis_can_again(self, make: Make, full: Redis, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        room = threading.Timer(0.5, lambda: full.config_set("maxmemory", "0"))
        room.start()
        assert tokens.renew().access_token == "access-2"
        room.join()
        assert (stored(tokens).refresh_token, len(server.asked)) == ("refresh-2", 1)

    def test_whoever_called_does_not_wait_for_ever_and_the_pair_is_not_lost(
        self, make: Make, full: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(renewal, "_STORE_SECONDS", 0.0)
        tokens = make()
        tokens.accounts.save(account())
        with pytest.raises(StoreUnavailable):
            tokens.renew()
        assert stored(tokens).refresh_token == "refresh-1"
        full.config_set("maxmemory", "0")
        wait_for(lambda: stored(tokens).refresh_token == "refresh-2")

    def test_it_also_mends_what_another_process_took_for_a_revoked_token(
        self, make: Make, full: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(renewal, "_STORE_SECONDS", 0.0)
        kept = threading.Event()
        mine = make(sleep=lambda _: kept.wait(10) and None)
        mine.accounts.save(account())
        with pytest.raises(StoreUnavailable):
            mine.renew()
        full.config_set("maxmemory", "0")
        full.delete(Keys().account(7).lock)
        with pytest.raises(AccessEnded):
            make().renew()
        assert stored(mine).state == "needs_person"
        kept.set()
        wait_for(lambda: stored(mine).refresh_token == "refresh-2")
        assert (stored(mine).state, make().access().token) == ("ready", "access-2")


class TestLateProcesses:
    def test_a_late_answer_does_not_replace_a_newer_pair(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        newer = account(access_token=Secret("access-8"), refresh_token=Secret("refresh-8"))
        server.before_answer = lambda: tokens.accounts.save(newer) and None
        assert tokens.renew().access_token == "access-8"
        assert stored(tokens).refresh_token == "refresh-8"

    def test_a_change_of_something_else_does_not_cost_the_pair(
        self, make: Make, redis: Redis, server: TokenServer
    ) -> None:
        tokens = make()
        tokens.accounts.save(account())

        def change() -> None:
            # As after a lease that has run out: the change could come in between.
            redis.delete(Keys().account(7).lock)
            tokens.accounts.update(replace(stored(tokens), previous_secret=Secret("older")))

        server.before_answer = change
        tokens.renew()
        assert (stored(tokens).refresh_token, stored(tokens).previous_secret) == ("refresh-2", "older")

    def test_an_account_that_was_removed_meanwhile_stays_away(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.before_answer = lambda: tokens.accounts.remove(7) and None
        with pytest.raises(AccessEnded, match="removed"):
            tokens.renew()
        assert tokens.accounts.get(7) is None

    def test_who_waits_in_vain_is_told_so(self, make: Make, server: TokenServer) -> None:
        tokens = make(wait=0.2)
        saved = tokens.accounts.save(account())
        tokens.accounts.lock(saved, "another", lease_ms=60_000)
        with pytest.raises(Unreachable, match="another process renews"):
            tokens.renewed(Access(server.url, "access-1"))
        assert server.asked == []


CHILD = """
import os, time
from kommo.api.calls import Access
from kommo.api.transport import HttpTransport
from kommo.settings import Settings
from kommo.store.connection import connect
from tests.integration.api.test_tokens import NOW, compose
redis, settings = connect(os.environ["REDIS_URL"]), Settings.from_environ(os.environ)
tokens = compose(redis, settings, HttpTransport(), lease=float(os.environ["LEASE"]), clock=lambda: NOW)
redis.incr("waiting")
while not redis.exists("go"):
    time.sleep(0.005)
print(tokens.renewed(Access(settings.api_base, "access-1")).token)
"""


class TestProcesses:
    @pytest.fixture
    def start(
        self, redis_server: PrivateServer, redis: Redis, server: TokenServer
    ) -> Iterator[Callable[..., list[subprocess.Popen[str]]]]:
        """Start processes that renew as soon as the key `go` is there."""
        running: list[subprocess.Popen[str]] = []
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": redis_server.url,
            "KOMMO_CLIENT_ID": "client",
            "KOMMO_CLIENT_SECRET": "client-secret",
            "KOMMO_TOKEN_KEYS": str(KEY),
            "KOMMO_API_BASE": server.url,
            "KOMMO_RATE_LIMITS": "integration=500,account=500,ip=500",
        }

        def begin(number: int, *, lease: float = 40.0) -> list[subprocess.Popen[str]]:
            new = [
                subprocess.Popen(
                    [sys.executable, "-c", CHILD],
                    cwd=ROOT,
                    env={**environ, "LEASE": str(lease)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for _ in range(number)
            ]
            running.extend(new)
            wait_for(lambda: int(redis.get("waiting") or 0) >= len(running), seconds=60)
            return new

        yield begin
        for process in running:
            process.kill()
            process.communicate()

    def test_eight_processes_at_once_make_exactly_one_call(
        self, start: Callable[..., list[subprocess.Popen[str]]], redis: Redis, server: TokenServer
    ) -> None:
        Accounts(settings_for(server), redis).save(account())
        server.delay = 1.0
        processes = start(8)
        redis.set("go", 1)
        said = [process.communicate(timeout=30) for process in processes]
        assert [out.split()[-1] for out, _ in said] == ["access-2"] * 8, said
        assert server.spent == ["refresh-1"]

    def test_when_the_one_that_renews_is_killed_another_takes_over_with_the_same_token(
        self, start: Callable[..., list[subprocess.Popen[str]]], redis: Redis, server: TokenServer
    ) -> None:
        Accounts(settings_for(server), redis).save(account())
        server.instead, server.delay = [None], 2.0
        (dies,) = start(1, lease=1.5)
        redis.set("go", 1)
        wait_for(lambda: server.asked)
        dies.send_signal(signal.SIGKILL)
        (lives,) = start(1, lease=1.5)
        out, errors = lives.communicate(timeout=30)
        assert out.split()[-1:] == ["access-2"], errors
        assert server.spent == ["refresh-1", "refresh-1"]
