"""What a benchmark runs in: a private Redis, a counting server, and worker processes, all ended with it."""

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from cryptography.fernet import Fernet
from redis import Redis

from kommo.store.connection import connect
from kommo.store.server import PrivateServer

ROOT: Final = Path(__file__).parents[1]
ACCOUNT: Final = 31_000_001
CLIENT: Final = "bench-client"


class Surroundings:
    """Processes of one benchmark. Nothing is started before it is asked for."""

    def __init__(self, *, latency_ms: float = 50, jitter_ms: float = 0, **environ: str) -> None:
        self._redis = PrivateServer(fsync="always")
        self._server_port = free_port()
        self._options = ["--latency-ms", str(latency_ms), "--jitter-ms", str(jitter_ms)]
        self._given = environ
        self._log = tempfile.NamedTemporaryFile(prefix="kommo-bench-", suffix=".log")  # noqa: SIM115 - ends with us
        self._processes: list[subprocess.Popen[bytes]] = []
        self.token_keys = Fernet.generate_key().decode()

    def __enter__(self) -> Self:
        self._redis.start()
        self.redis: Redis = connect(self._redis.url)
        self.start("python", "-m", "bench.counting", "--port", str(self._server_port), *self._options)
        self.wait(self._reaches, seconds=10, what="the counting server answers")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in list(self._processes):
            self.end(process)
        self.redis.close()
        self._redis.stop()
        self._log.close()

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": self._redis.url,
            "KOMMO_CLIENT_ID": CLIENT,
            "KOMMO_CLIENT_SECRET": "bench-secret",
            "KOMMO_ACCOUNT_ID": str(ACCOUNT),
            "KOMMO_SUBDOMAIN": "bench",
            "KOMMO_ACCESS_TOKEN": "bench-token",
            "KOMMO_TOKEN_KEYS": self.token_keys,
            "KOMMO_API_BASE": f"http://127.0.0.1:{self._server_port}",
            "KOMMO_HANDLERS": "bench.handlers",
            "KOMMO_SPOOL_DIR": f"{self._log.name}.spool",
            **self._given,
        }

    def workers(self, number: int) -> None:
        """Start worker processes, and wait until each has said that it lives."""
        for place in range(number):
            self.start("celery", "-A", "workers.app", "worker", "-P", "threads", "-n", f"bench{place}")
        self.wait(lambda: self._fleet() >= number, seconds=60, what=f"{number} workers live")

    def wait(self, condition: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Wait for something; raises TimeoutError with the end of what the processes said."""
        ends = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > ends:
                said = Path(self._log.name).read_text("utf-8", "replace")[-2000:]
                raise TimeoutError(f"waited {seconds:g} s in vain: {what}\n{said}")
            time.sleep(0.05)

    def counted(self) -> dict[str, Any]:
        """Ask the counting server what has arrived."""
        return dict(self._ask("count"))

    def seen(self) -> dict[str, float]:
        """Ask it when each entity arrived first."""
        return dict(self._ask("seen"))

    def is_settled(self) -> bool:
        """Say whether nothing waits any more."""
        return not any(self.redis.exists(f"kommo:{{0}}:{queue}:ready") for queue in ("inbox", "lanes", "outbox"))

    def _fleet(self) -> int:
        return int(self.redis.zcard("kommo:{fleet}:processes"))

    def _ask(self, what: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._server_port}/{what}", timeout=5) as answer:
            return json.load(answer)

    def _reaches(self) -> bool:
        try:
            self.counted()
        except OSError:
            return False
        return True

    def start(self, name: str, *options: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start a process: one of this project's virtual environment, or, with a path, any other."""
        command = [name if "/" in name else str(Path(sys.executable).parent / name), *options]
        environ = {**self.environ, **environ}
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=self._log, stderr=self._log)
        self._processes.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End a process that was started here."""
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)
        self._processes.remove(process)


def free_port() -> int:
    """Give a port on which nobody listens, below those that the system gives to connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
