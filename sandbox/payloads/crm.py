"""Leads, contacts and companies as deliveries show them."""

from typing import Any

from sandbox.field_values import as_delivered
from sandbox.state import Json, Record, State


def lead(
    state: State,
    record: Record,
    *,
    old_status_id: int | None = None,
    old_responsible_user_id: int | None = None,
) -> Json:
    """Return a lead; the old values only where something changed them."""
    fields = record.fields
    return {
        "id": record.id,
        "name": fields["name"],
        "status_id": fields["status_id"],
        "old_status_id": old_status_id,
        "price": fields["price"],
        "responsible_user_id": fields["responsible_user_id"],
        "last_modified": fields["updated_at"],
        "modified_user_id": fields["updated_by"],
        "created_user_id": fields["created_by"],
        "date_create": fields["created_at"],
        "pipeline_id": fields["pipeline_id"],
        "tags": _tags(record),
        "account_id": state.account_id,
        "custom_fields": as_delivered(record.custom),
        "old_responsible_user_id": old_responsible_user_id,
        "created_at": fields["created_at"],
        "updated_at": fields["updated_at"],
    }


def person(state: State, record: Record, *, old_responsible_user_id: int | None = None, updated: bool = False) -> Json:
    """Return a contact or company; both travel under `contacts`, told apart by `type`."""
    if record.kind == "companies":
        return _company(state, record, old_responsible_user_id)
    return _contact(state, record, old_responsible_user_id, names_modifier=not updated)


def _contact(state: State, record: Record, old_responsible: int | None, *, names_modifier: bool) -> Json:
    head = _head(record)
    if not names_modifier:
        # The vendor's sample of a plain update does not say who made it.
        del head["modified_user_id"]
    company = _company_of(state, record)
    return {
        **head,
        "company_name": company.fields["name"] if company else None,
        "linked_company_id": company.id if company else None,
        "account_id": state.account_id,
        "custom_fields": as_delivered(record.custom),
        "tags": _tags(record),
        "linked_leads_id": _linked_leads(record),
        **_tail(record, "contact", old_responsible),
    }


def _company(state: State, record: Record, old_responsible: int | None) -> Json:
    return {
        **_head(record),
        "account_id": state.account_id,
        "tags": _tags(record),
        "linked_leads_id": _linked_leads(record),
        **_tail(record, "company", old_responsible),
        "custom_fields": as_delivered(record.custom),
    }


def gone(record: Record) -> Json:
    """Return what is told of a deleted entity: no name and, worse, no time."""
    if record.kind == "leads":
        fields = record.fields
        return {"id": record.id, "status_id": fields["status_id"], "pipeline_id": fields["pipeline_id"]}
    return {"id": record.id, "type": "company" if record.kind == "companies" else "contact"}


def pipeline_hook(state: State, action: str, record: Record, old: tuple[int, int] | None) -> Json:
    """Return the whole body of a Digital Pipeline hook (https://developers.kommo.com/docs/webhooks-dp).

    `old` is the former (pipeline, status) of a lead that moved. Here the account comes last, without links.
    """
    item: dict[str, Any] = gone(record)
    if old is not None:
        item |= {"old_status_id": old[1], "old_pipeline_id": old[0]}
    return {"leads": {action: [item]}, "account": {"id": state.account_id, "subdomain": state.subdomain}}


def widget_hook(state: State, record: Record, *, direction: str = "went_to_trigger") -> Json:
    """Return the JSON document that a widget's step of the pipeline is sent, in its own types."""
    return {
        "event": {
            "type": 15,
            "type_code": "lead_appeared_in_status",
            "data": {
                "id": record.id,
                "element_type": 2,
                "status_id": record.fields["status_id"],
                "pipeline_id": record.fields["pipeline_id"],
                "direction_of_movement": direction,
            },
            "time": record.fields["updated_at"],
        },
        "action": {"settings": {"widget": {"settings": {}}}},
        "subdomain": state.subdomain,
        "account_id": str(state.account_id),
    }


def _head(record: Record) -> Json:
    fields = record.fields
    return {
        "id": record.id,
        "name": fields["name"],
        "responsible_user_id": fields["responsible_user_id"],
        "date_create": fields["created_at"],
        "last_modified": fields["updated_at"],
        "created_user_id": fields["created_by"],
        "modified_user_id": fields["updated_by"],
    }


def _tail(record: Record, kind: str, old_responsible: int | None) -> Json:
    return {
        "created_at": record.fields["created_at"],
        "updated_at": record.fields["updated_at"],
        "type": kind,
        "old_responsible_user_id": old_responsible,
    }


def _tags(record: Record) -> list[Json]:
    return [{"id": tag["id"], "name": tag["name"]} for tag in record.tags]


def _linked_leads(record: Record) -> dict[str, Json]:
    # Keyed by the id of the lead, not by a position.
    return {str(lead_id): {"ID": lead_id} for lead_id in record.leads}


def _company_of(state: State, contact: Record) -> Record | None:
    return state.find("companies", contact.companies[0]) if contact.companies else None
