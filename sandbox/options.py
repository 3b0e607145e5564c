"""What a sandbox is started with; every length of time is in seconds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Describe one sandbox: its address, its account, its limits and its clock."""

    host: str = "127.0.0.1"
    #: 0 takes a free port.
    port: int = 0
    account_id: int = 31415926
    subdomain: str = "sandbox"
    #: Bearer tokens that the API takes. Made up: they open nothing else.
    tokens: tuple[str, ...] = ("made-up-token-of-the-sandbox",)

    #: API requests let through in any sliding second.
    rate: int = 7
    #: The `retry_after` told with a 429.
    retry_after: int = 300
    #: So many 429 within `block_window` seconds turn into a 403 page for `block_seconds`.
    block_after: int = 10
    block_window: float = 60.0
    block_seconds: float = 300.0

    #: The sender waits so long for connection and answer together.
    delivery_timeout: float = 2.0
    #: Multiplies the waits of the retry ladder and the window of the switch-off rule.
    time_scale: float = 1.0
