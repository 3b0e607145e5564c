"""A sandbox inside this process: for tests, and for the command that starts one."""

import time
from dataclasses import replace
from typing import Any, Self, Unpack

from sandbox.app import create_app
from sandbox.faults import FaultFields
from sandbox.journal import Wanted
from sandbox.options import Options
from sandbox.server import Server
from sandbox.subscriptions import Webhook
from sandbox.world import World


class Sandbox:
    """Run a sandbox in threads while the `with` block lasts.

    `Sandbox(port=0, rate=50)` takes the fields of `Options` by name, on top of an `Options` if one is given.
    """

    def __init__(self, options: Options | None = None, **changes: Any) -> None:
        self.options = replace(options or Options(), **changes)
        self.world = World(self.options)
        self._server = Server(self.options.host, self.options.port, create_app(self.world))

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving and sending, at once."""
        self.world.hurry()
        self._server.stop()
        self.world.close()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.port

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end: what stands for `https://{subdomain}.kommo.com`."""
        return f"http://{self.options.host}:{self.port}"

    @property
    def token(self) -> str:
        """A bearer token that the API takes."""
        return self.options.tokens[0]

    @property
    def account_id(self) -> int:
        """The id of the account."""
        return self.options.account_id

    @property
    def peak(self) -> int:
        """The most API requests that arrived within any sliding second."""
        return self.world.gate.peak

    @property
    def token_calls(self) -> dict[str, dict[str, int]]:
        """For each grant, how many requests for tokens came (`asked`) and how many earned some (`granted`)."""
        return self.world.integration.counts()

    def code(self) -> str:
        """Return a code as the consent page gives it."""
        return self.world.integration.code()

    def revoke(self, *, long_lived: bool = False) -> None:
        """End all tokens that OAuth gave, and with `long_lived` the others, too."""
        self.world.integration.book.revoke(long_lived=long_lived)

    def requests(
        self,
        since: int = 0,
        *,
        method: str | None = None,
        path: str | None = None,
        status: int | None = None,
        bodies: bool = False,
    ) -> list[dict[str, Any]]:
        """Return the API requests after that number, oldest first; `path` is a beginning or has wildcards."""
        return self.world.journal.find(Wanted(since, method, path, status), bodies=bodies)

    def fault(self, **described: Unpack[FaultFields]) -> int:
        """Let the next requests that fit run into a fault; return its id.

        Raises ApiError for a description that makes no sense.
        """
        return self.world.faults.add(described).id

    def clear_faults(self) -> None:
        """Forget all faults."""
        self.world.faults.clear()

    def latency(self, least: float, most: float | None = None) -> None:
        """Hold every answer back for so many seconds, at random between two figures if two are given."""
        self.world.rules.latency_min = least
        self.world.rules.latency_max = least if most is None else most

    def block(self, seconds: float) -> None:
        """Answer everything with the 403 of the front server for so long; 0 ends a block."""
        self.world.gate.block(time.monotonic() + seconds)

    def subscription(self, *, ended: bool, reads_refused: bool = False) -> None:
        """End or renew the subscription: writes are answered 402, reads too with `reads_refused`."""
        self.world.rules.subscription_ended = ended
        self.world.rules.reads_refused = reads_refused

    def rotate_secret(self) -> str:
        """Return the integration's new secret; all tokens that OAuth gave end."""
        return self.world.integration.rotate_secret()

    def deliveries(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the deliveries after that id, oldest first, with their attempts."""
        return self.world.sender.since(since)

    def settled(self, timeout: float = 10.0) -> bool:
        """Wait until no delivery is pending any more; tell whether that came in time."""
        return self.world.sender.settled(timeout)

    def register(self, destination: str, *settings: str) -> Webhook:
        """Register a webhook without a request to the API."""
        return self.world.webhooks.register({"destination": destination, "settings": list(settings)}, by=0)
