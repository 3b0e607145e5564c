"""Read from a request what its webhooks will show.

Bodies of requests: https://developers.kommo.com/reference (leads, contacts, companies, tasks, notes, links). They and
the webhooks name and write things differently; what a webhook never tells is expected all the same, and not missed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kommo.hooks import kinds, scalars
from kommo.hooks.echoes import values
from kommo.hooks.echoes.shown import options

_PATH: Final = re.compile(
    r"/api/v4/(?P<kind>leads|contacts|companies|customers|tasks)"
    r"(?:/(?P<id>[0-9]{1,18}))?(?:/(?P<rest>notes|link|unlink|complex))?/?"
)
_SINGULAR: Final[Mapping[str, str]] = {**kinds.ENTITY_OF_KEY, "tasks": "task"}
#: What a request may say beside the fields: who, when, and what is read by itself.
_NO_FIELDS: Final = frozenset(
    {"id", "request_id", "created_at", "updated_at", "created_by", "updated_by", "account_id", "_links"}
    | {"_embedded", "custom_fields_values", "tags_to_add", "tags_to_delete", "contacts", "companies", "result"}
    | {"first_name", "last_name", "metadata"}
)
_CALLS: Final = ("call_in", "call_out")

#: The loose digests that a field may show.
Accepted = frozenset[str]


@dataclass(frozen=True)
class Expectation:
    """What the webhook of one entity will show; `id` is None for one that the request creates."""

    kind: str
    id: int | None
    fields: Mapping[str, Accepted] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """Name what the webhook will be about: `lead:7`, or `lead+` and what tells a new one from others."""
        return f"{self.kind}:{self.id}" if self.id is not None else new_subject(self.kind, self.fields)


def new_subject(kind: str, fields: Mapping[str, Accepted]) -> str:
    """Name the place where a creation is looked for: by the name or text that was given, a note by its parent."""
    names = marks_of(kind)
    marks = [
        mark for name in names for mark in sorted(fields.get(name, ())) if mark not in (values.ABSENT, values.CHANGED)
    ]
    return "+".join([kind, *marks[: len(names) if kind == "note" else 1]])


def marks_of(kind: str) -> tuple[str, ...]:
    """Return the fields that name the place of a creation: for a note both, for others the first that is given."""
    return ("entity_type", "entity_id") if kind == "note" else ("name", "text")


def expectations(method: str, path: str, json: object) -> list[Expectation]:
    """Return what the webhooks of a request will show; nothing for what changes nothing that webhooks tell.

    Takes arrays and single objects, and passes over what makes no sense: that is Kommo's to refuse.
    """
    match = _PATH.fullmatch(path)
    if match is None or method not in ("POST", "PATCH"):
        return []
    kind, entity_id = _SINGULAR[match["kind"]], _id(match["id"])
    items = [item for item in (json if isinstance(json, list) else [json]) if isinstance(item, Mapping)]
    return [found for item in items for found in _of_item(method, kind, entity_id, match["rest"], item)]


def _of_item(
    method: str, kind: str, entity_id: int | None, rest: str | None, item: Mapping[str, Any]
) -> Iterator[Expectation]:
    if rest == "notes":
        if method == "POST":
            yield _note(kind, entity_id, item)
    elif rest in ("link", "unlink"):
        yield from _links(kind, entity_id, item, linked=rest == "link")
    elif method == "PATCH":
        changed = _id(item.get("id")) if entity_id is None else entity_id
        if changed is not None:
            yield Expectation(kind, changed, dict(_fields(item, new=False)))
    elif entity_id is None:
        yield from _creation(kind, item)
        if rest == "complex":
            yield from _created_along(item)


def _created_along(item: Mapping[str, Any]) -> Iterator[Expectation]:
    """A complex lead brings its contact and company, unless they are there already."""
    for plural in ("contacts", "companies"):
        along = values.as_mapping(item.get("_embedded")).get(plural)
        for inner in along if isinstance(along, list) else ():
            if isinstance(inner, Mapping) and _id(inner.get("id")) is None:
                yield from _creation(_SINGULAR[plural], inner)


def _creation(kind: str, item: Mapping[str, Any]) -> Iterator[Expectation]:
    """A creation without a single value could not be told from anybody's."""
    fields = dict(_fields(item, new=True))
    if fields:
        yield Expectation(kind, None, fields)


def _fields(item: Mapping[str, Any], *, new: bool) -> Iterator[tuple[str, Accepted]]:
    for name, value in item.items():
        if name in _NO_FIELDS or isinstance(value, list | dict):
            continue
        yield name, _accepted(kinds.entity_named(value) if name == "entity_type" else value)
    if item.get("first_name") is not None or item.get("last_name") is not None:
        yield from _name(item, new=new)
    result = values.as_mapping(item.get("result")).get("text")
    if result:
        yield "result", _accepted(result)
    yield from _custom_fields(item.get("custom_fields_values"))
    yield from _tags(item)


