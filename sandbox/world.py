"""One account with its surroundings: what it holds, who listens, how it is limited."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event

from sandbox.delivery import Delivery
from sandbox.faults import Faults
from sandbox.integration import Integration
from sandbox.journal import Journal
from sandbox.limits import Gate
from sandbox.notices import Notice, kind_of
from sandbox.options import Options
from sandbox.payloads.envelope import envelope
from sandbox.payloads.form import encode
from sandbox.rules import Rules
from sandbox.sender import Sender
from sandbox.state import State
from sandbox.subscriptions import Subscriptions


class World:
    """Bind the parts of a sandbox; whoever changes something calls `announce` under `state.lock`."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.state = State(account_id=options.account_id, subdomain=options.subdomain, clock=time.time)
        self.webhooks = Subscriptions(self.state, time_scale=options.time_scale)
        self.sender = Sender(timeout=options.delivery_timeout, time_scale=options.time_scale)
        self.journal = Journal(options.account_id)
        self.rules = Rules.of(options)
        self.faults = Faults()
        self.integration = Integration(options, time.time)
        self.gate = Gate(
            rate=options.rate,
            block_after=options.block_after,
            block_window=options.block_window,
            block_seconds=options.block_seconds,
        )
        self._held: list[Notice] | None = None
        self._ending = Event()

    @property
    def host(self) -> str:
        """The host of the account, as the service would have it."""
        return f"{self.state.subdomain}.{self.options.domain}"

    def announce(self, notices: Sequence[Notice]) -> list[Delivery]:
        """Send each notice to the webhooks that want it, as a delivery of its own unless a batch is open."""
        with self.state.lock:
            if self._held is None:
                return [sent for one in notices for sent in self._deliver([one])]
            self._held.extend(notices)
            return []

    @contextmanager
    def together(self) -> Iterator[list[Delivery]]:
        """Hold back what is announced inside and send it as one delivery to each webhook.

        The list that it gives is filled at the end. Whether the service merges changes is not documented;
        what it may send is, and a receiver has to take it.
        """
        sent: list[Delivery] = []
        with self.state.lock:
            held: list[Notice] = []
            self._held = held
            try:
                yield sent
            finally:
                self._held = None
                sent.extend(self._deliver(held))

    def _deliver(self, notices: Sequence[Notice]) -> list[Delivery]:
        settings = frozenset(name for one in notices for name in one.settings)
        sent = []
        for hook in self.webhooks.wanting(settings):
            wanted = [one for one in notices if hook.wants(one.settings)]
            body = encode(envelope(self.state, wanted))
            sent.append(self.sender.send(hook.destination, body, kind=kind_of(wanted), hook=hook))
        return sent

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the sandbox."""
        if seconds > 0:
            self._ending.wait(seconds)

    def hurry(self) -> None:
        """End all pauses, those to come too."""
        self._ending.set()

    def close(self) -> None:
        """Stop sending."""
        self.sender.stop()
