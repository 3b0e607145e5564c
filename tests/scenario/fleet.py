"""The whole program as processes: a private Redis, gunicorn, Celery workers, with Kommo played by the sandbox."""

import http.client
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from redis import Redis

from kommo.hooks.signature import url_signature
from kommo.store.connection import connect
from kommo.store.server import PrivateServer
from tests.ports import free_port
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ACCOUNT, CLIENT, SECRET = 31_000_001, "scenario-client", "scenario-secret"


class Program:
    """Processes that are started and ended by their ids; whatever is left is ended with the test."""

    def __init__(self, **environ: str) -> None:
        self.redis_server = PrivateServer(fsync="always")
        self.port = free_port()
        self.logs = Path(tempfile.mkdtemp(prefix="kommo-scenario-"))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._given = environ

    def __enter__(self) -> Self:
        self.redis_server.start()
        self.redis: Redis = connect(self.redis_server.url)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait(10)
        self.redis.close()
        self.redis_server.stop()

    @property
    def environ(self) -> Mapping[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": self.redis_server.url,
            "KOMMO_CLIENT_ID": CLIENT,
            "KOMMO_CLIENT_SECRET": SECRET,
            "KOMMO_ACCOUNT_ID": str(ACCOUNT),
            "KOMMO_SUBDOMAIN": "scenario",
            "KOMMO_ACCESS_TOKEN": "scenario-token",
            "KOMMO_HANDLERS": "tests.scenario.handlers",
            "PORT": str(self.port),
            "KOMMO_SPOOL_DIR": str(self.logs / "spool"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **self._given,
        }

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]], cwd=ROOT, env=self.environ, stdout=log, stderr=log
            )
        self.processes[name] = process
        return process

    def web(self) -> None:
        self.start("web", "gunicorn", "-c", "deploy/gunicorn.conf.py", "receiver:create_app()")
        wait_for(lambda: self._status("GET", "/health/live") == 200, seconds=40, what=self.log("web"))

    def worker(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        seen = self._fleet_size()
        process = self.start(name, "celery", "-A", "workers.app", "worker", *(options or ("-P", "threads")), "-n", name)
        wait_for(lambda: self._fleet_size() > seen, seconds=40, what=f"{name} announced itself")
        return process

    def kill(self, name: str) -> None:
        """End a process as a power cut would."""
        self.processes[name].kill()
        self.processes[name].wait(10)

    def terminate(self, name: str, *, seconds: float = 15) -> int:
        self.processes[name].send_signal(signal.SIGTERM)
        return self.processes[name].wait(seconds)

    def post(self, body: bytes | str, *, account: int = ACCOUNT) -> int:
        signature = url_signature(SECRET, CLIENT, account)
        return self._status(
            "POST", f"/webhooks/{account}/{signature}/", body.encode() if isinstance(body, str) else body
        )

    def log(self, name: str) -> str:
        path = self.logs / f"{name}.log"
        return path.read_text("utf-8", "replace")[-4000:] if path.exists() else ""

    def ran(self, key: str) -> list[str]:
        """What the scenario's handlers wrote down under a key, in order."""
        return [value.decode() for value in self.redis.lrange(f"test:{key}", 0, -1)]

    def settled(self) -> bool:
        """Say whether nothing waits in inbox, lanes or outbox."""
        return not any(self.redis.exists(f"kommo:{{0}}:{queue}:ready") for queue in ("inbox", "lanes", "outbox"))

    def _fleet_size(self) -> int:
        return int(self.redis.zcard("kommo:{fleet}:processes"))

    def _status(self, method: str, path: str, body: bytes = b"") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
            connection.request(method, path, body or None, headers)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()
