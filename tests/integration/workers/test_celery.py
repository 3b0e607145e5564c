"""The fleet as Celery starts it: what it needs, what it refuses, and that every hint finds its task."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from kommo.queue import QUEUES, task_name
from kommo.store.fleet import Fleet
from kommo.store.server import PrivateServer
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]
CELERY = (sys.executable, "-m", "celery", "-A", "workers.app")
WORKER = (*CELERY, "worker", "-P", "threads")
BEAT = (*CELERY, "beat")


def environ(**variables: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        **variables,
    }


def ended(*command: str, **variables: str) -> str:
    """Start what cannot start, and give what it said; it has to be one text and no traceback."""
    process = subprocess.run(
        command, cwd=ROOT, env=environ(**variables), capture_output=True, text=True, timeout=30, check=False
    )
    said = process.stdout + process.stderr
    assert process.returncode not in {0, None}, said
    assert "Traceback" not in said
    assert said.count("cannot start.\n") == 1
    return said


def printed(code: str, **variables: str) -> str:
    """Run some Python in a process of its own; it has to end well and complain of nothing."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environ(**variables),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_hint_finds_its_task() -> None:
    code = "from workers.app import app; app.loader.import_default_modules(); print(*app.tasks)"
    registered = printed(code, REDIS_URL="redis://127.0.0.1:1/0").split()
    ours = {name for name in registered if name.startswith("workers.")}
    assert ours == {task_name(queue) for queue in QUEUES} | {"workers.chores.renew", "workers.chores.webhooks"}


def test_the_app_can_be_imported_without_any_environment() -> None:
    assert printed("import workers.app, workers.tasks; print(workers.app.app.main)") == "workers\n"


@pytest.mark.parametrize("command", [WORKER, BEAT], ids=["worker", "beat"])
def test_nothing_starts_with_settings_that_cannot_be_used_and_all_are_told(command: tuple[str, ...]) -> None:
    said = ended(*command, KOMMO_SHARDS="many")
    assert "REDIS_URL is not set: " in said
    assert "KOMMO_SHARDS=many is not " in said


def test_a_worker_refuses_handlers_that_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "broken_handlers.py").write_text("1 / 0\n", encoding="utf-8")
    path = f"{ROOT}{os.pathsep}{tmp_path}"
    said = ended(*WORKER, REDIS_URL="redis://127.0.0.1:1/0", KOMMO_HANDLERS="broken_handlers", PYTHONPATH=path)
    assert "KOMMO_HANDLERS: importing 'broken_handlers' raised ZeroDivisionError: division by zero at " in said


def test_a_worker_refuses_a_token_without_an_address() -> None:
    said = ended(*WORKER, REDIS_URL="redis://127.0.0.1:1/0", KOMMO_ACCESS_TOKEN="t", KOMMO_ACCOUNT_ID="1")
    assert "KOMMO_SUBDOMAIN is not set" in said


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_worker_refuses_pools_that_it_does_not_know_how_to_guard(pool: str) -> None:
    stub = (
        f"import sys, types; module = types.ModuleType('celery.concurrency.{pool}');"
        f"module.TaskPool = type('TaskPool', (), {{'__module__': 'celery.concurrency.{pool}'}});"
        f"import celery; celery.maybe_patch_concurrency = lambda *_, **__: None;"
        f"sys.modules['celery.concurrency.{pool}'] = module;"
        "from celery.__main__ import main; "
        f"sys.argv = ['celery', '-A', 'workers.app', 'worker', '-P', '{pool}']; main()"
    )
    assert f"-P {pool}" in ended(sys.executable, "-c", stub, REDIS_URL="redis://127.0.0.1:1/0")


def test_a_worker_refuses_another_number_of_shards(redis_server: PrivateServer, redis: Redis) -> None:
    Fleet(redis).check_shards(4)
    assert "KOMMO_SHARDS=4" in ended(*WORKER, REDIS_URL=redis_server.url)


def test_a_worker_takes_hints_says_that_it_lives_and_leaves_when_told(
    redis_server: PrivateServer, redis: Redis, tmp_path: Path, now_ms: Callable[[], int]
) -> None:
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*WORKER, "-n", "tested"], cwd=ROOT, env=environ(REDIS_URL=redis_server.url), stdout=log, stderr=log
        )
    try:
        wait_for(lambda: Fleet(redis).size() == 1, seconds=15, what="the worker announced itself")
        # Late work that nobody hinted at: an account that is due and, once looked at, has nothing.
        redis.zadd("kommo:{0}:inbox:ready", {"7": now_ms() - 5000})
        wait_for(lambda: not redis.exists("kommo:{0}:inbox:ready"), what="a drain has looked at it")
        process.terminate()
        assert process.wait(12) == 0
        assert Fleet(redis).size() == 0
    finally:
        process.kill()
        process.wait(5)
    said = (tmp_path / "log").read_text("utf-8")
    assert "Traceback" not in said
    assert redis_server.url not in said or "@" not in redis_server.url
