"""The processes, a supervisor that starts again what has ended, and the ways to kill them."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.scenario.fleet import Program

_WORKER = ("celery", "-A", "workers.app", "worker")
_BEAT = ("celery", "-A", "workers.app", "beat")
_WEB = ("gunicorn", "-c", "deploy/gunicorn.conf.py", "receiver:create_app()")


class Site(Program):
    """The whole program under a supervisor, as systemd or a container's runtime would keep it."""

    def __init__(self, *, threads: int = 8, children: bool = True, **environ: str) -> None:
        super().__init__(**environ)
        one = (*_WORKER, "-P", "threads", "-c", str(threads), "-n", "one")
        two = (*_WORKER, "-P", "prefork", "-c", "2", "-n", "two")
        self.commands: Mapping[str, tuple[str, ...]] = {
            "web": _WEB,
            "one": one,
            **({"two": two} if children else {}),
            "beat": _BEAT,
        }

    @property
    def book(self) -> Path:
        """Where the handlers write down what they were given."""
        return self.logs / "book"

    @property
    def environ(self) -> Mapping[str, str]:
        return {**super().environ, "CHAOS_BOOK": str(self.book)}

    def begin(self) -> None:
        """Start everything, and keep it running from now on."""
        self.web()
        for name in self.commands.keys() & {"one", "two"}:
            self.worker(name, *self.commands[name][len(_WORKER) : -2])
        self.start("beat", *_BEAT)
        self._over = threading.Event()
        self._orphans: set[int] = set()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()

    def finish(self) -> None:
        """Stop supervising, and end what was left behind by a killed parent."""
        self._over.set()
        self._supervisor.join(10)
        for pid in self._orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _supervise(self) -> None:
        while not self._over.wait(0.05):
            for name, command in self.commands.items():
                if self.processes[name].poll() is not None and not self._over.is_set():
                    self.start(name, *command)

    def kill_one_of(self, kinds: list[str], dice: random.Random) -> str:
        """Kill something of one of the kinds, and say what."""
        kind = dice.choice(kinds)
        _KINDS[kind](self, dice)
        return kind

    def kill_main(self, name: str) -> None:
        process = self.processes[name]
        self._orphans.update(children_of(process.pid))
        process.kill()

    def kill_child(self, name: str, dice: random.Random) -> None:
        children = children_of(self.processes[name].pid)
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(dice.choice(children), signal.SIGKILL)

    def kill_all(self, name: str) -> None:
        process = self.processes[name]
        children = children_of(process.pid)
        process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def kill_redis(self, dice: random.Random) -> None:
        self.redis_server.kill()
        time.sleep(dice.uniform(0, 1))
        self.redis_server.start()


_KINDS: Mapping[str, Callable[[Site, random.Random], None]] = {
    "worker": lambda site, _: site.kill_main("one"),
    "prefork main": lambda site, _: site.kill_main("two"),
    "prefork child": lambda site, dice: site.kill_child("two", dice),
    "prefork all": lambda site, _: site.kill_all("two"),
    "beat": lambda site, _: site.kill_main("beat"),
    "web child": lambda site, dice: site.kill_child("web", dice),
    "web all": lambda site, _: site.kill_all("web"),
    "redis": lambda site, dice: site.kill_redis(dice),
}
KINDS = list(_KINDS)


def children_of(pid: int) -> list[int]:
    """Give the processes that a process has started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
