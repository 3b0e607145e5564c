"""The encoding of a delivery, as PHP's `http_build_query` writes it."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_plus

CONTENT_TYPE = "application/x-www-form-urlencoded"


def encode(body: dict[str, Any]) -> bytes:
    """Encode nested mappings and lists; None and empty containers leave no trace, booleans become 1 and 0."""
    return "&".join(f"{_quote(path)}={_quote(value)}" for path, value in pairs(body)).encode("ascii")


def pairs(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield `entity[action][0][key]` and its text, in order."""
    for key, value in body.items():
        yield from _pairs(str(key), value)


def _pairs(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, below in inner:
            yield from _pairs(f"{path}[{key}]", below)
    elif value is not None:
        yield path, str(int(value)) if isinstance(value, bool) else str(value)


def _quote(text: str) -> str:
    # RFC 1738, PHP's default: unlike Python it escapes the tilde.
    return quote_plus(text).replace("~", "%7E")
