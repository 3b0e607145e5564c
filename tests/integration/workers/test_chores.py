"""What is done by the clock for tokens: idle ones are renewed, those that nothing renews are warned of."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kommo.api.oauth import TOKEN_PATH
from kommo.errors import StoreUnavailable
from kommo.store.account import Account
from kommo.store.accounts import Accounts
from kommo.store.server import PrivateServer
from kommo.store.vault import new_key
from kommo.variables import Secret
from tests.integration.token_server import TokenServer, serving
from tests.integration.workers.logs import Lines
from tests.integration.workers.working import ACCOUNT, MakeWorker
from workers import chores
from workers.runtime import Runtime

ROOT = Path(__file__).parents[3]
DAY = 86_400
KEY = new_key()


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with serving() as server:
        yield server


@pytest.fixture
def runtime(worker: MakeWorker, server: TokenServer) -> Runtime:
    """A worker's parts with stored accounts."""
    made = worker(
        token_keys=(KEY,), client_secret=Secret("s"), api_base=server.url, account_id=None, access_token=Secret()
    ).runtime
    made.accounts = Accounts(made.settings, made.redis, made.keys)
    return made


def save(runtime: Runtime, account_id: int = 7, **given: Any) -> None:
    now = int(time.time())
    known: dict[str, Any] = {
        "access_token": Secret("access-1"),
        "refresh_token": Secret("refresh-1"),
        "expires_at": now - 29 * DAY,
        "renewed_at": now - 31 * DAY,
    }
    runtime.accounts.save(Account(account_id=account_id, subdomain="acme", **{**known, **given}))


def jwt(ends: float) -> Secret:
    body = base64.urlsafe_b64encode(json.dumps({"exp": int(ends)}).encode()).decode()
    return Secret(f"e30.{body}.c2ln")


