"""How each environment variable is written: the marshmallow schema behind the settings."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from marshmallow import EXCLUDE, Schema, ValidationError, fields

_UNITS_OF_TIME: Final = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
_UNITS_OF_SIZE: Final = {"": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}
#: How the URL of a Redis Cluster begins, and that of each of its nodes.
_CLUSTER_SCHEMES: Final = MappingProxyType({"redis+cluster": "redis", "rediss+cluster": "rediss"})
DEFAULT_LIMITS: Final = MappingProxyType({"integration": 7, "account": 50, "ip": 7})
#: Everything that Kommo offers to subscribe to by API. https://developers.kommo.com/reference/add-webhooks
ALL_WEBHOOK_EVENTS: Final = tuple(
    f"{action}_{entity}"
    for entity, actions in {
        "lead": ("add", "update", "delete", "restore", "status", "responsible", "note"),
        "contact": ("add", "update", "delete", "restore", "responsible", "note"),
        "company": ("add", "update", "delete", "restore", "responsible", "note"),
        "customer": ("add", "update", "delete", "responsible", "note"),
        "task": ("add", "update", "delete", "responsible"),
        "talk": ("add", "update"),
        "message": ("add",),
    }.items()
    for action in actions
)


class Secret(str):
    """A string that does not show in a repr, and so in no log line."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'" if self else "''"


def near(name: str, choices: Sequence[str]) -> str:
    """Suggest what was probably meant, as the end of a sentence."""
    # All names begin alike, so the library's own threshold finds a neighbour for any of them.
    found = difflib.get_close_matches(name, choices, 1, cutoff=0.8)
    return f"; did you mean {found[0]}?" if found else ""


def _split(text: str) -> SplitResult | None:
    """Split a URL; None when it has brackets or a port that none can have."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    return None if port == 0 else parts


def redis_url(text: str) -> Secret:
    if is_cluster(text):
        return _cluster_url(text)
    parts = _split(text)
    if not parts or parts.scheme not in {"redis", "rediss", "unix"} or not (parts.hostname or parts.path):
        raise ValidationError("is not a Redis URL: write redis://host:6379/0, rediss://host:6379/0 or unix:///path")
    return Secret(text)


def is_cluster(url: str) -> bool:
    """Say whether a URL is that of a Redis Cluster."""
    return url.partition("://")[0] in _CLUSTER_SCHEMES


def nodes_of(cluster_url: str) -> tuple[str, ...]:
    """Give the URL of each node that the URL of a Cluster names; raises ValueError when it cannot be split."""
    parts = urlsplit(cluster_url)
    user, at, hosts = parts.netloc.rpartition("@")
    scheme = _CLUSTER_SCHEMES[parts.scheme]
    return tuple(urlunsplit((scheme, f"{user}{at}{host}", "", parts.query, "")) for host in hosts.split(","))


def _cluster_url(text: str) -> Secret:
    try:
        nodes = [_split(node) for node in nodes_of(text)]
        path = urlsplit(text).path
    except ValueError:
        nodes, path = [], ""
    # A Cluster has one database, number 0.
    if path not in {"", "/", "/0"} or not nodes or not all(node and node.hostname for node in nodes):
        raise ValidationError("is not the URL of a Redis Cluster: write redis+cluster://host:6379,other-host:6379")
    return Secret(text)


def broker_url(text: str) -> Secret:
    if is_cluster(text):
        raise ValidationError("is a Redis Cluster, which Celery cannot use: write the URL of a Redis of its own")
    if "://" not in text:
        raise ValidationError("is not a broker URL: write redis://host:6379/1 or amqp://user:password@host//")
    return Secret(text)


def web_url(text: str) -> str:
    parts = _split(text)
    if not parts or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValidationError("is not a web address: write https://hooks.example.com")
    return text.rstrip("/")


def token_keys(text: str) -> tuple[Secret, ...]:
    """Take Fernet keys: 32 bytes each, in URL-safe base64. https://cryptography.io/en/latest/fernet/"""
    keys = tuple(Secret(key) for key in _listed(text))
    if not all(re.fullmatch(r"[A-Za-z0-9_-]{43}=", key) for key in keys):
        raise ValidationError("is not a list of keys: `kommo accounts key` makes one; the newest comes first")
    return keys


def whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ValidationError(f"is not a whole number from {low} to {high}")
        return int(text)

    return parse


def modules(text: str) -> tuple[str, ...]:
    names = _listed(text)
    for name in names:
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name):
            raise ValidationError(f"{name!r} is not a module name: write package.module,package.other")
    return names


def webhook_events(text: str) -> tuple[str, ...]:
    names = _listed(text)
    for name in names:
        if name not in ALL_WEBHOOK_EVENTS:
            raise ValidationError(f"{name!r} is not an event that Kommo offers{near(name, ALL_WEBHOOK_EVENTS)}")
    return names


def duration(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if not match:
        raise ValidationError("is not a duration: write a number and s, m, h or d, e.g. 3d")
    return int(match[1]) * _UNITS_OF_TIME[match[2]]


def size(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,12}) ?(KB|MB|GB|)", text.upper())
    if not match:
        raise ValidationError("is not a size: write a number and KB, MB or GB, e.g. 256MB")
    return int(match[1]) * _UNITS_OF_SIZE[match[2]]


def limits(text: str) -> Mapping[str, int]:
    result = dict(DEFAULT_LIMITS)
    for part in text.split(","):
        match = re.fullmatch(r"\s*(integration|account|ip)\s*=\s*([0-9]{1,4})\s*", part)
        if not match or not int(match[2]):
            raise ValidationError(f"{part!r} is not a limit: write integration=7,account=50,ip=7 (requests a second)")
        result[match[1]] = int(match[2])
    return MappingProxyType(result)


def proxies(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Read the addresses and networks of proxies."""
    try:
        return tuple(ip_network(name) for name in _listed(text))
    except ValueError:
        raise ValidationError(
            "names what is no address or network: write 10.0.0.5 or 10.0.0.0/8, with commas between them"
        ) from None


def _listed(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise ValidationError("names nothing: write names with commas between them, or leave it out")
    return names


class Variables(Schema):
    """Every variable that is read. The attribute is the name in Settings, the data key the one in the environment."""

    class Meta:
        unknown = EXCLUDE

    redis_url = fields.Function(deserialize=redis_url)
    broker_url = fields.Function(deserialize=broker_url)
    client_id = fields.Function(deserialize=str)
    client_secret = fields.Function(deserialize=Secret)
    client_secret_previous = fields.Function(deserialize=Secret)
    subdomain = fields.Function(deserialize=str)
    account_id = fields.Function(deserialize=whole(1, 10**15))
    access_token = fields.Function(deserialize=Secret)
    public_url = fields.Function(deserialize=web_url)
    redirect_uri = fields.Function(deserialize=web_url)
    token_keys = fields.Function(deserialize=token_keys)
    handlers = fields.Function(deserialize=modules)
    webhook_events = fields.Function(deserialize=webhook_events)
    api_base = fields.Function(deserialize=web_url)
    rate_limits = fields.Function(deserialize=limits)
    egress = fields.Function(deserialize=str)
    retention = fields.Function(deserialize=duration)
    retention_bytes = fields.Function(deserialize=size)
    spool_dir = fields.Function(deserialize=Path)
    trusted_proxies = fields.Function(deserialize=proxies)
    shards = fields.Function(deserialize=whole(1, 1024))

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Name the variable after the attribute."""
        field_obj.data_key = "REDIS_URL" if field_name == "redis_url" else f"KOMMO_{field_name.upper()}"
