"""Settings: one frozen object from the environment, checked as a whole.

Nothing here reads `os.environ`; whoever composes a process passes it in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final, cast

from marshmallow import ValidationError

from kommo.errors import SettingsError
from kommo.variables import ALL_WEBHOOK_EVENTS, DEFAULT_LIMITS, Secret, Variables, is_cluster, near

#: What a variable is for, said when a process cannot start without it.
_MISSING: Final = {
    "REDIS_URL": "point it to a Redis with AOF on, e.g. REDIS_URL=redis://127.0.0.1:6379/0",
    "KOMMO_CLIENT_ID": 'it is the "Integration ID" under Keys and scopes of your integration in Kommo',
    "KOMMO_CLIENT_SECRET": 'it is the "Secret key" beside the Integration ID; without it no delivery can be proven',
}
_NO_BROKER: Final = (
    "KOMMO_BROKER_URL is not set: Celery cannot use the Redis Cluster of REDIS_URL; start a Redis of its own for the "
    "hints, e.g. KOMMO_BROKER_URL=redis://127.0.0.1:6379/0"
)
#: Variables that this release does not read but that may stand in an environment prepared for another one.
_RESERVED: Final = frozenset(
    {
        "KOMMO_ADMIN_TOKEN",
        "KOMMO_CHANNEL_SECRET",
        "KOMMO_ALERT_URL",
        # Read by `kommo accounts`.
        "KOMMO_ACCOUNT_SECRET",
        "KOMMO_ACCOUNT_TOKEN",
    }
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a process knows from its environment; docs/settings.md says what each variable means."""

    redis_url: Secret = field(default=Secret())
    broker_url: Secret = field(default=Secret())
    client_id: str = ""
    client_secret: Secret = field(default=Secret())
    client_secret_previous: Secret = field(default=Secret())
    subdomain: str = ""
    account_id: int | None = None
    access_token: Secret = field(default=Secret())
    public_url: str = ""
    #: As set; `redirect` is the one to use.
    redirect_uri: str = ""
    #: Keys for what is stored encrypted, newest first.
    token_keys: tuple[Secret, ...] = ()
    handlers: tuple[str, ...] = ()
    webhook_events: tuple[str, ...] = ALL_WEBHOOK_EVENTS
    api_base: str = ""
    rate_limits: Mapping[str, int] = field(default_factory=lambda: DEFAULT_LIMITS)
    egress: str = "default"
    retention: int = 3 * 24 * 3600
    retention_bytes: int = 256 * 1024**2
    #: Where deliveries lie while Redis is away; relative to the folder in which the receiver runs.
    spool_dir: Path = Path("spool")
    #: Whose X-Forwarded-For is believed.
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    shards: int = 1
    #: A sentence for each variable that looks like ours and is not, for a warning at the start.
    unknown: tuple[str, ...] = ()

    @property
    def client_secrets(self) -> tuple[str, ...]:
        """The secrets a proof may be made with, newest first."""
        return tuple(secret for secret in (self.client_secret, self.client_secret_previous) if secret)

    @property
    def redirect(self) -> str:
        """Where Kommo sends a person back after the consent: below the public address unless told otherwise."""
        return self.redirect_uri or (f"{self.public_url}/oauth/callback" if self.public_url else "")

    @property
    def broker(self) -> str:
        """Where Celery's messages go: beside the work unless told otherwise, as it has to be beside a Cluster."""
        return self.broker_url or self.redis_url

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], *, need: Sequence[str] = ()) -> "Settings":
        """Read the settings; `need` names variables that must be set. A blank variable counts as not set.

        Raises:
            SettingsError: with a sentence for every variable that is missing or wrong.
        """
        given = {name: value.strip() for name, value in environ.items() if value.strip()}
        problems = [f"{name} is not set: {_MISSING[name]}" for name in need if name not in given]
        schema = Variables()
        try:
            loaded = schema.load(given)
        except ValidationError as error:
            problems += _sentences(error, given)
        if is_cluster(given.get("REDIS_URL", "")) and "KOMMO_BROKER_URL" not in given:
            problems.append(_NO_BROKER)
        if problems:
            raise SettingsError(problems)
        return cls(**loaded, unknown=_unknown(given, [str(field.data_key) for field in schema.fields.values()]))


def _sentences(error: ValidationError, given: Mapping[str, str]) -> list[str]:
    return [
        f"{name}={_shown(name, given[name])} {' '.join(texts)}"
        for name, texts in sorted(cast(dict[str, list[str]], error.messages).items())
    ]


def _shown(name: str, value: str) -> str:
    return "***" if any(word in name for word in ("SECRET", "TOKEN", "REDIS_URL", "BROKER")) else value


def _unknown(given: Mapping[str, str], known: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        f"{name} is not a setting and is ignored{near(name, known)}"
        for name in sorted(given)
        if name.startswith("KOMMO_") and name not in known and name not in _RESERVED
    )
