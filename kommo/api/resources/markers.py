"""How what is created can be found again if the answer to its creation is lost. Does no I/O."""

from collections.abc import Mapping
from typing import Any

from kommo.errors import RequestError


def marker_of(marker: object, values: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return {"query": text, "field": {"field_id": …} or {"field_code": …}, or None for the name}; None without one.

    `marker` names what was given: "name", or a custom field as `fields=` names it. Raises RequestError for one that
    was not given, or that has no text to look for.
    """
    if marker is None:
        return None
    if marker == "name":
        return {"query": _query(body.get("name"), marker), "field": None}
    for key, sent in _fields(values, body):
        naming = {name: sent[name] for name in ("field_id", "field_code") if name in sent}
        if not isinstance(marker, bool) and marker in (key, *naming.values()):
            return {"query": _query(_first(sent), marker), "field": naming}
    given = ", ".join(["name", *(str(key) for key, _ in _fields(values, body))])
    raise RequestError(f"marker= names a field that is given with it, not {marker!r:.80}; given: {given}")


def _fields(values: Mapping[str, Any], body: Mapping[str, Any]) -> list[tuple[object, Mapping[str, Any]]]:
    """The custom fields as they were named, and as they are sent, in the same order."""
    sent = [item for item in body.get("custom_fields_values") or [] if isinstance(item, Mapping)]
    return list(zip(values.get("fields") or [None] * len(sent), sent, strict=False))


def _first(sent: Mapping[str, Any]) -> object:
    given = sent.get("values")
    first = given[0] if isinstance(given, list) and given else None
    return first.get("value") if isinstance(first, Mapping) else None


def _query(value: object, marker: object) -> str:
    text = str(value).strip() if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""
    if not text:
        raise RequestError(f"marker={marker!r:.80}: its value is no text or number to look for")
    return text
