"""A sandbox inside this process: for tests, and for the command that starts one."""

from dataclasses import replace
from typing import Any, Self

from sandbox.app import create_app
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

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the API requests after that number, oldest first."""
        return self.world.journal.since(since)

    def deliveries(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the deliveries after that id, oldest first, with their attempts."""
        return self.world.sender.since(since)

    def settled(self, timeout: float = 10.0) -> bool:
        """Wait until no delivery is pending any more; tell whether that came in time."""
        return self.world.sender.settled(timeout)

    def register(self, destination: str, *settings: str) -> Webhook:
        """Register a webhook without a request to the API."""
        return self.world.webhooks.register({"destination": destination, "settings": list(settings)}, by=0)
