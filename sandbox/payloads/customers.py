"""Customers as deliveries show them: no sample is published, the names are those of the older reference."""

from sandbox.field_values import as_delivered
from sandbox.state import Json, Record, State


def customer(state: State, record: Record, *, old_responsible_user_id: int | None = None) -> Json:
    """Return a customer."""
    fields = record.fields
    return {
        "id": record.id,
        "name": fields["name"],
        "next_price": fields["next_price"],
        "next_date": fields["next_date"],
        "status_id": fields["status_id"],
        "periodicity": fields["periodicity"],
        "responsible_user_id": fields["responsible_user_id"],
        "created_by": fields["created_by"],
        "modified_by": fields["updated_by"],
        "account_id": state.account_id,
        "custom_fields": as_delivered(record.custom),
        "old_responsible_user_id": old_responsible_user_id,
        "created_at": fields["created_at"],
        "updated_at": fields["updated_at"],
    }


def gone(record: Record) -> Json:
    """Return what is told of a deleted customer."""
    return {"id": record.id}
