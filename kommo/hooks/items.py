"""Take a decoded delivery apart into its items, whichever of Kommo's forms it has.

Ordinary: `{entity: {action: [item, …]}}`, with an `account` block first, last or missing. An action's items may come as
a list, keyed by numbers, or as the one item itself; a deletion may be a bare id. A widget's step in the Digital
Pipeline is one `event` with its `data`.

https://developers.kommo.com/docs/webhooks-general · https://developers.kommo.com/docs/webhooks-dp
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kommo.hooks import kinds, scalars

# What a delivery says of itself, not of an entity.
_ENVELOPE = frozenset(("account", "account_id", "subdomain", "timestamp"))
_WIDGET_ENVELOPE = _ENVELOPE | {"event", "action"}
_WIDGET_STATUS = ("lead_appeared_in_status", 15)

_TIMES = ("updated_at", "last_modified", "date_modify", "created_at", "date_create")
# `date_create` of a note is local time.
_NOTE_TIMES = ("updated_at", "created_at")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a delivery reports, with the keys that led to it."""

    key: str
    action: str
    raw: Mapping[str, Any]
    #: Unix seconds that the delivery gives for all of its items.
    sent_at: int | None = None
    #: Whether `raw` had to be made up because there was no object where one belongs.
    is_bare: bool = False

    @property
    def body(self) -> Mapping[str, Any]:
        """The fields themselves: a note is wrapped once more."""
        return unwrapped(self.raw) if self.is_note else self.raw

    @property
    def is_note(self) -> bool:
        """Whether the item is a note, whatever it stands under."""
        return self.action == "note" or kinds.ENTITY_OF_KEY.get(self.key) == "note"

    @property
    def seconds(self) -> int | None:
        """Return when it happened, in unix seconds; None if neither item nor delivery says so."""
        body = self.body
        # The texts of a task are UTC, and only those.
        read = scalars.epoch_or_clock if kinds.ENTITY_OF_KEY.get(self.key) == "task" else scalars.epoch
        for name in _NOTE_TIMES if self.is_note else _TIMES:
            seconds = read(body.get(name))
            if seconds is not None:
                return seconds
        return self.sent_at


def unwrapped(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the note inside `leads[note][0]`, and anything else as it is."""
    note = raw.get("note")
    return note if isinstance(note, dict) else raw


def items_in(delivery: Mapping[str, Any]) -> Iterator[Item]:
    """Yield the items of a decoded delivery in the order in which they came."""
    sent_at = scalars.epoch(delivery.get("timestamp"))
    step = _widget_step(delivery)
    if step is not None:
        yield step
    for key, actions in delivery.items():
        if key in (_WIDGET_ENVELOPE if step else _ENVELOPE):
            continue
        if isinstance(actions, dict):
            for action, content in actions.items():
                yield from _items(key, action, content, sent_at)
        elif _says_something(actions):
            yield Item(key, "", {"value": actions}, sent_at, is_bare=True)


def _items(key: str, action: str, content: Any, sent_at: int | None) -> Iterator[Item]:
    members = scalars.members(content) if isinstance(content, dict | list) else [content]
    for member in members:
        if not _says_something(member):
            continue
        if isinstance(member, dict):
            yield Item(key, action, member, sent_at)
        elif action == "delete" and scalars.any_id(member) is not None:
            yield Item(key, action, {"id": member}, sent_at)
        else:
            yield Item(key, action, {"value": member}, sent_at, is_bare=True)


def _says_something(value: Any) -> bool:
    return value is not None and value not in ("", [], {})


def _widget_step(delivery: Mapping[str, Any]) -> Item | None:
    event = delivery.get("event")
    if not isinstance(event, dict) or not isinstance(event.get("data"), dict):
        return None
    code = event.get("type_code", scalars.whole(event.get("type")))
    seconds = scalars.epoch(event.get("time"))
    if code in _WIDGET_STATUS:
        return Item("leads", "status", event["data"], seconds)
    return Item("event", str(code), event, seconds)


def accounts_in(delivery: Mapping[str, Any], items: Iterable[Item]) -> set[int]:
    """Return the accounts that a delivery names: in its account block, else at its top, else in its items."""
    block = delivery.get("account")
    named = _account(block.get("id")) if isinstance(block, dict) else set()
    named = named or _account(delivery.get("account_id"))
    if named:
        return named
    return set().union(
        *(_account(item.body.get("account_id")) | _account(item.raw.get("account_id")) for item in items)
    )


def _account(value: object) -> set[int]:
    number = scalars.whole(value)
    return {number} if number is not None and number > 0 else set()
