"""What the account tells about its entities: which deliveries a change brings, and what they show."""

from sandbox.notices import Notice, notice
from sandbox.payloads import crm, customers, tasks
from sandbox.state import SINGULAR, Json, Record, State

#: Companies travel under `contacts`, tasks under their singular (https://developers.kommo.com/docs/webhooks-general).
DELIVERED_AS = {
    "leads": "leads",
    "contacts": "contacts",
    "companies": "contacts",
    "customers": "customers",
    "tasks": "task",
}


def added(state: State, record: Record) -> list[Notice]:
    """Tell of a new entity."""
    return [_told(record, "add", _item(state, record), f"add_{SINGULAR[record.kind]}")]


def updated(state: State, record: Record, before: Json, given: Json) -> list[Notice]:
    """Tell of a changed entity; `before` are its former fields, `given` is what was asked for."""
    if record.kind == "tasks":
        return [_task_told(state, record, before, given)]
    if record.kind == "leads":
        return _lead_told(state, record, before)
    if record.kind == "customers":
        return _customer_told(state, record, before)
    return [_contact_told(state, record, before)]


def deleted(record: Record) -> list[Notice]:
    """Tell of a deleted entity."""
    gone = {"tasks": tasks.gone, "customers": customers.gone}.get(record.kind, crm.gone)
    return [_told(record, "delete", gone(record), f"delete_{SINGULAR[record.kind]}")]


def restored(state: State, record: Record) -> list[Notice]:
    """Tell of an entity that came back."""
    return [_told(record, "restore", _item(state, record), f"restore_{SINGULAR[record.kind]}")]


def _item(state: State, record: Record) -> Json:
    if record.kind == "tasks":
        return tasks.added(state, record)
    if record.kind == "customers":
        return customers.customer(state, record)
    return crm.lead(state, record) if record.kind == "leads" else crm.person(state, record)


def _told(record: Record, action: str, item: Json, *settings: str) -> Notice:
    return notice(DELIVERED_AS[record.kind], action, item, *settings)


def _lead_told(state: State, lead: Record, before: Json) -> list[Notice]:
    """Tell of a changed lead: always an update, and a further delivery for the stage and for the owner.

    The update names the old stage, but not the old responsible user. The vendor's sample of
    `leads[responsible]` still names the stage before the last move, although that move came earlier.
    """
    moved = before["status_id"] != lead.fields["status_id"] or before["pipeline_id"] != lead.fields["pipeline_id"]
    old_status = before["status_id"] if moved else None
    item = crm.lead(state, lead, old_status_id=old_status)
    told = [_told(lead, "update", item, "update_lead")]
    if moved:
        told.append(_told(lead, "status", item, "status_lead"))
    if before["responsible_user_id"] != lead.fields["responsible_user_id"]:
        old = before["responsible_user_id"]
        item = crm.lead(state, lead, old_status_id=lead.last_status_id, old_responsible_user_id=old)
        told.append(_told(lead, "responsible", item, "responsible_lead"))
    return told


def _contact_told(state: State, record: Record, before: Json) -> Notice:
    """Tell of a changed contact or company: a new owner arrives as an update that names the old one."""
    old, name = before["responsible_user_id"], SINGULAR[record.kind]
    if old == record.fields["responsible_user_id"]:
        return _told(record, "update", crm.person(state, record, updated=True), f"update_{name}")
    item = crm.person(state, record, old_responsible_user_id=old)
    return _told(record, "update", item, f"update_{name}", f"responsible_{name}")


def _task_told(state: State, task: Record, before: Json, given: Json) -> Notice:
    settings = ["update_task"]
    if before["responsible_user_id"] != task.fields["responsible_user_id"]:
        settings.append("responsible_task")
    return _told(task, "update", tasks.updated(state, task, before, given), *settings)


def _customer_told(state: State, record: Record, before: Json) -> list[Notice]:
    item = customers.customer(state, record)
    told = [_told(record, "update", item, "update_customer")]
    if before["responsible_user_id"] != record.fields["responsible_user_id"]:
        item = customers.customer(state, record, old_responsible_user_id=before["responsible_user_id"])
        told.append(_told(record, "responsible", item, "responsible_customer"))
    return told
