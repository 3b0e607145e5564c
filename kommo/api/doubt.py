"""Find out whether a creation whose answer was lost was done: what to ask Kommo for, and what of the answer is it.

Does no I/O. Kommo's POST is not idempotent and keeps no request id, so that only what was written can be looked for:
a task and a note by their entity and text, a lead, contact or company by the marker that the handler gave it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from kommo.api.entities import PLURALS
from kommo.api.protocol import Params
from kommo.api.transport import NO_ANSWER
from kommo.api.writes import API, Write, listed
from kommo.errors import ServerError, Unreachable

#: How far Kommo's clock may be behind ours.
_CLOCKS: Final = timedelta(minutes=2)
#: Newest entities that are looked through.
_NEWEST: Final = 50
#: Statuses of a ServerError with which nothing was done; with 4xx it has a code that is worth a retry.
_NOTHING_DONE: Final = frozenset({*range(400, 500), HTTPStatus.SERVICE_UNAVAILABLE})
#: What of a task and a note has to be the same.
_SAME: Final = {"tasks": ("text", "complete_till", "task_type_id"), "notes": ("note_type",)}


def may_be_done(error: Exception) -> bool:
    """Say whether Kommo may have done the work all the same: the answer was lost, broken, or says nothing of it."""
    if isinstance(error, Unreachable):
        return error.code == NO_ANSWER
    return isinstance(error, ServerError) and error.status not in _NOTHING_DONE


@dataclass(frozen=True)
class Search:
    """A list to read, and how to know in it what the write has made."""

    write: Write
    path: str
    params: Params

    def found(self, answer: object) -> int | None:
        """Return the id of the newest entity of the answer that the write has made; None when there is none."""
        since = int((self.write.asked_at - _CLOCKS).timestamp())
        ids = [
            item["id"]
            for item in listed(answer, self.write.resource)
            if isinstance(item.get("id"), int) and _created(item) >= since and self._is_it(item)
        ]
        return max(ids, default=None)

    def _is_it(self, item: Mapping[str, Any]) -> bool:
        write = self.write
        if write.marker is not None:
            return _has_marker(item, write.marker)
        same = all(item.get(name) == write.body[name] for name in _SAME[write.resource] if name in write.body)
        return same and _text(item, write.resource) == _text(write.body, write.resource)


def search_for(write: Write) -> Search | None:
    """Say how a creation is looked for; None when it cannot be told from others."""
    path = f"{API}/{write.resource}"
    if write.resource == "tasks" and "entity_id" in write.body:
        of = {"entity_id": [write.body["entity_id"]], "entity_type": write.body["entity_type"]}
        return Search(write, path, {"filter": of, "order": {"created_at": "desc"}, "limit": _NEWEST})
    if write.resource == "notes" and write.entity is not None:
        path = f"{API}/{PLURALS[write.entity.kind]}/{write.entity.id}/notes"
        return Search(write, path, {"order": {"id": "desc"}, "limit": _NEWEST})
    if write.marker is not None:
        return Search(write, path, {"query": write.marker["query"], "order": {"id": "desc"}, "limit": _NEWEST})
    return None


def _created(item: Mapping[str, Any]) -> int:
    at = item.get("created_at")
    return at if isinstance(at, int) else 0


def _text(item: Mapping[str, Any], resource: str) -> object:
    """What was written in a task, or in a note: its text, or all of its params where it has none."""
    if resource != "notes":
        return item.get("text")
    params = item.get("params")
    return params.get("text", params) if isinstance(params, Mapping) else params


def _has_marker(item: Mapping[str, Any], marker: Mapping[str, Any]) -> bool:
    naming, wanted = marker.get("field"), str(marker["query"])
    if naming is None:
        return str(item.get("name")).strip() == wanted
    fields = item.get("custom_fields_values")
    return any(
        str(value.get("value")) == wanted
        for field in (fields if isinstance(fields, list) else [])
        if all(field.get(name) == given for name, given in naming.items())
        for value in field.get("values") or []
    )
