"""What the API knows, as its reference shows it; all values are made up."""

from typing import Any

ACCOUNT = 30_777_111
MADE, CHANGED = 1_794_000_000, 1_794_000_600

FIELDS: list[dict[str, Any]] = [
    {
        "field_id": 51,
        "field_name": "Colour",
        "field_code": None,
        "field_type": "select",
        "values": [{"value": "Red & green", "enum_id": 910, "enum_code": None}],
    },
    {
        "field_id": 52,
        "field_name": "Phone",
        "field_code": "PHONE",
        "field_type": "multitext",
        "values": [{"value": "+1 555 01", "enum_id": 7, "enum_code": "WORK"}, {"value": "+1 555 02", "enum_id": 8}],
    },
    {"field_id": 53, "field_name": "Start", "field_type": "date", "values": [{"value": 1_790_000_000}]},
    {"field_id": 54, "field_name": "Birthday", "field_type": "birthday", "values": [{"value": 324_950_400}]},
    {
        "field_id": 55,
        "field_name": "Size",
        "field_type": "radiobutton",
        "values": [{"value": "L", "enum_id": 3, "enum_code": None}],
    },
    {"field_id": 56, "field_name": "Agreed", "field_type": "checkbox", "values": [{"value": True}]},
]


def card(number: int = 5, **given: Any) -> dict[str, Any]:
    return {
        "id": number,
        "name": "Tandem ~ for two",
        "responsible_user_id": 81,
        "group_id": 0,
        "created_by": 81,
        "updated_by": 0,
        "created_at": MADE,
        "updated_at": CHANGED,
        "is_deleted": False,
        "custom_fields_values": FIELDS,
        "account_id": ACCOUNT,
        "_links": {"self": {"href": "https://x.kommo.com/api/v4/x/5"}},
        "_embedded": {"tags": [{"id": 2, "name": "spring", "color": None}], "companies": [{"id": 44}]},
        **given,
    }


def lead(number: int = 5, **given: Any) -> dict[str, Any]:
    return card(
        number, **{"price": 780, "status_id": 142, "pipeline_id": 9, "loss_reason_id": None, "closed_at": 17, **given}
    )


def task(number: int = 6, **given: Any) -> dict[str, Any]:
    return {
        "id": number,
        "created_by": 81,
        "updated_by": 82,
        "created_at": MADE,
        "updated_at": CHANGED,
        "responsible_user_id": 83,
        "group_id": 0,
        "entity_id": 5,
        "entity_type": "leads",
        "duration": 0,
        "is_completed": False,
        "task_type_id": 2,
        "text": "Bring the bell",
        "result": [],
        "complete_till": 1_794_100_000,
        "account_id": ACCOUNT,
        **given,
    }


def note(number: int = 8, **given: Any) -> dict[str, Any]:
    return {
        "id": number,
        "entity_id": 5,
        "created_by": 81,
        "updated_by": 81,
        "created_at": MADE,
        "updated_at": MADE,
        "responsible_user_id": 83,
        "group_id": 0,
        "note_type": "common",
        "params": {"text": "Wants mudguards"},
        "account_id": ACCOUNT,
        **given,
    }


def entry(type_: str, entity: str = "lead", number: int = 5, *, at: int = CHANGED, **given: Any) -> dict[str, Any]:
    """An entry of the journal."""
    return {
        "id": "01abc",
        "type": type_,
        "entity_id": number,
        "entity_type": entity,
        "created_by": 81,
        "created_at": at,
        "value_after": [],
        "value_before": [],
        "account_id": ACCOUNT,
        **given,
    }


def moved(number: int = 5, *, at: int = CHANGED) -> dict[str, Any]:
    return entry(
        "lead_status_changed",
        number=number,
        at=at,
        value_after=[{"lead_status": {"id": 142, "pipeline_id": 9}}],
        value_before=[{"lead_status": {"id": 70, "pipeline_id": 9}}],
    )


def handed_over(entity: str, number: int = 5, *, at: int = CHANGED) -> dict[str, Any]:
    return entry(
        "entity_responsible_changed",
        entity,
        number,
        at=at,
        value_after=[{"responsible_user": {"id": 83}}],
        value_before=[{"responsible_user": {"id": 81}}],
    )
