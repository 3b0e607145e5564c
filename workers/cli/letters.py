"""Show dead letters: as rows of a table, as all that is known of one, and as JSON."""

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from kommo.cli.moments import shown
from kommo.errors import KommoError
from kommo.hooks.events import Event
from kommo.store.dead import DeadLetter, KeptLetter, Weight
from workers.asked_calls import call_of
from workers.remedies import remedy_of
from workers.retrying import CannotRetry, write_of

_HEADINGS: Final = ("id", "kind", "account", "when", "handler", "event", "reason", "error")
#: Characters of an error that a table shows.
_ERROR_CHARS: Final = 80
_UNITS: Final = ((1024**3, "GB"), (1024**2, "MB"), (1024, "kB"))


def printable(text: str) -> str:
    """Take out of a text what would steer a terminal; it came from Kommo, or from anybody's exception."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def summary(kept: KeptLetter) -> dict[str, Any]:
    """Say what a table shows of a letter, as JSON can hold it."""
    letter = kept.letter
    return {
        "id": letter.id,
        "kind": letter.kind,
        "account_id": letter.account_id,
        "at": shown(kept.key.at_ms),
        "handler": letter.handler,
        "event": _event_type(letter),
        "reason": letter.reason,
        "error": letter.error.partition("\n")[0],
        "delivery_id": letter.delivery_id,
        "attempt": letter.attempt,
    }


def new_table() -> Table:
    """Make the table that `add_row` fills."""
    table = Table()
    for heading in _HEADINGS:
        table.add_column(heading, no_wrap=heading == "id", overflow="fold")
    return table


def add_row(table: Table, kept: KeptLetter) -> None:
    """Add a letter to the table."""
    said = summary(kept)
    cells = [said["id"], said["kind"], str(said["account_id"]), said["at"], said["handler"], said["event"]]
    cells += [said["reason"], said["error"][:_ERROR_CHARS]]
    table.add_row(*(Text(printable(cell)) for cell in cells))


def weighed(weight: Weight) -> str:
    """Say in a sentence how much there is, so that somebody notices."""
    if not weight.letters:
        return "No dead letters."
    number = "1 dead letter" if weight.letters == 1 else f"{weight.letters} dead letters"
    return (
        f"{number} in all, about {_size(weight.size)} of Redis's memory. They stay until they are retried or dropped."
    )


def in_full(kept: KeptLetter) -> dict[str, Any]:
    """Say all that is known of a letter, as JSON can hold it; bytes that are no UTF-8 are base64."""
    letter = kept.letter
    said: dict[str, Any] = {**summary(kept), "error": letter.error, "remedy": remedy_of(letter)}
    if letter.traceback:
        said["traceback"] = letter.traceback
    if event := _event(letter):
        said["event"] = event.as_dict()
    if letter.kind == "write":
        said |= _call(letter)
    if letter.body:
        said |= {"content_type": letter.content_type, **_bytes(letter.body)}
    return said


def described(kept: KeptLetter) -> Iterator[str]:
    """Say the same for people, line by line."""
    said = in_full(kept)
    blocks = {name: said.pop(name) for name in ("traceback", "event", "call", "body", "body_base64") if name in said}
    remedy = said.pop("remedy")
    for name, value in said.items():
        if value not in {"", 0}:
            text = printable(str(value)).replace("\n", f"\n{'':<13}")
            yield f"{name.replace('_', ' '):<13}{text}"
    for name, value in blocks.items():
        if not value:
            continue
        yield f"\n{name.replace('_', ' ')}:"
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
        yield from (f"  {line}" for line in printable(text).splitlines())
    yield f"\nwhat to do:\n  {remedy}"


def _event(letter: DeadLetter) -> Event | None:
    record = letter.item.get("event") if letter.kind == "step" else None
    if record is None:
        return None
    try:
        return Event.from_record(record, attempt=letter.attempt)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _event_type(letter: DeadLetter) -> str:
    record = letter.item.get("event")
    return str(record.get("type", "")) if isinstance(record, dict) else ""


def _call(letter: DeadLetter) -> dict[str, Any]:
    """The call of a write; of one that cannot be read, there are the bytes."""
    try:
        write = write_of(letter)
        call = call_of(write)
    except (CannotRetry, KommoError):
        return {}
    return {"event_id": write.event_id, "call": {"method": call.method, "path": call.path, "json": call.body}}


def _bytes(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": b64encode(body).decode()}


def _size(number: int) -> str:
    for unit, name in _UNITS:
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number} bytes"
