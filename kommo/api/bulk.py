"""Pack writes into as few requests as Kommo allows: merge patches, send many entities at once. Does no I/O.

https://developers.kommo.com/docs/limitations: 250 entities a request at most, 50 advised.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kommo.api.constants import LOST, WON
from kommo.api.entities import PLURALS
from kommo.api.writes import Change, collection_of, element_of, listed, request_of
from kommo.errors import RequestError

#: Entities in one request.
BATCH: Final = 50
#: Writes to one entity that are merged into one patch at most; more only make the next request wait.
DEPTH: Final = 100

_FIELDS: Final = "custom_fields_values"
_STAGE: Final = frozenset({"pipeline_id", "status_id"})
_CLOSED: Final = frozenset({WON, LOST})
_OF_A_STAGE: Final = frozenset({"loss_reason_id", "closed_at"})
_PARTS: Final = frozenset({"first_name", "last_name"})
_ADD, _DELETE, _EMBEDDED = "tags_to_add", "tags_to_delete", "_embedded"


@dataclass(frozen=True)
class Entry:
    """One entity of a request, and the places (chain, write in it) of the writes that it carries out together."""

    body: Mapping[str, Any]
    places: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Batch:
    """One request; `request_id` of an entry is its place in the list."""

    method: str
    path: str
    resource: str
    entries: Sequence[Entry]
    #: A patch to one entity has a path of its own, where an id that does not exist is told apart from a wrong field.
    single: bool = False

    @property
    def json(self) -> list[dict[str, Any]] | dict[str, Any]:
        """The body: an array, or the one object of a patch to one entity."""
        if self.single:
            return {name: value for name, value in self.entries[0].body.items() if name != "id"}
        return [{**entry.body, "request_id": str(place)} for place, entry in enumerate(self.entries)]

    def results(self, answer: object) -> list[dict[str, Any] | None]:
        """Give what Kommo says of each entry, by its `request_id`, or by its place where that is not echoed.

        None for an entry that the answer does not mention.
        """
        items = listed(answer, self.resource)
        by_id = {str(item["request_id"]): item for item in items if "request_id" in item}
        if not by_id and len(items) == len(self.entries):
            return list(items)
        return [by_id.get(str(place)) for place in range(len(self.entries))]


def kind_of(write: Change) -> str:
    """Say with which others a write may share a request: the same resource, action and, for notes, parent.

    A patch that replaces lists as a whole (`_embedded`) goes alone, marked "!": what it replaces is not known here.
    """
    if write.action == "update" and _EMBEDDED in write.body:
        return f"!{write.resource}:{write.action}"
    parent = f":{PLURALS[write.entity.kind]}" if write.resource == "notes" and write.entity else ""
    return f"{write.resource}{parent}:{write.action}"


def pack(chains: Sequence[Sequence[Change]]) -> Batch:
    """Make one request of resolved writes of one kind: each inner sequence is the head of one entity's queue.

    Patches to the same entity become one, later values winning; creations stay one entry each.

    Raises:
        RequestError: a write still waits for another one.
    """
    entries = [entry for number, writes in enumerate(chains) for entry in _entries(number, writes)]
    first = chains[0][0]
    if first.action == "create":
        return Batch("POST", collection_of(first), first.resource, entries)
    if len(entries) == 1:
        _, path, _ = request_of(first)
        return Batch("PATCH", path, first.resource, entries, single=True)
    return Batch("PATCH", collection_of(first), first.resource, entries)


def mergeable(before: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Say whether a patch may join earlier ones of its entity: merged, they must do what they would do in turn.

    `before` is what the earlier ones have merged to.
    """
    if not all(_replaces(before[name], value) for name, value in body.items() if name in before):
        return False
    return _stages_mergeable(before, body) and _names_mergeable(before, body) and _same_naming(before, body)


def _replaces(earlier: object, later: object) -> bool:
    """Whether a null empties a field or is passed over depends on the field; objects may be merged by Kommo."""
    if later is None:
        return earlier is None
    return not isinstance(earlier, Mapping) or (isinstance(later, Mapping) and earlier.keys() <= later.keys())


