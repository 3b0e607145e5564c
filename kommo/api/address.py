"""Decide which host an account's calls go to. Does no I/O."""

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from kommo.errors import RequestError

#: Where accounts live: Kommo, and amoCRM, which kept the same API.
DOMAINS: Final = ("kommo.com", "amocrm.ru", "amocrm.com")

#: Names before DOMAINS that are Kommo's and amoCRM's own: sites, and servers of theirs. Who answers there is no
#: account, and has no business with a client secret.
SERVICES: Final = frozenset(
    (
        *("www", "blog", "news", "status", "docs", "help", "support", "academy", "community", "forum", "wiki"),
        *("developer", "developers", "partner", "partners", "market", "marketplace", "widgets"),
        *("auth", "id", "login", "oauth", "sso", "mail", "smtp", "sms"),
        *("api", "amojo", "assets", "cdn", "chat", "chats", "drive", "files", "gateway", "images", "img", "push"),
        *("static", "webhook", "webhooks", "ws", "wss"),
    )
)
#: Some of them are many: api-b, api-c, drive-c.
_SERVICE_FAMILY: Final = re.compile(r"(?:api|amojo|cdn|drive|files|push|static|ws)-.+")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_HOST: Final = re.compile(rf"{_LABEL.pattern}(?:\.{_LABEL.pattern})*")
_PLACEHOLDER: Final = "{subdomain}"


def api_base(subdomain: str, override: str | None = None) -> str:
    """Return scheme and host for an account, without a trailing slash.

    `subdomain` is the account's name (`acme`) or its full host (`acme.amocrm.ru`). The common host is refused,
    since calls belong on the account's own (https://developers.kommo.com/docs/limitations). `override` is the
    setting KOMMO_API_BASE; it may hold `{subdomain}`, and may be plain http only on this computer. Raises RequestError.
    """
    if override:
        return _overridden(override, subdomain)
    return f"https://{account_host(subdomain)}"


def account_host(subdomain: str) -> str:
    """Return the full host of an account; raises RequestError for anything but an account's own host."""
    label, dot, domain = subdomain.lower().partition(".")
    if label == "www" or f"{label}.{domain}" in DOMAINS:
        raise RequestError(
            f"{subdomain!r} is the host that all accounts share; name the account's own, such as acme.kommo.com"
        )
    if not dot:
        domain = DOMAINS[0]
    if not _LABEL.fullmatch(label) or domain not in DOMAINS:
        raise RequestError(
            f"{subdomain!r} is no account: give its name (acme) or its host, one name before {', '.join(DOMAINS)}"
        )
    return f"{label}.{domain}"


def is_service(host: str) -> bool:
    """Say whether a host of Kommo's is one of its services (`api-c.kommo.com`) and no account's."""
    label = host.lower().partition(".")[0]
    return label in SERVICES or bool(_SERVICE_FAMILY.fullmatch(label))


def _overridden(template: str, subdomain: str) -> str:
    if _PLACEHOLDER in template:
        template = template.replace(_PLACEHOLDER, account_host(subdomain).partition(".")[0])
    parts = _split(template)
    host = (parts.hostname or "").lower()
    if not _is_host(host):
        raise RequestError(f"KOMMO_API_BASE: {host!r} is no host name")
    if host in DOMAINS or (host.startswith("www.") and host.removeprefix("www.") in DOMAINS):
        raise RequestError(f"KOMMO_API_BASE: {host} is the host that all accounts share; use {_PLACEHOLDER}")
    if parts.scheme == "http" and not is_loopback(host):
        raise RequestError(f"KOMMO_API_BASE: the token would travel in the clear to {host}; use https")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port_is_wrong = parts.port == 0
    except ValueError as error:
        raise RequestError("KOMMO_API_BASE is no URL") from error
    extras = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in {"http", "https"} or parts.username is not None or extras or port_is_wrong:
        raise RequestError("KOMMO_API_BASE has the form https://host or https://host:port, and nothing else")
    return parts


def _is_host(host: str) -> bool:
    return bool(_HOST.fullmatch(host)) or _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Say whether a host is this computer: `localhost` or a loopback address."""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)
