"""What has come already: does a webhook's event tell the same change as one that was found in the API?

An event's id answers that only where it rests on what changed (stages, owners) and the second is the same. Of the rest
a webhook and the API say different things: a list shows an entity as it is now. So they are compared by entity, type
and time, and by what both of them show. What is in doubt is not known, and runs.
"""

import html
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kommo.hooks import fields, scalars
from kommo.hooks.events import Event
from kommo.hooks.items import unwrapped

#: Seconds by which the time of a change may differ between a webhook and the API.
_SLACK: Final = 2
#: Seconds before and after a deletion in which a webhook of it, which carries no time, may have come: Kommo's last
#: repetition is sent after 1 h 35 min.
_EARLY: Final = 120
_LATE: Final = 2 * 3600
#: What happens to an entity once. A message has its own id, as a note has.
_ONCE: Final = frozenset(("added", "note_added", "received", "sent"))
#: What is told by its time alone, whatever else the entity shows.
_BY_TIME: Final = frozenset(("restored", "completed", "closed"))
#: What both webhooks and the API show of an entity, whatever has happened to it.
_FACTS: Final = (
    *("name", "price", "status_id", "pipeline_id", "responsible_user_id"),
    *("text", "status", "complete_before", "next_price", "next_date"),
)


@dataclass(frozen=True, slots=True)
class _Came:
    """An event that has come: when it happened, when it was received, and a mark of what it shows."""

    seconds: int | None
    received: int
    mark: int


class Known:
    """The events that have come in and around a gap; about 300 bytes each."""

    def __init__(self) -> None:
        self._came: defaultdict[tuple[str, int | str | None], list[_Came]] = defaultdict(list)

    def learn(self, event: Event, *, received: int) -> None:
        """Remember an event of a delivery that was received at a time (unix seconds)."""
        self._came[event.type, _subject(event)].append(_Came(_seconds(event), received, _mark(event)))

    def has(self, event: Event) -> bool:
        """Say whether this event, found in the API, has come; one deletion accounts for one only, and is used up."""
        came, past = self._came.get((event.type, _subject(event)), []), _past(event)
        if past in _ONCE:
            return bool(came)
        if past == "deleted":
            return self._deleted(came, _seconds(event))
        if past == "updated" and self._told_otherwise(event):
            return True
        mark = _mark(event)
        return any(_near(one, event) and (past in _BY_TIME or one.mark == mark) for one in came)

    @staticmethod
    def _deleted(came: list[_Came], seconds: int | None) -> bool:
        if seconds is None:
            return False
        for one in came:
            if one.seconds is None and -_EARLY <= one.received - seconds <= _LATE:
                came.remove(one)
                return True
            if one.seconds is not None and abs(one.seconds - seconds) <= _SLACK:
                return True
        return False

    def _told_otherwise(self, event: Event) -> bool:
        """Say whether a change is one that webhooks tell as something else: a task was completed, a lead came back."""
        instead = (f"{event.entity_type}.{past}" for past in ("completed", "restored"))
        return any(_near(one, event) for type_ in instead for one in self._came.get((type_, event.entity_id), ()))


def _near(came: _Came, event: Event) -> bool:
    seconds = _seconds(event)
    return came.seconds is not None and seconds is not None and abs(came.seconds - seconds) <= _SLACK


def _past(event: Event) -> str:
    return event.type.partition(".")[2]


def _seconds(event: Event) -> int | None:
    return None if event.occurred_at is None else int(event.occurred_at.timestamp())


def _subject(event: Event) -> int | str | None:
    """What an event is about: for a note itself, not what it hangs on."""
    return scalars.whole(unwrapped(event.raw).get("id")) if _past(event) == "note_added" else event.entity_id


def _mark(event: Event) -> int:
    """Compress what an event shows; good within this process only."""
    body, past = event.raw, _past(event)
    if past == "status_changed":
        return hash(tuple(scalars.whole(body.get(name)) for name in ("old_status_id", "status_id", "pipeline_id")))
    if past == "responsible_changed":
        names = ("old_responsible_user_id", "responsible_user_id")
        return hash(tuple(scalars.whole(body.get(name)) for name in names))
    return hash((tuple(_fact(body, name) for name in _FACTS), _custom_fields(body), _tags(body)))


def _fact(body: Mapping[str, Any], name: str) -> str:
    text = html.unescape(str(body.get(name, "")))
    # What is missing, empty and 0 are not told apart everywhere.
    return "" if text == "0" else text


def _custom_fields(body: Mapping[str, Any]) -> frozenset[tuple[int | None, tuple[str, ...]]]:
    shown = fields.custom_fields(body.get("custom_fields"))
    return frozenset((one.id, tuple(sorted(html.unescape(str(value)) for value in one.all))) for one in shown)


def _tags(body: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(html.unescape(tag.name or "") for tag in fields.tags(body.get("tags")))
