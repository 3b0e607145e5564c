"""Read single values of a delivery: strings in a form, anything in JSON. A value that makes no sense reads as None."""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

#: Characters of an id that is text (a UUID has 36).
MAX_ID_LENGTH = 128
#: How deep a text that is JSON may be nested.
MAX_TEXT_DEPTH = 32

# `\d` and `int` would take digits of every script.
_WHOLE = re.compile("-?[0-9]{1,19}")
_DECIMAL = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_CLOCK = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_LIMIT = 2**63
#: The last second of the year 9999.
_LAST_SECOND = 253_402_300_799
_FLAGS = {"0": False, "1": True, "false": False, "true": True}


def whole(value: object) -> int | None:
    """Read an integer of at most 64 bits."""
    if isinstance(value, str):
        if _WHOLE.fullmatch(value) is None:
            return None
        value = int(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and -_LIMIT <= value < _LIMIT:
        return value
    return None


def money(value: object) -> int | float | None:
    """Read an amount: an int if it has no cents, else a float."""
    if isinstance(value, str):
        if _DECIMAL.fullmatch(value) is None:
            return whole(value)
        value = float(value)
    if isinstance(value, float) and not (math.isfinite(value) and value.is_integer()):
        return value if math.isfinite(value) else None
    return whole(value)


def epoch(value: object) -> int | None:
    """Read unix seconds, up to the year 9999; 0 is Kommo's word for no time."""
    seconds = whole(value)
    return seconds if seconds is not None and 0 < seconds <= _LAST_SECOND else None


def epoch_or_clock(value: object) -> int | None:
    """Read unix seconds, or `Y-m-d H:i:s`, which is UTC in tasks (and only there).

    https://developers.kommo.com/docs/webhooks-general
    """
    if not isinstance(value, str) or _CLOCK.fullmatch(value) is None:
        return epoch(value)
    try:
        return epoch(int(datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()))
    except ValueError:
        return None


def moment(value: object) -> datetime | None:
    """Read unix seconds as an aware time."""
    return at(epoch(value))


def task_moment(value: object) -> datetime | None:
    """Read a time of a task as an aware time: unix seconds, or text in UTC."""
    return at(epoch_or_clock(value))


def at(seconds: int | None) -> datetime | None:
    """Return the aware time of unix seconds."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def flag(value: object) -> bool | None:
    """Read "0" or "1", or what JSON has for them."""
    if isinstance(value, str):
        return _FLAGS.get(value.lower())
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    return None


def text(value: object) -> str | None:
    """Read text as it is: an empty one stays empty, and HTML entities such as `&amp;` stay what Kommo made of them."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def uid(value: object) -> str | None:
    """Read an id that is text; Kommo writes "null" for none, and nobody's id is unprintable or endless."""
    read = text(value)
    if not read or read == "null" or len(read) > MAX_ID_LENGTH or not read.isprintable():
        return None
    return read


def any_id(value: object) -> int | str | None:
    """Read an id of an unknown kind."""
    number = whole(value)
    return uid(value) if number is None else number


def mapping(value: object) -> Mapping[str, Any] | None:
    """Read a mapping as it is."""
    return value if isinstance(value, dict) and value else None


def json_object(value: object) -> Mapping[str, Any] | None:
    """Read a text that is a JSON object (a note's metadata, a call's text)."""
    if not isinstance(value, str) or not value.startswith("{"):
        return mapping(value)
    try:
        read = mapping(load_json(value))
    except (ValueError, RecursionError):
        return None
    # What can be read may still be too deep to be written, or walked through by a handler.
    return None if is_deeper(read, MAX_TEXT_DEPTH) else read


def is_deeper(value: object, limit: int) -> bool:
    """Tell whether lists and objects are nested in more than `limit` others."""
    level: list[Any] = [value]
    for _ in range(limit + 2):
        level = [inner for inner in level if isinstance(inner, dict | list)]
        if not level:
            return False
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
    return True


def load_json(document: str) -> Any:
    """Parse JSON; a number that would not survive being written again stays text. Raises as `json.loads` does."""
    return json.loads(document, parse_int=_json_integer, parse_float=_json_float, parse_constant=str)


def _json_integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= 20 else digits


def _json_float(digits: str) -> float | str:
    value = float(digits)
    return value if math.isfinite(value) else digits


def members(value: object) -> list[Any]:
    """Return the members of a list, whichever way it came: as a list, keyed by numbers, or as its only member."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not value:
        return []
    keyed = all(key.isascii() and key.isdigit() for key in value)
    return list(value.values()) if keyed else [value]
