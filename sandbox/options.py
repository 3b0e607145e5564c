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

    #: What stands behind the subdomain, and the host that every account of the service shares.
    domain: str = "kommo.com"
    api_domain: str = "api-c.kommo.com"

    #: The integration that can be installed. Its keys are made up, too.
    client_id: str = "7f0c2e1a-5d3b-4c6e-9a41-000000007300"
    client_secret: str = "made-up-secret-of-the-sandbox"  # noqa: S105 - opens nothing
    redirect_uri: str = "http://127.0.0.1:8000/oauth/callback"
    #: Empty: `disconnect` beside the redirect address.
    disconnect_uri: str = ""
    #: How long codes and tokens last (https://developers.kommo.com/docs/oauth-20).
    code_seconds: float = 20 * 60.0
    access_seconds: float = 86_400.0
    refresh_seconds: float = 90 * 86_400.0

    #: API requests let through in any sliding second.
    rate: int = 7
    #: The `retry_after` told with a 429: in the body and, if asked for, in a header, which is unconfirmed.
    retry_after: int = 300
    retry_after_header: bool = False
    #: So many 429 within `block_window` seconds turn into a 403 page for `block_seconds`.
    block_after: int = 10
    block_window: float = 60.0
    block_seconds: float = 300.0
    #: Writes of more entities than this run into a 504; None lets all through.
    timeout_above: int | None = None
    #: Every answer is held back so long, at random between the two.
    latency_min: float = 0.0
    latency_max: float = 0.0

    #: The sender waits so long for connection and answer together.
    delivery_timeout: float = 2.0
    #: Multiplies the waits of the retry ladder and the window of the switch-off rule.
    time_scale: float = 1.0
