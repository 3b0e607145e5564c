"""`kommo backfill`: a person asks for what no webhook has told."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from kommo.errors import SettingsError
from kommo.store.gaps import Gaps
from kommo.store.inbox import Inbox
from kommo.store.keys import Keys
from kommo.store.limiter import Limiter
from kommo.store.server import PrivateServer
from sandbox import Sandbox
from sandbox.control.commands import run as happen
from tests.integration.workers.logs import logging_restored
from tests.integration.workers.working import ACCOUNT
from workers.cli.backfill import backfill

Run = Callable[..., Result]


@pytest.fixture
def run(redis_server: PrivateServer, redis: Redis, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    for name, value in {
        "REDIS_URL": redis_server.url,
        "KOMMO_ACCOUNT_ID": str(ACCOUNT),
        "KOMMO_ACCESS_TOKEN": box.token,
        "KOMMO_API_BASE": box.url,
        "KOMMO_RATE_LIMITS": "integration=1000,account=1000,ip=1000",
    }.items():
        monkeypatch.setenv(name, value)
    with logging_restored():
        yield lambda *arguments: CliRunner().invoke(backfill, arguments)


def inbox(redis: Redis) -> list[bytes]:
    return [entry.delivery.body for entry in Inbox(redis, Keys()).read(ACCOUNT, after="0-0", limit=100)]


@pytest.fixture
def company(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A company that was made ten minutes ago."""
    at = int((datetime.now(UTC) - timedelta(minutes=10)).timestamp())
    monkeypatch.setattr(box.world.state, "now", lambda: at)
    happen(box.world, "company.create", {"name": "Cycles"})


@pytest.mark.usefixtures("company")
def test_what_happened_since_then_is_put_into_the_inbox(run: Run, redis: Redis) -> None:
    result = run("--since", "1h ago")
    assert (result.exit_code, result.output) == (0, "1 deliveries were put into the inbox; 0 had come already.\n")
    (body,) = inbox(redis)
    assert b"Cycles" in body
    assert Gaps(redis, Keys()).get(ACCOUNT) is None
    assert "0 deliveries were put into the inbox" in run("--since", "1h ago").output


@pytest.mark.usefixtures("company")
def test_what_happened_after_the_end_is_not(run: Run, redis: Redis) -> None:
    assert run("--since", "2h", "--until", "30m").exit_code == 0
    assert inbox(redis) == []


def test_while_a_worker_fills_it_that_one_goes_on(run: Run, redis: Redis) -> None:
    gaps = Gaps(redis, Keys())
    gaps.open(ACCOUNT, since=5, until=9, why="a webhook was off")
    gaps.take(ACCOUNT, "of a worker")
    assert "A worker fills this gap already" in run("--since", "1h").output


@pytest.mark.usefixtures("company")
def test_where_kommo_does_not_answer_the_rest_is_left_to_the_chores(run: Run, redis: Redis, box: Sandbox) -> None:
    box.fault(status=500, path="/api/v4/companies*", times=100)
    assert "The chores go on" in run("--since", "1h").output
    assert Gaps(redis, Keys()).get(ACCOUNT) is not None


@pytest.mark.usefixtures("company")
def test_its_calls_come_behind_what_somebody_waits_for(run: Run, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[int] = []
    acquire = Limiter.acquire

    def noted(*given: Any, **more: Any) -> Any:
        starts.append(more["head_start_ms"])
        return acquire(*given, **more)

    monkeypatch.setattr(Limiter, "acquire", noted)
    assert run("--since", "1h").exit_code == 0
    assert starts == [0] * len(box.requests())
    assert starts


@pytest.mark.parametrize("given", [("--since", "10s"), ("--since", "1h", "--until", "2h")], ids=["young", "backwards"])
def test_a_time_that_is_none_is_refused(run: Run, given: tuple[str, ...]) -> None:
    assert run(*given).exit_code == 2


def test_an_account_without_a_token_is_refused(run: Run) -> None:
    result = run("--since", "1h", "--account", "5")
    assert isinstance(result.exception, SettingsError)
    assert "account 5" in str(result.exception)
