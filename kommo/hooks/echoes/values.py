"""Compare values that the API and a webhook write differently: 1200 and "1200", true and "1", a date and its text.

Two digests of a value: the exact one tells whether it changed, the loose one whether it is what was written.
"""

import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

#: What a written field may show instead of a digest: nothing at all, anything, or anything that is new.
ABSENT: Final = ""
ANY: Final = "*"
CHANGED: Final = "?"

#: Bytes of a digest: it tells the values of one field apart, not those of the world.
_DIGEST_BYTES: Final = 5
_DECIMAL: Final = re.compile(r"(-?(?:0|[1-9][0-9]{0,17}))(?:\.([0-9]{1,9}))?")
_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:+.Z-]+)?")
_DAY: Final = re.compile(r"([0-9]{2})\.([0-9]{2})\.([0-9]{4})")


def exact(value: object) -> str:
    """Return the digest of a value as it is; it differs whenever anything in the value does."""
    # Nearly all are texts, and quotes keep a text apart from what is none.
    return _digest(f'"{value}"' if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":")))


def loose(value: object) -> str:
    """Return the digest of what a value means, ABSENT for none."""
    text = meaning(value)
    return ABSENT if text == "" else _digest(text)


def meaning(value: object) -> str:
    """Return a value as one text for all the ways in which it is written."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int | float):
        return _number(str(value))
    if isinstance(value, str):
        return _text(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _text(text: str) -> str:
    # Kommo escapes HTML in some texts and trims others.
    plain = html.unescape(text).strip()
    moment = _moment(plain)
    return _number(plain) if moment is None else str(moment)


def _number(text: str) -> str:
    match = _DECIMAL.fullmatch(text)
    if match is None:
        return text
    cents = (match[2] or "").rstrip("0")
    return f"{match[1]}.{cents}" if cents else match[1]


def _moment(text: str) -> int | None:
    """Read a date: the API takes ISO 8601, a webhook shows a birthday as 12.01.1980."""
    day = _DAY.fullmatch(text)
    if day is None and _ISO.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(f"{day[3]}-{day[2]}-{day[1]}" if day else text)
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def of_several(values: Sequence[Any]) -> str:
    """Return the loose digest of several values, whatever their order."""
    return loose("\0".join(sorted(meaning(value) for value in values))) if values else ABSENT


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return a mapping as it is, and an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
