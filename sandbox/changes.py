"""Changes of leads, contacts, companies and tasks, each with what the account tells about it.

The functions expect checked input and the lock of the state.
"""

from sandbox import custom_fields
from sandbox.directory import LOST, WON
from sandbox.notices import Notice, notice
from sandbox.payloads import crm, tasks
from sandbox.state import Json, Record, State
from sandbox.validation import WRITABLE, embedded, stage_after

SINGULAR = {"leads": "lead", "contacts": "contact", "companies": "company", "tasks": "task"}
#: Companies travel under `contacts`, tasks under their singular (https://developers.kommo.com/docs/webhooks-general).
DELIVERED_AS = {"leads": "leads", "contacts": "contacts", "companies": "contacts", "tasks": "task"}

_DEFAULTS: dict[str, Json] = {
    "leads": {
        "name": "",
        "price": 0,
        "group_id": 0,
        "loss_reason_id": None,
        "closed_at": None,
        "closest_task_at": None,
        "score": None,
        "labor_cost": None,
        "is_price_computed": False,
    },
    "contacts": {
        "name": "",
        "first_name": "",
        "last_name": "",
        "group_id": 0,
        "closest_task_at": None,
        "is_unsorted": False,
    },
    "companies": {"name": "", "group_id": 0, "closest_task_at": None},
    "tasks": {
        "group_id": 0,
        "entity_id": None,
        "entity_type": None,
        "duration": 0,
        "is_completed": False,
        "task_type_id": 1,
        "result": None,
    },
}

#: Fields that a null empties; elsewhere a null is as good as nothing.
_NULLABLE = {"price", "loss_reason_id", "closed_at"}


def create(state: State, kind: str, item: Json, *, by: int) -> tuple[Record, list[Notice]]:
    """Add an entity in somebody's name."""
    record = _new(state, kind, by)
    _assign(state, record, item)
    state.records[kind][record.id] = record
    return record, [_told(record, "add", _item(state, record), f"add_{SINGULAR[kind]}")]


def _new(state: State, kind: str, by: int) -> Record:
    now = state.now()
    fields = {"created_by": by, "updated_by": by, "created_at": now, "updated_at": now, "responsible_user_id": by}
    deleted = {} if kind == "tasks" else {"is_deleted": False}
    return Record(kind, state.next_id(kind), {**_DEFAULTS[kind], **fields, **deleted})


def update(state: State, record: Record, item: Json, *, by: int) -> list[Notice]:
    """Change the given fields of an entity and nothing else."""
    before = dict(record.fields)
    record.fields.update(updated_by=by, updated_at=state.now())
    _assign(state, record, item)
    if record.kind == "tasks":
        return [_task_told(state, record, before, item)]
    if record.kind == "leads":
        return list(_lead_told(state, record, before))
    return [_contact_told(state, record, before)]


def delete(state: State, record: Record, *, by: int) -> list[Notice]:
    """Put an entity into the bin; a deleted task is gone."""
    if record.kind == "tasks":
        del state.records["tasks"][record.id]
    record.fields.update(is_deleted=True, updated_by=by, updated_at=state.now())
    item = tasks.gone(record) if record.kind == "tasks" else crm.gone(record)
    return [_told(record, "delete", item, f"delete_{SINGULAR[record.kind]}")]


def restore(state: State, record: Record, *, by: int) -> list[Notice]:
    """Take an entity out of the bin."""
    record.fields.update(is_deleted=False, updated_by=by, updated_at=state.now())
    return [_told(record, "restore", _item(state, record), f"restore_{SINGULAR[record.kind]}")]


def _assign(state: State, record: Record, item: Json) -> None:
    if record.kind == "leads":
        _enter_stage(state, record, item)
    record.fields.update({name: item[name] for name in WRITABLE[record.kind] if _sets(item, name)})
    record.custom = custom_fields.merge(record.kind, record.custom, item.get("custom_fields_values"))
    _assign_tags(state, record, item)
    if record.kind == "leads":
        _assign_links(state, record, item)
    if record.kind == "contacts":
        _assign_names(record, item)
        _assign_company(record, item)
    if record.kind == "tasks" and isinstance(item.get("result"), dict):
        record.fields["result"] = {"id": state.next_id("notes"), "text": str(item["result"].get("text", ""))}


def _sets(item: Json, name: str) -> bool:
    return item.get(name) is not None or (name in _NULLABLE and name in item)


def _enter_stage(state: State, lead: Record, item: Json) -> None:
    known = "status_id" in lead.fields
    target, status_id = stage_after(item, lead if known else None)
    previous = lead.fields.get("status_id")
    if target is None or (previous, lead.fields.get("pipeline_id")) == (status_id, target.id):
        return
    closed = status_id in (WON, LOST)
    lead.last_status_id = previous
    closed_at = state.now() if closed else None
    lead.fields.update(pipeline_id=target.id, status_id=status_id, closed_at=closed_at)


def _assign_names(contact: Record, item: Json) -> None:
    fields = contact.fields
    if item.get("name") is None and (item.get("first_name") or item.get("last_name")):
        fields["name"] = f"{fields['first_name']} {fields['last_name']}".strip()


def _assign_tags(state: State, record: Record, item: Json) -> None:
    if "tags" in embedded(item):
        record.tags = [_tag(state, record.kind, tag) for tag in embedded(item)["tags"] or ()]
    for tag in item.get("tags_to_add") or ():
        found = _tag(state, record.kind, tag)
        if found not in record.tags:
            record.tags.append(found)
    doomed = item.get("tags_to_delete") or ()
    names, ids = {tag.get("name") for tag in doomed}, {tag.get("id") for tag in doomed}
    record.tags = [tag for tag in record.tags if tag["name"] not in names and tag["id"] not in ids]


def _tag(state: State, kind: str, given: Json) -> Json:
    known = (tag for tag in state.tags[kind].values() if "id" in given and tag["id"] == given["id"])
    return next(known, None) or state.tag(kind, str(given.get("name", given.get("id"))))


def _assign_links(state: State, lead: Record, item: Json) -> None:
    links = embedded(item)
    if "contacts" in links:
        _unlink_all(state, lead, "contacts", [link["id"] for link in lead.contacts])
        given = links["contacts"] or ()
        main = next((link["id"] for link in given if link.get("is_main")), given[0]["id"] if given else None)
        lead.contacts = [{"id": link["id"], "is_main": link["id"] == main} for link in given]
        for link in given:
            state.link(lead, "contacts", link["id"])
    if "companies" in links:
        _unlink_all(state, lead, "companies", lead.companies)
        lead.companies = [link["id"] for link in links["companies"] or ()][:1]
        for company_id in lead.companies:
            state.link(lead, "companies", company_id)


def _assign_company(contact: Record, item: Json) -> None:
    if "companies" in embedded(item):
        contact.companies = [link["id"] for link in embedded(item)["companies"] or ()][:1]


def _unlink_all(state: State, lead: Record, kind: str, ids: list[int]) -> None:
    for entity_id in ids:
        state.unlink(lead, kind, entity_id)


def _item(state: State, record: Record) -> Json:
    if record.kind == "tasks":
        return tasks.added(state, record)
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
