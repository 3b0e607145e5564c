"""Read what an item of a webhook shows, field by field, in the names that writes use.

A tag, a link and a custom field are fields of their own (`tag:won`, `lead:7`, `cf:771`), so that one that was written
is told from one that somebody else changed. https://developers.kommo.com/docs/webhooks-general
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from kommo.hooks import kinds
from kommo.hooks.echoes import values
from kommo.hooks.events import Event
from kommo.hooks.fields import CustomField, custom_fields, linked_ids, tags
from kommo.hooks.items import unwrapped

#: What changes with every write or says who, when and what was before: nobody's change of its own.
_BOOKKEEPING: Final = frozenset(
    {"id", "type", "account_id", "date_create", "created_at", "created_user_id", "created_by", "request_id"}
    | {"last_modified", "updated_at", "date_modify", "modified_user_id", "modified_by", "updated_by", "timestamp_x"}
    | {"action_close", "main_user", "metadata"}
)
#: What stands for a member that has no value but to be there.
_THERE: Final = "1"
_NESTED: Final = frozenset({"tags", "custom_fields", "linked_leads_id", "linked_contacts_id", "result"})
#: A task's fields have other names in the API: https://developers.kommo.com/reference (tasks).
_TASK_NAMES: Final[Mapping[str, str]] = {
    "task_type": "task_type_id",
    "status": "is_completed",
    "complete_before": "complete_till",
    "element_id": "entity_id",
    "element_type": "entity_type",
}
_NOTE_NAMES: Final[Mapping[str, str]] = {"element_id": "entity_id", "element_type": "entity_type"}


@dataclass(frozen=True)
class Member:
    """A tag, a link or a custom field of an item, and another name of it: a tag's id, a custom field's code."""

    name: str
    exact: str
    #: What `values.of_several` is made of: each list is one way in which it may have been written.
    meant: Sequence[Sequence[Any]]
    alias: str = ""


@dataclass(frozen=True)
class Shown:
    """The fields of an item, with their exact digests; the loose ones are made when a write asks for them."""

    exact: Mapping[str, str]
    plain: Mapping[str, object]
    members: Mapping[str, Member]
    #: Other names of members.
    aliases: Mapping[str, str]
    #: The fields whose old value came along and differs.
    previous: frozenset[str]
    #: Who made the change, where the item says so: it tells two changes of one second apart.
    author: str

    @cached_property
    def digest(self) -> str:
        """Tell this report from any other of the entity."""
        return values.exact([self.author, sorted(self.previous), self.exact])

    def loose(self, name: str) -> frozenset[str] | None:
        """Return the digests by which a field is recognised; None if the item does not tell it."""
        if name in self.plain:
            return frozenset({values.loose(self.plain[name])})
        member = self.members.get(name)
        return frozenset(map(values.of_several, member.meant)) if member else None

    def matches(self, name: str, accepted: frozenset[str]) -> bool | None:
        """Say whether a field shows one of the values; None when the item does not tell the field at all."""
        told = self.loose(name)
        if told is None:
            return values.ABSENT in accepted if is_member(name) else None
        return values.ANY in accepted or not accepted.isdisjoint(told)


def is_member(name: str) -> bool:
    """Say whether a field is a tag, a link or a custom field: what is not sent is not there; others are unchanged."""
    return ":" in name or "#" in name or "@" in name


def shown(event: Event) -> Shown:
    """Return what the item of an event shows."""
    body = unwrapped(event.raw) if event.type.endswith(".note_added") else event.raw
    plain = dict(_plain(event, body))
    members = {member.name: member for member in _members(body)}
    return Shown(
        exact={
            **{name: values.exact(value) for name, value in plain.items()},
            **{name: member.exact for name, member in members.items()},
        },
        plain=plain,
        members=members,
        aliases={member.alias: name for name, member in members.items() if member.alias},
        previous=frozenset(_previous(event, body)),
        author=values.meaning(body.get("modified_user_id", body.get("modified_by"))),
    )


def _plain(event: Event, body: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    names = _TASK_NAMES if event.entity_type == "task" else {}
    if event.type.endswith(".note_added"):
        names = _NOTE_NAMES
    for key, value in body.items():
        if key in _BOOKKEEPING or key in _NESTED or key.startswith("old_"):
            continue
        if key not in names and key in names.values() and any(key == names[own] and own in body for own in names):
            # The number is the better of the two: `complete_before`, not the text in `complete_till`.
            continue
        name = names.get(key, key)
        yield name, kinds.entity_named(value) if name == "entity_type" else value
    result = body.get("result")
    if isinstance(result, dict) and result.get("text"):
        yield "result", result["text"]


def _previous(event: Event, body: Mapping[str, Any]) -> Iterator[str]:
    """Give the fields whose old value came along and differs: Kommo also sends equal ones."""
    for key, old in body.items():
        if key.startswith("old_") and values.meaning(old) != values.meaning(body.get(key[4:])):
            yield _TASK_NAMES.get(key[4:], key[4:]) if event.entity_type == "task" else key[4:]


def _members(body: Mapping[str, Any]) -> Iterator[Member]:
    for tag in tags(body.get("tags")):
        name, alias = (f"tag:{tag.name}", f"tag#{tag.id}") if tag.name else (f"tag#{tag.id}", "")
        yield Member(name, _THERE, [["1"]], alias if tag.id else "")
    for kind in ("lead", "contact"):
        for linked in linked_ids(body.get(f"linked_{kind}s_id")):
            yield Member(f"{kind}:{linked}", _THERE, [["1"]])
    for custom in custom_fields(body.get("custom_fields")):
        yield _custom(custom)


def _custom(custom: CustomField) -> Member:
    told = [[value.value, value.enum_id, value.enum_code] for value in custom.values]
    meant = [[value.value for value in custom.values]]
    if all(value.enum_id is not None for value in custom.values):
        meant.append(options([value.enum_id for value in custom.values]))
    return Member(f"cf:{custom.id}", values.exact(told), meant, f"cf@{custom.code}" if custom.code else "")


def options(enum_ids: Iterable[object]) -> list[str]:
    """Write the options of a custom field so that they are no values."""
    return [f"option {values.meaning(enum_id)}" for enum_id in enum_ids]
