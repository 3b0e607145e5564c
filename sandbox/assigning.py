"""Setting the fields of an entity from a checked request."""

from sandbox import field_values
from sandbox.directory import LOST, WON
from sandbox.stages import stage_after
from sandbox.state import Json, Record, State
from sandbox.validation import embedded
from sandbox.writable import WRITABLE

#: Fields that a null empties; elsewhere a null is as good as nothing.
_NULLABLE = {"price", "loss_reason_id", "closed_at"}


def assign(state: State, record: Record, item: Json) -> None:
    """Set what an item names, and nothing else."""
    if record.kind == "leads":
        _enter_stage(state, record, item)
    record.fields.update({name: item[name] for name in WRITABLE[record.kind] if _sets(item, name)})
    record.custom = field_values.merge(state.fields(record.kind), record.custom, item.get("custom_fields_values"))
    _assign_tags(state, record, item)
    if record.kind in ("leads", "customers"):
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
    target, status_id = stage_after(state, item, lead if known else None)
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
