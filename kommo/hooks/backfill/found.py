"""Something that a webhook would have told, and the body in which it would have come."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus

#: How the id of a delivery begins that was made here. Those of the doors are hexadecimal digits.
DELIVERY: Final = "backfill-"
FORM: Final = "application/x-www-form-urlencoded"

#: Within a second: first what makes an entity, last what a list shows. Ends and returns keep the journal's order.
_ORDER: Final[Mapping[str, int]] = {"add": 0, "note": 1, "status": 2, "responsible": 3, "delete": 4, "restore": 4}
_LAST: Final = 5
_TIMES: Final = ("updated_at", "last_modified", "created_at")


@dataclass(frozen=True, slots=True)
class Found:
    """One item of a delivery, under Kommo's own names, and when it happened (unix seconds)."""

    key: str
    action: str
    item: Mapping[str, Any]
    seconds: int
    #: The id of the journal's entry; such ids grow with time.
    place: str = ""

    @property
    def order(self) -> tuple[int, int, str]:
        """Sorts by time, and within a second as things happen."""
        return self.seconds, _ORDER.get(self.action, _LAST), self.place

    @property
    def change(self) -> tuple[str, str, object, int]:
        """Names the change, however it was found: what journal and list tell alike has the same name."""
        note = self.item.get("note")
        inner = note if isinstance(note, Mapping) else self.item
        return self.key, self.action, inner.get("id") or inner.get("talk_id"), self.seconds

    def body(self, account_id: int) -> bytes:
        """Write the delivery as Kommo does: a form, nested the PHP way.

        An item that carries no time, as a deletion, gets the time of the whole delivery: here it is known.
        """
        envelope: dict[str, Any] = {"account": {"id": account_id}}
        if not any(self.item.get(name) for name in _TIMES) and not isinstance(self.item.get("note"), Mapping):
            envelope["timestamp"] = self.seconds
        return encode({**envelope, self.key: {self.action: [self.item]}})

    def delivery_id(self, account_id: int) -> str:
        """Name the delivery: the same whenever the same is found again."""
        return f"{DELIVERY}{self.seconds:010d}{hashlib.blake2b(self.body(account_id), digest_size=8).hexdigest()}"


def encode(body: Mapping[str, Any]) -> bytes:
    """Write a form as PHP's `http_build_query` does: None and what is empty leave no trace, booleans are 1 and 0."""
    return "&".join(f"{_quoted(path)}={_quoted(text)}" for path, text in _pairs("", body)).encode("ascii")


def _pairs(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping | list | tuple):
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _pairs(f"{path}[{key}]" if path else str(key), inner)
    elif value is not None:
        yield path, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _quoted(text: str) -> str:
    # Half a surrogate pair, which JSON can hold and no bytes can; and the tilde, which PHP escapes and Python does not.
    return quote_plus(text.encode("utf-8", "replace")).replace("~", "%7E")
