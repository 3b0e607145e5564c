"""An account's token: used while it is good, renewed aside, and waited for no longer than a call can."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from kommo.api.calls import Access, Caller
from kommo.api.doubt import may_be_done
from kommo.api.tokens import background
from kommo.api.tokens.access import AccountTokens
from kommo.api.transport import NOT_SENT, HttpTransport
from kommo.errors import (
    AccessEnded,
    ClientRefused,
    ServerError,
    Unauthorized,
    Unreachable,
)
from kommo.store.accounts import Accounts, Credentials
from kommo.store.keys import Keys
from kommo.store.renewals import Backoff, Lock
from kommo.store.server import PrivateServer
from kommo.variables import Secret
from tests.integration.api.renewing import (
    KEY,
    NOW,
    WRONG_CLIENT,
    Make,
    account,
    settings_for,
    stored,
)
from tests.integration.token_server import TokenServer
from tests.integration.workers.logs import Lines
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]
MAIN = threading.main_thread().name


class TestAccess:
    def test_a_token_with_most_of_its_life_left_is_given_without_a_call(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        assert tokens.access() == Access(server.url, "access-1")
        assert server.asked == []

    def test_one_that_has_ended_is_renewed_and_the_new_one_stored_before_it_is_given(
        self, make: Make, server: TokenServer
    ) -> None:
        tokens = make()
        tokens.accounts.save(account(expires_at=int(NOW), renewed_at=int(NOW) - 86_400))
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

    @pytest.mark.parametrize("in_background", [True, False])
    def test_one_that_has_ended_is_not_given(self, make: Make, server: TokenServer, in_background: bool) -> None:
        tokens = make(in_background=in_background)
        tokens.accounts.save(account(expires_at=int(NOW) - 1))
        server.instead = [(503, None)] * 3
        with pytest.raises(Unreachable, match="could not be renewed: 503") as caught:
            tokens.access()
        # Nothing was sent, so that no creation is looked for; and there is a time to come again.
        assert (caught.value.code, caught.value.after, may_be_done(caught.value)) == (NOT_SENT, 1.0, False)
        assert (stored(tokens).state, len(server.asked)) == ("ready", 3)

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
        for _ in range(2):
            with pytest.raises(ClientRefused, match="KOMMO_CLIENT_SECRET"):
                tokens.access()
        assert (stored(tokens).state, server.asked) == ("ready", [])
        assert make().access().token == "access-2", "it keeps no other process from renewing"

    @pytest.mark.parametrize("state", ["needs_person", "disconnected"])
    def test_an_account_that_needs_a_person_is_not_called(self, make: Make, server: TokenServer, state: Any) -> None:
        tokens = make()
        tokens.accounts.save(account(expires_at=int(NOW) - 1))
        tokens.accounts.mark(7, state, "somebody did something")
        for ask in (tokens.access, lambda: tokens.renewed(Access(server.url, "access-1"))):
            with pytest.raises(AccessEnded, match="somebody did something; nothing was sent"):
                ask()
        assert server.asked == []


class TestWhileATokenIsGood:
    @pytest.fixture
    def nearly_over(self, make: Make) -> AccountTokens[Any]:
        tokens = make()
        tokens.accounts.save(account(expires_at=int(NOW) + 200, renewed_at=int(NOW) - 86_200))
        return tokens

    def test_it_is_given_at_once_and_another_one_is_fetched_aside(
        self, nearly_over: AccountTokens[Any], server: TokenServer
    ) -> None:
        server.delay = 0.3
        began = time.monotonic()
        assert [nearly_over.access().token for _ in range(5)] == ["access-1"] * 5
        assert time.monotonic() - began < 0.3
        wait_for(lambda: stored(nearly_over).refresh_token == "refresh-2")
        assert nearly_over.access().token == "access-2"
        assert server.spent == ["refresh-1"]

    def test_a_hanging_endpoint_costs_no_call_its_time(
        self, nearly_over: AccountTokens[Any], server: TokenServer
    ) -> None:
        held = threading.Event()
        server.before_answer = lambda: held.wait(10) and None
        began = time.monotonic()
        try:
            assert [nearly_over.access().token for _ in range(20)] == ["access-1"] * 20
            assert time.monotonic() - began < 1
        finally:
            held.set()
        wait_for(lambda: stored(nearly_over).refresh_token == "refresh-2")
        assert len(server.asked) == 1

    @pytest.mark.parametrize(
        "answer",
        [(503, None), None, (200, b"{"), WRONG_CLIENT, (402, {"title": "Payment Required"}), (400, {"hint": "x"})],
        ids=["down", "nothing", "cut off", "wrong client", "not paid", "bad request"],
    )
    def test_no_failure_of_its_renewal_is_a_failure_of_a_call_and_it_is_tried_once_and_not_at_once_again(
        self, nearly_over: AccountTokens[Any], server: TokenServer, answer: Any
    ) -> None:
        server.instead = [answer] * 9
        assert nearly_over.access().token == "access-1"
        wait_for(lambda: nearly_over.accounts.renewals.pause(7))
        assert [nearly_over.access().token for _ in range(5)] == ["access-1"] * 5
        assert (server.spent, stored(nearly_over).state) == (["refresh-1"], "ready")

    def test_what_came_of_a_renewal_aside_is_told(
        self, nearly_over: AccountTokens[Any], server: TokenServer, lines: Lines
    ) -> None:
        server.instead = [(503, None)]
        nearly_over.access()
        wait_for(lambda: lines.saying("token not renewed, again with the same"))

    @pytest.mark.usefixtures("nearly_over")
    def test_a_process_without_the_client_uses_it_and_leaves_the_renewal_to_others(
        self, make: Make, server: TokenServer, redis: Redis
    ) -> None:
        assert make({"client_secret": Secret()}).access().token == "access-1"
        assert (server.asked, redis.exists(Keys().account(7).lock)) == ([], 0)

    def test_nobody_waits_for_another_process(self, nearly_over: AccountTokens[Any], server: TokenServer) -> None:
        nearly_over.accounts.renewals.lock(stored(nearly_over), "another", lease_ms=60_000)
        assert nearly_over.access().token == "access-1"
        assert server.asked == []

    @pytest.mark.usefixtures("nearly_over")
    def test_a_process_that_soon_ends_begins_nothing_of_its_own(self, make: Make, server: TokenServer) -> None:
        assert make(in_background=False).access().token == "access-1"
        assert server.asked == []

    def test_where_no_thread_can_begin_it_is_used_all_the_same(
        self, nearly_over: AccountTokens[Any], redis: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_thread(*_: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(background, "begin", no_thread)
        assert nearly_over.access().token == "access-1"
        assert redis.exists(Keys().account(7).lock) == 0

    def test_a_fault_in_the_thread_is_told_and_others_can_go_on(
        self, nearly_over: AccountTokens[Any], lines: Lines
    ) -> None:
        def fault() -> float:
            raise ZeroDivisionError

        broken = replace(nearly_over, clock=lambda: NOW if threading.current_thread().name == MAIN else fault())
        assert broken.access().token == "access-1"
        wait_for(lambda: lines.saying("renewal failed"))
        assert nearly_over.accounts.renewals.pause(7) is not None


class TestOnceATokenHasEnded:
    def over(self, tokens: AccountTokens[Any]) -> AccountTokens[Any]:
        tokens.accounts.save(account(expires_at=int(NOW)))
        return tokens

    def test_a_call_waits_for_so_long_and_the_renewal_goes_on(self, make: Make, server: TokenServer) -> None:
        tokens = self.over(make(wait=0.2))
        held = threading.Event()
        server.before_answer = lambda: held.wait(10) and None
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"within 0.2 s") as caught:
            tokens.access()
        assert time.monotonic() - began < 2
        assert (caught.value.code, caught.value.after) == (NOT_SENT, 1.0)
        held.set()
        wait_for(lambda: stored(tokens).refresh_token == "refresh-2")
        assert (tokens.access().token, len(server.asked)) == ("access-2", 1)

    def test_a_pause_that_is_longer_than_the_wait_is_told_at_once(self, make: Make, server: TokenServer) -> None:
        tokens = self.over(make())
        self.fail(tokens, Backoff(45, 60))
        with pytest.raises(Unreachable, match="not be renewed 1 times") as caught:
            tokens.access()
        assert caught.value.after == pytest.approx(45, abs=1)
        assert server.asked == []

    def test_a_short_pause_is_waited_for(self, make: Make) -> None:
        tokens = self.over(make())
        self.fail(tokens, Backoff(0.2, 60))
        assert tokens.access().token == "access-2"

    def test_who_is_in_charge_of_it_need_not_wait_for_the_pause(self, make: Make) -> None:
        tokens = self.over(make())
        self.fail(tokens, Backoff(45, 60, fault="Kommo does not accept client id and secret"))
        assert tokens.renew().access_token == "access-2"
        assert tokens.accounts.renewals.pause(7) is None

    def test_the_pause_grows_while_kommo_gives_none(self, make: Make, server: TokenServer) -> None:
        tokens = self.over(make())
        server.instead = [(503, None)] * 12
        pauses = []
        for _ in range(4):
            with pytest.raises(ServerError):
                tokens.renew()
            pause = tokens.accounts.renewals.pause(7)
            assert pause is not None
            pauses.append(round(pause.seconds))
        assert pauses == [1, 2, 4, 8]

    def fail(self, tokens: AccountTokens[Any], backoff: Backoff) -> None:
        # As a process with the same keys would have left it.
        renewal = tokens._renewal()
        assert renewal.take(stored(tokens)) is Lock.HELD
        mark = renewal._mark_of_client(stored(tokens)) if backoff.fault else ""
        renewal.leave(backoff=replace(backoff, client=mark))


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


CHILD = """
import os, time
from kommo.api.calls import Access
from kommo.api.transport import NOT_SENT, HttpTransport
from kommo.settings import Settings
from kommo.store.connection import connect
from tests.integration.api.renewing import NOW, compose
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
