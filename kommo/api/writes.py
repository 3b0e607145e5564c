"""One change of data in Kommo as a value: what it does, its HTTP call, and its record. Does no I/O."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal, Self

from kommo.api.entities import PLURALS, Entity, Id, Reference
from kommo.api.values import PENDING
from kommo.errors import RequestError

API = "/api/v4"

Action = Literal["create", "update"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What to change.

    `entity` is what is updated, or what a task or a note hangs on. `item` is the id of a note that is updated.
    `chain` is the key of the queue that keeps its order: `lead:123`, or, while it is empty, a new one.
    """

    #: `leads`, `contacts`, `companies`, `tasks` or `notes`.
    resource: str
    action: Action
    body: Mapping[str, Any]
    entity: Entity | None = None
    item: Id | None = None
    chain: str = ""
    #: How what is created can be found again if its answer is lost: {"query": text, "field": {"field_id": 5} or
    #: {"field_code": "ORDER"}, or None when the text is the name}.
    marker: Mapping[str, Any] | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The ids of the writes whose results this one refers to, each once, in the order of their use."""
        return tuple(dict.fromkeys(self._pending()))

    def _pending(self) -> Iterator[str]:
        for id_ in (self.entity.id if self.entity else None, self.item):
            if isinstance(id_, Reference):
                yield id_.write_id
        yield from pending_in(self.body)

    def resolve(self, results: Mapping[str, int]) -> Self:
        """Put the ids in that earlier writes have brought; raises RequestError naming a write that has none."""
        missing = [write_id for write_id in self.needs if write_id not in results]
        if missing:
            raise RequestError(f"this write refers to others that have no result: {', '.join(missing)}")
        entity = self.entity and Entity(self.entity.kind, _resolved_id(self.entity.id, results))
        item = None if self.item is None else _resolved_id(self.item, results)
        return replace(self, entity=entity, item=item, body=_resolved(self.body, results))


@dataclass(frozen=True, kw_only=True)
class Write(Change):
    """A change that a handler asked for with `kommo.later`, and who asked, when and why.

    `id` is the same whenever the same step runs again, so that asking twice is asking once.
    """

    id: str
    account_id: int
    delivery_id: str
    event_id: str
    handler: str
    asked_at: datetime
    #: What to do when the answer to a creation was lost: "look" for it where that can be done, "repeat" or "park" it.
    on_doubt: str = "look"

    def to_record(self) -> dict[str, Any]:
        """Return a JSON object from which `from_record` makes the same write."""
        record = {field.name: getattr(self, field.name) for field in fields(self)}
        entity = self.entity and [self.entity.kind, _id_record(self.entity.id)]
        item = _id_record(self.item)
        return {**record, "entity": entity, "item": item, "asked_at": self.asked_at.isoformat()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Make the write again; raises KeyError or ValueError for what is no record of one."""
        known = {field.name: record[field.name] for field in fields(cls) if field.name in record}
        chain = record["chain"]
        entity = record["entity"] and Entity(record["entity"][0], _id_again(record["entity"][1], chain))
        item = None if record["item"] is None else _id_again(record["item"], chain)
        asked_at = datetime.fromisoformat(record["asked_at"])
        return cls(**{**known, "entity": entity, "item": item, "asked_at": asked_at})


def request_of(change: Change) -> tuple[str, str, Any]:
    """Return method, path and JSON body of a change: https://developers.kommo.com/reference.

    A collection takes an array, here of one; an entity takes an object. Raises RequestError while a reference
    is unresolved.
    """
    if change.needs:
        raise RequestError(f"this write waits for others: {', '.join(change.needs)}")
    path = _collection(change)
    if change.action == "create":
        return "POST", path, [dict(change.body)]
    return "PATCH", f"{path}/{_own_id(change)}", dict(change.body)


def collection_of(change: Change) -> str:
    """Return the path that takes an array of such changes; notes of many entities share one."""
    if change.resource == "notes" and change.entity is not None:
        return f"{API}/{PLURALS[change.entity.kind]}/notes"
    return f"{API}/{change.resource}"


def element_of(change: Change) -> dict[str, Any]:
    """Return what stands for a change in such an array."""
    if change.entity is None:
        return dict(change.body)
    return {"entity_id" if change.resource == "notes" else "id": change.entity.id, **change.body}


def _collection(change: Change) -> str:
    if change.resource != "notes":
        return f"{API}/{change.resource}"
    if change.entity is None:
        raise RequestError("a note hangs on an entity, and none is named")
    return f"{API}/{PLURALS[change.entity.kind]}/{change.entity.id}/notes"


def _own_id(change: Change) -> Id:
    if change.resource == "notes" and change.item is not None:
        return change.item
    if change.resource != "notes" and change.entity is not None:
        return change.entity.id
    raise RequestError("an update names what it updates")


def result_of(change: Change, answer: object) -> dict[str, Any]:
    """Return the one object of an answer, whether it came bare, in `_embedded`, or not at all (then empty)."""
    found = listed(answer, change.resource)
    if found:
        return found[0]
    return dict(answer) if isinstance(answer, Mapping) else {}


def listed(answer: object, resource: str) -> list[dict[str, Any]]:
    """Return the objects under `_embedded`, or the one that came bare; none for another shape."""
    if not isinstance(answer, Mapping):
        return []
    embedded = answer.get("_embedded")
    items = embedded.get(resource) if isinstance(embedded, Mapping) else None
    if isinstance(items, list):
        return [dict(item) for item in items if isinstance(item, Mapping)]
    return [dict(answer)] if "id" in answer else []


def pending_in(value: object) -> Iterator[str]:
    """Walk a body and give the id of each write that it refers to."""
    if isinstance(value, Mapping):
        if _is_marker(value):
            yield value[PENDING]
            return
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from pending_in(item)


def _is_marker(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and isinstance(value.get(PENDING), str)


def _resolved(value: Any, results: Mapping[str, int]) -> Any:
    if isinstance(value, Mapping):
        if _is_marker(value):
            return results[value[PENDING]]
        return {key: _resolved(item, results) for key, item in value.items()}
    return [_resolved(item, results) for item in value] if isinstance(value, list) else value


def _resolved_id(id_: Id, results: Mapping[str, int]) -> Id:
    return results[id_.write_id] if isinstance(id_, Reference) else id_


def _id_record(id_: Id | None) -> int | dict[str, str] | None:
    return {PENDING: id_.write_id} if isinstance(id_, Reference) else id_


def _id_again(recorded: Any, chain: str) -> Id:
    """A reference rides in the chain of its write, which is therefore the chain of whoever hangs on it."""
    return Reference(recorded[PENDING], chain=chain) if isinstance(recorded, Mapping) else int(recorded)
