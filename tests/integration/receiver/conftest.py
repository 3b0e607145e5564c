"""The receiver in this process, and as gunicorn serves it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from kommo.settings import Settings
from kommo.store.inbox import Entry, Inbox
from kommo.store.keys import Keys
from kommo.store.server import PrivateServer
from kommo.variables import Secret
from receiver import app as receiver_app
from receiver import create_app
from tests.integration.receiver.wire import ACCOUNT, CLIENT, FORMER, SECRET
from tests.integration.workers.logs import Lines, logged
from tests.ports import free_port
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]
GUNICORN = (sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "receiver:create_app()")
#: Nobody listens there.
DEAD_BROKER = "redis://127.0.0.1:1/0"


def settings(redis_url: str, broker_url: str = DEAD_BROKER, spool_dir: Path = Path("/nonexistent")) -> Settings:
    return Settings(
        redis_url=Secret(redis_url),
        broker_url=Secret(broker_url),
        client_id=CLIENT,
        client_secret=Secret(SECRET),
        client_secret_previous=Secret(FORMER),
        spool_dir=spool_dir,
    )


class NoBroker:
    """Stands for the app that sends hints: its threads would go on complaining of a dead broker in later tests."""

    def send_task(self, name: str, **options: Any) -> None:
        """Send nothing."""


Serve = Callable[[str], Flask]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Serve]:
    """Make receivers over a Redis; those of one test share a spool."""
    monkeypatch.setattr(receiver_app, "publisher", lambda _broker: NoBroker())
    made: list[Flask] = []

    def make(redis_url: str) -> Flask:
        made.append(create_app(settings(redis_url, spool_dir=tmp_path / "spool")))
        return made[-1]

    yield make
    for app in made:
        app.extensions["intake"].close()
        app.extensions["answers"].close()


@pytest.fixture
def app(serve: Serve, redis: Redis, redis_server: PrivateServer) -> Flask:
    return serve(redis_server.url)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


@pytest.fixture
def stored(redis: Redis) -> Callable[[], list[Entry]]:
    """What lies in the account's inbox."""
    return lambda: Inbox(redis, Keys()).read(ACCOUNT, after="0-0", limit=1000)


@pytest.fixture
def counters(redis: Redis) -> Callable[[], dict[str, int]]:
    """What was counted for the account."""

    def read() -> dict[str, int]:
        counted: Any = redis.hgetall(Keys().stats(ACCOUNT))
        return {name.decode(): int(value) for name, value in counted.items()}

    return read


@pytest.fixture
def lone_server() -> Iterator[PrivateServer]:
    """A Redis that a test may stop, kill and fill without harm to the others."""
    with PrivateServer(fsync="no") as server:
        yield server


class Gunicorn:
    """The receiver behind gunicorn on a free port, and all that it says."""

    def __init__(self, redis_url: str, log: Path) -> None:
        self.log = log
        self.port = free_port()
        with log.open("wb") as said:
            told = environ(REDIS_URL=redis_url, PORT=str(self.port), KOMMO_SPOOL_DIR=str(log.with_name("spool")))
            self.process = subprocess.Popen(GUNICORN, cwd=ROOT, env=told, stdout=said, stderr=said)

    def wait(self) -> None:
        wait_for(self._lives, seconds=40, what="gunicorn answers")

    def _lives(self) -> bool:
        assert self.process.poll() is None, self.said()
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(10)
        finally:
            self.process.kill()


def environ(**variables: str) -> dict[str, str]:
    """All that a receiver is told; nothing of the tests' own environment but where programs are."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "WEB_CONCURRENCY": "1",
        "KOMMO_BROKER_URL": DEAD_BROKER,
        "KOMMO_CLIENT_ID": CLIENT,
        "KOMMO_CLIENT_SECRET": SECRET,
        "KOMMO_CLIENT_SECRET_PREVIOUS": FORMER,
        **variables,
    }


@pytest.fixture(scope="session")
def gunicorn(redis_server: PrivateServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    running = Gunicorn(redis_server.url, tmp_path_factory.mktemp("gunicorn") / "log")
    try:
        running.wait()
        yield running
    finally:
        running.stop()


@pytest.fixture
def stalled() -> Iterator[Callable[[PrivateServer], None]]:
    """Halt a private Redis without ending it: connections stand, and nothing answers until the test is over."""
    pids: list[int] = []

    def halt(server: PrivateServer) -> None:
        pids.append(server.pid)
        os.kill(server.pid, signal.SIGSTOP)

    yield halt
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