def _accepted(value: object) -> Accepted:
    # A box that is not ticked, and a price that there is none of, may be "0" or missing.
    return frozenset({values.loose(value)} if value else {values.loose(value), values.ABSENT, values.loose(0)})


def _name(item: Mapping[str, Any], *, new: bool) -> Iterator[tuple[str, Accepted]]:
    """A contact's name is made of the two; where only one of them changes, what it will be is not known."""
    first, last = item.get("first_name"), item.get("last_name")
    for name, value in (("first_name", first), ("last_name", last)):
        if value is not None:
            yield name, _accepted(value)
    if item.get("name") is None:
        is_known = new or (first is not None and last is not None)
        yield "name", _accepted(f"{first or ''} {last or ''}") if is_known else frozenset({values.CHANGED})


def _custom_fields(given: object) -> Iterator[tuple[str, Accepted]]:
    for raw in given if isinstance(given, list) else ():
        if not isinstance(raw, Mapping):
            continue
        name = f"cf:{raw['field_id']}" if "field_id" in raw else f"cf@{raw.get('field_code')}"
        several = raw.get("values")
        shown = [value for value in several if isinstance(value, Mapping)] if isinstance(several, list) else []
        yield name, frozenset(_custom_values(shown)) or frozenset({values.ANY})


def _custom_values(given: list[Mapping[str, Any]]) -> Iterator[str]:
    """Give every digest by which the values may be recognised; none where only the option's code is given."""
    if all("value" in value for value in given):
        yield values.of_several([value["value"] for value in given])
        if [value["value"] for value in given] == [False]:
            yield values.ABSENT
    if given and all("enum_id" in value for value in given):
        yield values.of_several(options(value["enum_id"] for value in given))


def _tags(item: Mapping[str, Any]) -> Iterator[tuple[str, Accepted]]:
    embedded = values.as_mapping(item.get("_embedded"))
    whole = embedded.get("tags")
    if "tags" in embedded:
        yield "tags", frozenset({values.CHANGED})
    for given, accepted in (
        (whole, values.ANY),
        (item.get("tags_to_add"), values.ANY),
        (item.get("tags_to_delete"), ""),
    ):
        for tag in given if isinstance(given, list) else ():
            name = _tag_name(tag)
            if name is not None:
                yield name, frozenset({accepted})


def _tag_name(tag: object) -> str | None:
    named = values.as_mapping(tag)
    if named.get("name"):
        return f"tag:{named['name']}"
    return f"tag#{named['id']}" if "id" in named else None


def _note(kind: str, entity_id: int | None, item: Mapping[str, Any]) -> Expectation:
    params = values.as_mapping(item.get("params"))
    parent = entity_id if entity_id is not None else _id(item.get("entity_id"))
    fields = {"entity_type": _accepted(kind), "entity_id": _accepted(parent)}
    note_type = item.get("note_type")
    if isinstance(note_type, str) and note_type in kinds.NOTE_TYPE_IDS:
        fields["note_type"] = _accepted(kinds.NOTE_TYPE_IDS[note_type])
    # The text of a call is made of its parameters: https://developers.kommo.com/docs/webhooks-general
    if note_type not in _CALLS and isinstance(params.get("text"), str):
        fields["text"] = _accepted(params["text"])
    return Expectation("note", None, fields)


def _links(kind: str, entity_id: int | None, item: Mapping[str, Any], *, linked: bool) -> Iterator[Expectation]:
    """Give what the two show of a link: a contact its leads, a company also its contacts, a lead nothing."""
    own = _id(item.get("entity_id")) if entity_id is None else entity_id
    if own is None:
        return
    other, other_id = kinds.entity_named(item.get("to_entity_type")), _id(item.get("to_entity_id"))
    if other is None or other_id is None:
        yield Expectation(kind, own)
        return
    yield Expectation(kind, own, _link(kind, other, other_id, linked=linked))
    shown = _link(other, kind, own, linked=linked)
    if shown:
        yield Expectation(other, other_id, shown)


def _link(kind: str, other: str, other_id: int, *, linked: bool) -> dict[str, Accepted]:
    accepted = frozenset({values.ANY if linked else values.ABSENT})
    if kind == "contact" and other == "company":
        return {"linked_company_id": _accepted(other_id) if linked else accepted}
    return {f"{other}:{other_id}": accepted} if kind != "lead" and other in ("lead", "contact") else {}


def _id(value: object) -> int | None:
    number = scalars.whole(value)
    return number if number is not None and number > 0 else None
