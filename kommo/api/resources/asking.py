"""Check what a handler asks for and make a change of it: the same for acting now and for later.

Here leads, contacts, companies and customers; tasks and notes are in `activities`. Nothing is sent here; only a name
in place of an id costs a look at the account's metadata, which is remembered.
Bodies: https://developers.kommo.com/reference (leads, contacts, companies).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Generic, TypeVar

from kommo.api.constants import meant
from kommo.api.entities import Entity, Reference, checked_id
from kommo.api.resources.markers import marker_of
from kommo.api.resources.names import Names
from kommo.api.values import custom_fields, links, tags, to_json
from kommo.api.writes import Change
from kommo.errors import RequestError

_KINDS: Final = {"leads": "lead", "contacts": "contact", "companies": "company", "customers": "customer"}

#: Kommo sets these itself. Its PATCH is last-write-wins, so an `updated_at` only invites a conflict.
_NOT_WRITABLE: Final = frozenset(
    {"id", "account_id", "updated_at", "group_id", "is_deleted", "closest_task_at", "score", "_links"}
)
_SHARED_FIELDS: Final = frozenset(
    {"name", "responsible_user_id", "responsible", "created_by", "updated_by", "created_at", "request_id", "_embedded"}
    | {"custom_fields_values", "fields", "add_tags", "remove_tags", "tags_to_add", "tags_to_delete"}
)
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "leads": _SHARED_FIELDS
    | {"price", "status_id", "pipeline_id", "stage", "pipeline", "closed_at", "loss_reason_id", "visitor_uid"}
    | {"contacts", "companies"},
    "contacts": _SHARED_FIELDS | {"first_name", "last_name"},
    "companies": _SHARED_FIELDS,
    "customers": _SHARED_FIELDS | {"next_price", "next_date", "status_id", "periodicity"},
    "tasks": frozenset({"duration", "created_by", "updated_by", "created_at", "request_id", "is_completed"})
    | {"entity", "text", "due_in", "due_at", "task_type", "responsible_user_id", "responsible", "result"},
    "notes": frozenset({"created_by", "updated_by", "created_at", "request_id", "responsible_user_id"})
    | {"entity", "text", "note_type", "params", "is_need_to_trigger_digital_pipeline"},
}
#: Options that exist, but not here.
_ELSEWHERE: Final = {
    "tags": "are given with add_tags= and remove_tags=",
    "stage": "is for leads, nothing else stands in a pipeline",
    "pipeline": "is for leads, nothing else stands in a pipeline",
    "responsible": "is for tasks and what has a card; here it is responsible_user_id=",
    "marker": "is for creating leads, contacts, companies and customers",
}

Created = TypeVar("Created")
Updated = TypeVar("Updated")


def check_names(resource: str, given: Mapping[str, Any]) -> None:
    """Raise RequestError for a field that Kommo sets itself, and for one that looks like a slip of the pen.

    A name that resembles nothing is let through: the API grows.
    """
    known = _FIELDS[resource]
    for name in given:
        if name in known:
            continue
        if name in _NOT_WRITABLE:
            raise RequestError(f"{resource}: {name} is set by Kommo and cannot be written")
        if name in _ELSEWHERE:
            raise RequestError(f"{resource}: {name}= {_ELSEWHERE[name]}")
        hint = meant(name, sorted(known))
        if hint:
            raise RequestError(f"{resource} have no {name}{hint}")


def update_of(resource: str, entity: Entity, body: dict[str, Any], item: int | Reference | None = None) -> Change:
    if not body:
        raise RequestError(f"{resource}.update names no field to change")
    return Change(resource=resource, action="update", body=body, entity=entity, item=item, chain=entity.chain)


class Entities(Generic[Created, Updated]):
    """Create and update leads, contacts, companies or customers."""

    def __init__(
        self,
        resource: str,
        create: Callable[[Change], Created],
        update: Callable[[Change], Updated],
        names: Names | None = None,
    ) -> None:
        self._resource = resource
        self._kind = _KINDS[resource]
        self._do_create = create
        self._do_update = update
        self._names = names or Names()

    def create(self, *, marker: str | int | None = None, **values: Any) -> Created:
        """Create one entity, from Kommo's own field names and `fields= add_tags=`; leads also `contacts= companies=`.

        Names go where ids do: `stage= pipeline=` of a lead, `responsible=`, and custom fields in `fields=`.
        `marker` is "name" or a key of `fields`: what the entity is found by if the answer is lost.
        Raises RequestError, before anything is sent, for what cannot be right.
        """
        check_names(self._resource, values)
        if "remove_tags" in values:
            raise RequestError("remove_tags= is for update: a new entity has no tags yet")
        body = self._plain(values)
        embedded = _embedded(self._resource, values)
        if embedded:
            body["_embedded"] = embedded
        found_by = marker_of(marker, values, body)
        chain = _chain_of_links(values)
        return self._do_create(
            Change(resource=self._resource, action="create", body=body, chain=chain, marker=found_by)
        )

    def update(self, id_: int | Reference, /, **values: Any) -> Updated:
        """Change only the fields that are given, and the tags of `add_tags= remove_tags=`; raises RequestError.

        Names go where ids do, as in `create`.
        """
        entity = Entity(self._kind, checked_id(id_, self._kind))
        check_names(self._resource, values)
        _refuse_links(values)
        body = self._plain(values)
        if values.get("add_tags"):
            body["tags_to_add"] = tags(values["add_tags"], "add_tags")
        if values.get("remove_tags"):
            body["tags_to_delete"] = tags(values["remove_tags"], "remove_tags")
        if "_embedded" in values:
            body["_embedded"] = to_json(values["_embedded"], "_embedded")
        return self._do_update(update_of(self._resource, entity, body))

    def _plain(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What goes as it is, names as ids, and custom fields."""
        special = {"fields", "add_tags", "remove_tags", "contacts", "companies", "_embedded"}
        body = {name: to_json(value, name) for name, value in self._names.ids(values).items() if name not in special}
        if values.get("fields"):
            if "custom_fields_values" in body:
                raise RequestError("give fields= or custom_fields_values=, not both")
            body["custom_fields_values"] = custom_fields(values["fields"], partial(self._names.field, self._resource))
        return body


def _embedded(resource: str, values: Mapping[str, Any]) -> dict[str, Any]:
    if resource != "leads":
        _refuse_links(values)
    given = values.get("_embedded") or {}
    if not isinstance(given, Mapping):
        raise RequestError(f"_embedded= is a dict, not {given!r:.80}")
    embedded: dict[str, Any] = to_json(given, "_embedded")
    parts = {
        "tags": tags(values.get("add_tags") or (), "add_tags"),
        "contacts": links(values.get("contacts") or (), "contact", "contacts"),
        "companies": links(values.get("companies") or (), "company", "companies"),
    }
    for name, items in parts.items():
        if items:
            embedded[name] = [*embedded.get(name, []), *items]
    return embedded


def _refuse_links(values: Mapping[str, Any]) -> None:
    for name in ("contacts", "companies"):
        if name in values:
            raise RequestError(f"{name}= links only what a new lead is created with; else link(id, to=...)")


def _chain_of_links(values: object) -> str:
    """A new entity that links to one which is not there yet stays behind it in the same queue."""
    if isinstance(values, Reference):
        return values.chain
    if isinstance(values, Mapping):
        values = list(values.values())
    if isinstance(values, (list, tuple)):
        return next((chain for chain in map(_chain_of_links, values) if chain), "")
    return ""