def test_beat_asks_for_nothing_that_no_worker_knows(redis_server: PrivateServer) -> None:
    code = (
        "from workers.app import app; app.loader.import_default_modules(); rows = app.conf.beat_schedule.values(); "
        "print(*(row['task'] in app.tasks and row['options']['expires'] == row['schedule'] for row in rows))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "REDIS_URL": redis_server.url},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    answers = done.stdout.split()
    assert set(answers) == {"True"}
    assert len(answers) >= 2


class TestRenewing:
    def test_a_pair_that_nobody_has_renewed_for_a_month_is_renewed(self, runtime: Runtime, server: TokenServer) -> None:
        save(runtime)
        assert chores.renew_tokens(runtime) == 1
        after = runtime.accounts.get(7)
        assert after is not None
        assert after.refresh_token == "refresh-2"
        assert after.refresh_expires_at > time.time() + 89 * DAY
        assert chores.renew_tokens(runtime) == 0
        assert server.spent == ["refresh-1"]

    @pytest.mark.parametrize(
        "given",
        [
            {"renewed_at": int(time.time()) - 29 * DAY},
            {"refresh_token": Secret()},
            {"state": "needs_person"},
            {"state": "disconnected"},
        ],
        ids=["lately", "long-lived", "needs a person", "disconnected"],
    )
    def test_others_are_left_alone(self, runtime: Runtime, server: TokenServer, given: dict[str, Any]) -> None:
        save(runtime, **given)
        assert chores.renew_tokens(runtime) == 0
        assert server.asked == []

    def test_the_oldest_come_first_and_a_few_in_one_go(
        self, runtime: Runtime, server: TokenServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(chores, "RENEWED_AT_ONCE", 2)
        for number, days in enumerate((40, 60, 50), start=1):
            save(runtime, number, renewed_at=int(time.time()) - days * DAY, refresh_token=Secret(f"of-{number}"))
        server.instead = [(401, {"hint": "Token has been revoked"})] * 3
        chores.renew_tokens(runtime)
        assert server.spent == ["of-2", "of-3"]

    def test_those_that_fail_for_good_do_not_keep_the_others_from_their_turn(
        self, runtime: Runtime, server: TokenServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(chores, "RENEWED_AT_ONCE", 2)
        for number, days in ((1, 80), (2, 70), (7, 40)):
            save(runtime, number, renewed_at=int(time.time()) - days * DAY, refresh_token=Secret(f"of-{number}"))
        server.instead = [(402, {"title": "Payment Required"})] * 4
        for tried in (["of-1", "of-2"], ["of-7", "of-1"]):
            server.asked.clear()
            chores.renew_tokens(runtime)
            assert sorted(server.spent) == sorted(tried)

    def test_one_whose_client_no_worker_has_does_not_keep_the_others_either(
        self, runtime: Runtime, server: TokenServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(chores, "RENEWED_AT_ONCE", 1)
        save(runtime, 1, renewed_at=int(time.time()) - 80 * DAY, client_id="of another integration")
        save(runtime, 7)
        assert [chores.renew_tokens(runtime), chores.renew_tokens(runtime)] == [0, 1]
        assert server.spent == ["refresh-1"]

    def test_one_that_fails_does_not_keep_the_others(self, runtime: Runtime, server: TokenServer, lines: Lines) -> None:
        save(runtime, 1, renewed_at=int(time.time()) - 80 * DAY)
        save(runtime, 7)
        server.instead = [(401, {"hint": "Token has been revoked"})]
        assert chores.renew_tokens(runtime) == 1
        (line,) = lines.saying("idle token not renewed")
        assert line["account"] == 1
        assert TOKEN_PATH in line["error"]
        assert "refresh-1" not in lines.text

    def test_one_that_no_key_opens_does_not_keep_the_others(self, runtime: Runtime, lines: Lines) -> None:
        save(runtime, 1)
        runtime.redis.hset(runtime.keys.account(1).record, "sealed", b"of another key")
        save(runtime, 7)
        assert chores.renew_tokens(runtime) == 1
        assert lines.saying("account cannot be opened")[0]["account"] == 1

    def test_a_worker_that_stops_renews_no_more(self, runtime: Runtime, server: TokenServer) -> None:
        save(runtime)
        runtime.stopping.set()
        assert (chores.renew_tokens(runtime), server.asked) == (0, [])

    def test_a_redis_that_is_away_ends_the_chore(self, runtime: Runtime, server: TokenServer) -> None:
        save(runtime)
        runtime.redis.config_set("maxmemory", "1")
        try:
            with pytest.raises(StoreUnavailable):
                chores.renew_tokens(runtime)
        finally:
            runtime.redis.config_set("maxmemory", "0")
        assert server.asked == []


class TestWarnings:
    def test_a_long_lived_token_is_warned_of_once_a_day_in_its_last_48_hours(
        self, runtime: Runtime, lines: Lines
    ) -> None:
        save(runtime, refresh_token=Secret(), expires_at=int(time.time()) + 47 * 3600)
        save(runtime, 8, refresh_token=Secret(), expires_at=int(time.time()) + 49 * 3600)
        save(runtime, 9, refresh_token=Secret(), expires_at=0)
        save(runtime, 10)
        assert [chores.warn_of_ends(runtime), chores.warn_of_ends(runtime)] == [1, 0]
        (line,) = lines.saying("long-lived token ends: make a new one in Kommo")
        assert (line["level"], line["account"], line["ends"][:2]) == ("warning", 7, "20")

    def test_that_of_the_environment_is_warned_of_too(self, worker: MakeWorker, lines: Lines) -> None:
        made = worker(access_token=jwt(time.time() + 3600)).runtime
        made.accounts = Accounts(made.settings, made.redis, made.keys)
        assert chores.warn_of_ends(made) == 1
        assert lines.all[-1]["account"] == ACCOUNT
        assert "eyJ" not in lines.text

    def test_one_that_says_nothing_of_its_end_is_never_warned_of(self, worker: MakeWorker) -> None:
        made = worker(access_token=Secret("no-jwt")).runtime
        made.accounts = Accounts(made.settings, made.redis, made.keys)
        assert chores.warn_of_ends(made) == 0
