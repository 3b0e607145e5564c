"""Show what the API knows of an entity as a webhook shows it: older names, other forms of custom fields.

https://developers.kommo.com/docs/webhooks-general · https://developers.kommo.com/reference (leads, contacts, tasks)
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from kommo.hooks import scalars
from kommo.hooks.kinds import CALL_NOTES, NOTE_TYPE_IDS

Json = Mapping[str, Any]

#: Under which key a webhook tells of each kind: companies are among the contacts, tasks are in the singular.
KEYS: Final = MappingProxyType(
    {"lead": "leads", "contact": "contacts", "company": "contacts", "customer": "customers", "task": "task"}
)
#: Kommo's numbers of what tasks and notes hang on.
_CODES: Final = MappingProxyType({"contact": 1, "lead": 2, "company": 3, "customer": 12})
_SINGULAR: Final = MappingProxyType(
    {"leads": "lead", "contacts": "contact", "companies": "company", "customers": "customer"}
)


def card_of(kind: str, entity: Json) -> dict[str, Any]:
    """Return the item of an entity; `kind` is lead, contact, company, customer or task."""
    return _CARDS[kind](entity)


def _lead(entity: Json) -> dict[str, Any]:
    names = ("status_id", "pipeline_id", "price", "loss_reason_id")
    return {**_card(entity), **_taken(entity, names), "date_close": entity.get("closed_at")}


def _contact(entity: Json) -> dict[str, Any]:
    return {
        **_card(entity),
        **_taken(entity, ("first_name", "last_name")),
        "linked_company_id": next(_ids(entity, "companies"), None),
        # Keyed by the lead's id, not by a place.
        "linked_leads_id": {str(lead_id): {"ID": lead_id} for lead_id in _ids(entity, "leads")},
        "type": "contact",
    }


def _company(entity: Json) -> dict[str, Any]:
    return {**_card(entity), "type": "company"}


def _customer(entity: Json) -> dict[str, Any]:
    return {**_card(entity), **_taken(entity, ("next_price", "next_date", "status_id", "periodicity"))}


def _card(entity: Json) -> dict[str, Any]:
    return {
        **_taken(entity, ("id", "name", "responsible_user_id", "group_id")),
        "date_create": entity.get("created_at"),
        "last_modified": entity.get("updated_at"),
        "created_user_id": entity.get("created_by"),
        "modified_user_id": entity.get("updated_by"),
        "account_id": entity.get("account_id"),
        "tags": [_taken(tag, ("id", "name")) for tag in _embedded(entity, "tags")],
        "custom_fields": [_field(value) for value in _mappings(entity.get("custom_fields_values"))],
        **_taken(entity, ("created_at", "updated_at")),
    }


def _task(entity: Json) -> dict[str, Any]:
    done = scalars.flag(entity.get("is_completed"))
    result = entity.get("result")
    return {
        "id": entity.get("id"),
        "element_id": entity.get("entity_id"),
        "element_type": _CODES.get(_SINGULAR.get(str(entity.get("entity_type")), "")),
        "task_type": entity.get("task_type_id"),
        "date_create": _clock(entity.get("created_at")),
        "text": entity.get("text"),
        "status": bool(done),
        "created_user_id": entity.get("created_by"),
        "modified_user_id": entity.get("updated_by"),
        "last_modified": _clock(entity.get("updated_at")),
        **_taken(entity, ("account_id", "responsible_user_id", "group_id", "duration")),
        "complete_till": _clock(entity.get("complete_till")),
        "result": _taken(result, ("id", "text")) if isinstance(result, Mapping) else None,
        **_taken(entity, ("created_at", "updated_at")),
        "complete_before": entity.get("complete_till"),
    }


_CARDS: Final[Mapping[str, Callable[[Json], dict[str, Any]]]] = {
    "lead": _lead,
    "contact": _contact,
    "company": _company,
    "customer": _customer,
    "task": _task,
}


def note_on(kind: str, note: Json) -> dict[str, Any]:
    """Return the item of a note on an entity of this kind; it is wrapped once more, beside the kind of a contact."""
    params = note.get("params")
    inside = params if isinstance(params, Mapping) else {}
    body = {
        "text": _note_text(str(note.get("note_type")), inside),
        # Spelt so by Kommo.
        "attachement": inside.get("attachment") or inside.get("file_name"),
        "note_type": NOTE_TYPE_IDS.get(str(note.get("note_type")), note.get("note_type")),
        "element_type": _CODES[kind],
        "element_id": note.get("entity_id"),
        "modified_by": note.get("updated_by"),
        "main_user_id": note.get("responsible_user_id"),
        **_taken(note, ("id", "account_id", "group_id", "created_by", "created_at", "updated_at")),
    }
    return {"note": body, "type": kind} if kind in {"contact", "company"} else {"note": body}


def _note_text(note_type: str, params: Json) -> str:
    """Return a note's text; that of a call is JSON with names in capitals."""
    if note_type in CALL_NOTES:
        return json.dumps({str(name).upper(): value for name, value in params.items()}, ensure_ascii=False)
    return str(params.get("text") or "")


def _field(field: Json) -> dict[str, Any]:
    return {
        "id": field.get("field_id"),
        "name": field.get("field_name"),
        "values": _values(str(field.get("field_type")), _mappings(field.get("values"))),
        "code": field.get("field_code"),
    }


def _values(field_type: str, values: list[Json]) -> Any:
    """Return the values in the three shapes that webhooks have: bare dates, one object of a radio button, objects."""
    if field_type == "date":
        return [value.get("value") for value in values]
    if field_type == "birthday":
        return [{"value": _day(value.get("value"))} for value in values]
    shown = [{"value": value.get("value"), "enum": value.get("enum_id")} for value in values]
    return shown[0] if field_type == "radiobutton" and shown else shown


def _day(value: object) -> object:
    moment = scalars.moment(value)
    return moment.strftime("%d.%m.%Y") if moment else value


def _clock(value: object) -> str | None:
    """Write a time of a task, which is UTC."""
    seconds = scalars.epoch(value)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _taken(entity: Json, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: entity.get(name) for name in names}


def _embedded(entity: Json, name: str) -> list[Json]:
    inner = entity.get("_embedded")
    return _mappings(inner.get(name)) if isinstance(inner, Mapping) else []


def _ids(entity: Json, name: str) -> Iterator[int]:
    return (number for one in _embedded(entity, name) if (number := scalars.whole(one.get("id"))) is not None)


def _mappings(value: object) -> list[Json]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
