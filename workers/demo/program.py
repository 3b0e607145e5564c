"""Start the whole program: the sandbox, the receiver, the workers, beat; and subscribe the one to the other."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kommo.errors import KommoError
from workers.demo.account import Account, Person
from workers.demo.processes import Children
from workers.demo.screen import Screen
from workers.demo.stores import Stores
from workers.demo.surroundings import Surroundings, listens

#: Seconds that a process may take until it is ready.
_START_SECONDS: Final = 40.0
_WORKERS: Final = 2
#: Events that Kommo offers on its pages and whose names for the API are not documented: ticked by hand, so to speak.
_BY_HAND: Final = ("add_unsorted", "update_unsorted", "delete_unsorted", "add_outgoing_message")


class NotReady(KommoError):
    """A process lives and does not get ready."""


class Program:
    """The processes of one demo, and the account that they work for."""

    def __init__(self, around: Surroundings, children: Children, screen: Screen) -> None:
        self.account = Account(around.sandbox_url, around.token)
        self.people: list[Person] = []
        self._around = around
        self._children = children
        self._screen = screen

    def start_sandbox(self) -> dict[str, str]:
        """Start what stands for Kommo; give the settings that fit its account, which all others are started with."""
        around = self._around
        options = ("--port", str(around.sandbox_port), "--token", around.token)
        pace = ("--time-scale", "0.01", "--retry-after", "1")
        self._children.start("sandbox", sys.executable, "-m", "sandbox", *options, *pace)
        self._wait("sandbox", lambda: listens(around.sandbox_port))
        self.people = self.account.people()
        self._screen.started("sandbox", f"a stand-in for Kommo at {around.sandbox_url}")
        settings = around.settings(*self.account.ids())
        self._children.set(settings)
        return settings

    def start_own(self, stores: Stores) -> None:
        """Start the receiver, the workers and beat, all at once, and wait until they are ready."""
        around, start = self._around, self._children.start
        celery = (sys.executable, "-m", "celery", "-A", "workers.app")
        bind = around.receiver_url.removeprefix("http://")
        gunicorn = ("-c", "deploy/gunicorn.conf.py", "--bind", bind, "receiver:create_app()")
        start("receiver", sys.executable, "-m", "gunicorn", *gunicorn)
        for number in range(1, _WORKERS + 1):
            start(f"worker-{number}", *celery, "worker", "-P", "threads", "-n", f"demo-{number}@%h")
        start("beat", *celery, "beat")
        self._wait("receiver", lambda: listens(around.receiver_port))
        self._screen.started("receiver", f"gunicorn at {around.receiver_url}")
        self._wait("workers", lambda: stores.workers() == _WORKERS)
        self._screen.started("workers", f"{_WORKERS} of Celery, with the three handlers of examples/; and beat")

    def register(self) -> None:
        """Subscribe the receiver by its own command, and to what only a person can subscribe it to."""
        self._children.run(str(Path(sys.executable).with_name("kommo")), "webhooks", "register")
        events = self.account.subscribe_also(_BY_HAND)
        self._screen.started("webhook", f"kommo webhooks register: {events} kinds of events, incoming leads included")

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        ends = time.monotonic() + _START_SECONDS
        while not ready():
            self._children.check()
            if time.monotonic() > ends:
                raise NotReady(f"{name}: not ready within {_START_SECONDS:g} s")
            time.sleep(0.05)
