"""Incoming leads and list elements as deliveries show them."""

from sandbox.field_values import as_delivered
from sandbox.state import Json, Record, State


def unsorted_added(state: State, held: Json, lead: Record) -> Json:
    """Return an incoming lead that a form of a site brought."""
    created = held["created_at"]
    return {
        "uid": held["uid"],
        "category": held["category"],
        # Only what a form brings is published; of the others what the API says of them is sent.
        "source_data": _form(held, lead) if held["category"] == "forms" else dict(held["metadata"]),
        "date_create": created,
        "data": {"leads": [_unsorted_lead(held, lead)]},
        "pipeline_id": lead.fields["pipeline_id"],
        "account_id": state.account_id,
        "request_id": 0,
        "source_id": held["source_id"],
        "lead_id": lead.id,
        "created_at": created,
    }


def _form(held: Json, lead: Record) -> Json:
    form, created = held["metadata"], held["created_at"]
    return {
        "form_id": form["form_id"],
        "form_type": 1,
        "from": f"Request no. {form['form_id']} through form «{form['form_name']}»",
        "form_name": form["form_name"],
        "origin": {"ip": form["ip"], "datetime": created, "referer": form["referer"]},
        # Keyed by the name of the form's field, not by a position.
        "data": {
            "name_2": {
                "type": "text",
                "id": "name_2",
                "element_type": 2,
                "name": "Lead name",
                "value": lead.fields["name"],
            }
        },
        "date": created,
    }


def _unsorted_lead(held: Json, lead: Record) -> Json:
    fields = as_delivered(lead.custom)
    return {
        "last_modified": lead.fields["updated_at"],
        "name": lead.fields["name"],
        "pipeline_id": lead.fields["pipeline_id"],
        "modified_user_id": 0,
        "date_create": lead.fields["created_at"],
        # Here, unlike in a lead's own delivery, fields carry no name and the code comes first.
        "custom_fields": [{"id": one["id"], "code": one["code"], "values": one["values"]} for one in fields],
        "visitor_uid": held["visitor_uid"],
        "source_id": held["source_id"],
        # The service sends the word, not a missing key.
        "gso_session_uid": "null",
        "form_request_id": held["form_request_id"],
    }


def unsorted_updated(state: State, held: Json, lead: Record) -> Json:
    """Return a changed incoming lead, whose shape is another than that of a new one."""
    form = held["metadata"]
    source = f"Request no. {form.get('form_id')}"
    return {
        "uid": held["uid"],
        "category": held["category"],
        "account_id": state.account_id,
        "user_id": held["user_id"],
        "source": f"{source} through form <<{form.get('form_name')}>>",
        "pipeline_id": lead.fields["pipeline_id"],
        "source_data": {
            "form_id": form.get("form_id"),
            "form_type": 1,
            "date": held["created_at"],
            "from": source,
            "form_name": form.get("form_name"),
            "source_uid": held["source_id"],
            "source": held["source_id"],
            "uid": held["source_id"],
            "origin": {
                "ip": form.get("ip"),
                "referer": form.get("referer"),
                "visitor_uid": held["visitor_uid"],
                "datetime": held["created_at"],
            },
        },
        "data": {
            "leads": [
                {
                    "id": lead.id,
                    "status_id": lead.fields["status_id"],
                    "pipeline_id": lead.fields["pipeline_id"],
                    "name": lead.fields["name"],
                    "created_user_id": 0,
                    "date_create": lead.fields["created_at"],
                }
            ],
            "pipeline_id": lead.fields["pipeline_id"],
            "source": held["source_id"],
            "source_uid": held["source_id"],
            "created_at": held["created_at"],
        },
    }


def unsorted_accepted(held: Json, lead: Record, *, by: int) -> Json:
    """Return an accepted incoming lead, which arrives as its deletion."""
    return {
        "action": "accept",
        "uid": held["uid"],
        "accept_result": {"leads": [lead.id]},
        "category": held["category"],
        "created_at": held["created_at"],
        "modified_user_id": by,
    }


def unsorted_declined(held: Json, lead: Record, *, by: int) -> Json:
    """Return a declined incoming lead, which arrives as its deletion, too."""
    return {
        "action": "decline",
        "decline_result": {"leads": [lead.id]},
        "uid": held["uid"],
        "category": held["category"],
        "created_at": held["created_at"],
        "modified_user_id": by,
    }


def element(held: Json) -> Json:
    """Return an element of a list, such as a product."""
    return {
        "id": held["id"],
        "date_create": held["created_at"],
        "date_modify": held["updated_at"],
        "created_by": held["created_by"],
        "modified_by": held["updated_by"],
        "catalog_id": held["catalog_id"],
        "name": held["name"],
        "deleted": held["is_deleted"],
        "custom_fields": as_delivered(held["custom"]),
        "created_at": held["created_at"],
        "updated_at": held["updated_at"],
        "type": "catalog",
    }


def element_gone(held: Json) -> Json:
    """Return what is told of a deleted element."""
    return {"id": held["id"], "catalog_id": held["catalog_id"], "type": "catalog"}