def _stages_mergeable(before: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """A pipeline alone puts a lead into its first stage; another stage takes the reason of a loss and the end away.

    A lead that was closed already and is closed again in the same way got a new end on its way.
    """
    earlier, later = _STAGE & before.keys(), _STAGE & body.keys()
    if later and _OF_A_STAGE & before.keys():
        return False
    if not earlier or not later or all(before.get(name) == body.get(name) for name in _STAGE):
        return True
    return "status_id" in later and body["status_id"] not in _CLOSED


def _names_mergeable(before: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """A contact's name is made of its parts."""
    return not (("name" in body and _PARTS & before.keys()) or (_PARTS & body.keys() and "name" in before))


def _same_naming(before: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """What one patch names by its id and the other by code or name may be the same field, or the same tag."""
    fields = [_namings(patch.get(_FIELDS), "field_id") for patch in (before, body)]
    tags = [_namings([*_listed(patch.get(_ADD)), *_listed(patch.get(_DELETE))], "id") for patch in (before, body)]
    return all(not earlier or not later or len(earlier | later) == 1 for earlier, later in (fields, tags))


def _namings(items: object, by_id: str) -> set[bool]:
    return {by_id in item for item in _listed(items)}


def _listed(items: object) -> list[Any]:
    return items if isinstance(items, list) else []


def _entries(chain: int, writes: Sequence[Change]) -> Iterator[Entry]:
    for write in writes:
        if write.needs:
            raise RequestError(f"this write waits for others: {', '.join(write.needs)}")
    if writes[0].action == "create":
        yield from (Entry(element_of(write), [(chain, place)]) for place, write in enumerate(writes))
        return
    for places in _same_target(writes):
        group = [writes[place] for place in places]
        yield Entry({"id": target_of(group[0]), **merged([one.body for one in group])}, [(chain, p) for p in places])


def _same_target(writes: Sequence[Change]) -> Iterator[Sequence[int]]:
    """Group what changes the same thing: a lead, or one of its notes, wherever it stands in the queue.

    A thing must not be in a request twice, and patches to different things may change places.
    """
    groups: dict[object, list[int]] = {}
    for place, write in enumerate(writes):
        groups.setdefault(target_of(write), []).append(place)
    yield from groups.values()


def target_of(write: Change) -> object:
    """Return the id of what a patch changes, or the reference to it."""
    return write.item if write.resource == "notes" else write.entity and write.entity.id


def merged(bodies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make one patch of several in order: the later value wins per field and per custom field, tags add up."""
    if len(bodies) == 1:
        return dict(bodies[0])
    result: dict[str, Any] = {}
    for body in bodies:
        for name, value in body.items():
            if name == _FIELDS:
                result[name] = _fields_merged(_listed(result.get(name)), _listed(value))
            elif name not in (_ADD, _DELETE):
                result[name] = value
    return {**result, **_tags_merged(bodies)}


def _fields_merged(earlier: Sequence[Any], later: Sequence[Any]) -> list[Any]:
    by_field = {_field_key(field): field for field in earlier}
    for field in later:
        by_field.pop(_field_key(field), None)
        by_field[_field_key(field)] = field
    return list(by_field.values())


def _field_key(field: Mapping[str, Any]) -> tuple[str, Any]:
    return ("id", field["field_id"]) if "field_id" in field else ("code", field.get("field_code"))


def _tags_merged(bodies: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The last word on each tag counts: added or taken away."""
    last: dict[tuple[str, Any], tuple[str, Any]] = {}
    for body in bodies:
        for operation in (_ADD, _DELETE):
            for tag in body.get(operation) or ():
                key = ("id", tag["id"]) if "id" in tag else ("name", tag.get("name"))
                last.pop(key, None)
                last[key] = (operation, tag)
    parts = {operation: [tag for kind, tag in last.values() if kind == operation] for operation in (_ADD, _DELETE)}
    return {operation: tags for operation, tags in parts.items() if tags}
