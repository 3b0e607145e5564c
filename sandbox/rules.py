"""What can be changed about the service while it runs: how it refuses, how slow it is, whether it is paid for."""

from dataclasses import dataclass
from random import SystemRandom

from sandbox.options import Options
from sandbox.pages import Page, page

#: Names of the page that tells a 429.
LIMITED_PAGES = ("too_many", "too_many_header", "too_many_html")

_JITTER = SystemRandom()


@dataclass
class Rules:
    """The service's present behaviour; times are in seconds."""

    retry_after: int
    limited_page: str
    timeout_above: int | None
    latency_min: float
    latency_max: float
    subscription_ended: bool = False
    reads_refused: bool = False

    @classmethod
    def of(cls, options: Options) -> "Rules":
        """Return the rules that a sandbox begins with."""
        return cls(
            retry_after=options.retry_after,
            limited_page="too_many_header" if options.retry_after_header else "too_many",
            timeout_above=options.timeout_above,
            latency_min=options.latency_min,
            latency_max=max(options.latency_min, options.latency_max),
        )

    def latency(self) -> float:
        """Return how long this answer is held back."""
        return _JITTER.uniform(self.latency_min, self.latency_max) if self.latency_max else 0.0

    def limited(self) -> Page:
        """Return what a request above the rate is told."""
        return self.named(self.limited_page)

    def refusal(self, method: str, items: int) -> Page | None:
        """Return what a request is told that is neither paid for nor small enough."""
        reads = method in ("GET", "HEAD")
        if self.subscription_ended and (not reads or self.reads_refused):
            return self.named("payment_required")
        if not reads and self.timeout_above is not None and items > self.timeout_above:
            return self.named("gateway_timeout")
        return None

    def named(self, name: str) -> Page:
        """Return the page of that name with the present `retry_after`."""
        return page(name, retry_after=self.retry_after)
