"""Turn the item of a delivery into its typed entity.

Reading is lenient: a value that makes no sense becomes None, a field that is not known stays in the event's `raw`,
and no delivery can make it raise.
"""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, post_load

from kommo.hooks import fields, kinds, lenient, scalars
from kommo.hooks.entities import (
    Attachment,
    Author,
    CatalogElement,
    Company,
    Contact,
    Customer,
    Entity,
    Lead,
    Message,
    Note,
    Talk,
    Task,
    TaskResult,
    Unsorted,
)
from kommo.hooks.lenient import LenientSchema, Read, ReadItem


class _EntitySchema(LenientSchema):
    id = lenient.whole()
    account_id = lenient.whole()
    created_at = lenient.moment("created_at", "date_create")
    updated_at = lenient.moment("updated_at", "last_modified", "date_modify")


class _CardSchema(_EntitySchema):
    name = lenient.text()
    responsible_user_id = lenient.whole()
    created_user_id = lenient.whole("created_user_id", "created_by")
    modified_user_id = lenient.whole("modified_user_id", "updated_by")
    group_id = lenient.whole()
    linked_company_id = lenient.whole()
    company_name = lenient.text()
    linked_leads = Read(fields.linked_ids, "linked_leads_id")
    linked_contacts = Read(fields.linked_ids, "linked_contacts_id")
    tags = Read(fields.tags)
    custom_fields = Read(fields.custom_fields)


class LeadSchema(_CardSchema):
    pipeline_id = lenient.whole()
    status_id = lenient.whole()
    price = lenient.money()
    closed_at = lenient.moment("closed_at", "date_close")
    loss_reason_id = lenient.whole()
    main_contact_id = lenient.whole()
    source_id = lenient.whole()
    visitor_uid = lenient.uid()


class ContactSchema(_CardSchema):
    first_name = lenient.text()
    last_name = lenient.text()


class CompanySchema(_CardSchema):
    pass


class CustomerSchema(_CardSchema):
    status_id = lenient.whole()
    period_id = lenient.whole()
    periodicity = lenient.whole()
    next_price = lenient.money()
    next_date = lenient.moment()


class CatalogElementSchema(_EntitySchema):
    name = lenient.text()
    catalog_id = lenient.whole()
    created_by = lenient.whole()
    modified_by = lenient.whole("modified_by", "updated_by")
    is_deleted = lenient.flag("deleted", "is_deleted")
    custom_fields = Read(fields.custom_fields)


class TaskResultSchema(LenientSchema):
    id = lenient.whole()
    text = lenient.text()


def _task_type(value: object) -> str | None:
    number = scalars.whole(value)
    return None if number is None else kinds.TASK_TYPES.get(number)


def _result(value: object) -> TaskResult | None:
    return TaskResult(**TaskResultSchema().load(value)) if isinstance(value, dict) and value else None


class TaskSchema(_EntitySchema):
    created_at = Read(scalars.task_moment, "created_at", "date_create")
    updated_at = Read(scalars.task_moment, "updated_at", "last_modified")
    text = lenient.text()
    task_type_id = lenient.whole("task_type", "task_type_id")
    task_type = Read(_task_type, "task_type", "task_type_id")
    entity_type = lenient.parent_type()
    entity_id = lenient.parent_id()
    is_completed = lenient.flag("status", "is_completed")
    action_close = lenient.flag()
    # The text names the same instant in UTC, so that it serves where the number is missing.
    complete_till = Read(scalars.task_moment, "complete_before", "complete_till")
    duration = lenient.whole()
    result = Read(_result)
    responsible_user_id = lenient.whole()
    created_user_id = lenient.whole("created_user_id", "created_by")
    modified_user_id = lenient.whole("modified_user_id", "updated_by")
    modified_by = lenient.whole()
    main_user = lenient.whole()
    group_id = lenient.whole()


def _note_type(value: object) -> str | None:
    number = scalars.whole(value)
    if number is not None:
        return kinds.NOTE_TYPES.get(number)
    return value if isinstance(value, str) and value in kinds.NOTE_TYPE_NAMES else None


def _note_type_id(value: object) -> int | None:
    number = scalars.whole(value)
    return kinds.NOTE_TYPE_IDS.get(_note_type(value) or "") if number is None else number


class NoteSchema(_EntitySchema):
    # Unlike elsewhere, `date_create` of a note is text in the account's local time.
    created_at = lenient.moment()
    updated_at = lenient.moment()
    text = lenient.text()
    note_type = Read(_note_type)
    note_type_id = Read(_note_type_id, "note_type")
    entity_type = lenient.parent_type()
    entity_id = lenient.parent_id()
    attachment = lenient.text("attachement", "attachment")
    metadata = Read(scalars.json_object)
    call = Read(scalars.json_object, "text", "params")
    created_by = lenient.whole()
    modified_by = lenient.whole("modified_by", "updated_by")
    main_user_id = lenient.whole()
    responsible_user_id = lenient.whole()
    group_id = lenient.whole()

    @post_load
    def _only_calls_have_a_call(self, loaded: dict[str, Any], **_: Any) -> dict[str, Any]:
        if loaded["note_type"] not in kinds.CALL_NOTES:
            loaded["call"] = None
        return loaded


class AuthorSchema(LenientSchema):
    id = lenient.uid()
    type = lenient.text()
    name = lenient.text()
    avatar_url = lenient.text()


class AttachmentSchema(LenientSchema):
    type = lenient.text()
    link = lenient.text()
    file_name = lenient.text()


def _author(value: object) -> Author | None:
    return Author(**AuthorSchema().load(value)) if isinstance(value, dict) and value else None


def _attachment(value: object) -> Attachment | None:
    return Attachment(**AttachmentSchema().load(value)) if isinstance(value, dict) and value else None


class MessageSchema(LenientSchema):
    id = lenient.uid()
    account_id = lenient.whole()
    type = lenient.text()
    text = lenient.text()
    author = Read(_author)
    attachment = Read(_attachment)
    chat_id = lenient.uid()
    talk_id = lenient.whole()
    contact_id = lenient.whole()
    entity_type = lenient.parent_type()
    entity_id = lenient.parent_id()
    origin = lenient.text()
    created_at = lenient.moment()
    updated_at = lenient.moment()


class TalkSchema(_EntitySchema):
    id = lenient.whole("talk_id", "id")
    chat_id = lenient.uid()
    contact_id = lenient.whole()
    entity_type = lenient.parent_type()
    entity_id = lenient.parent_id()
    is_in_work = lenient.flag()
    is_read = lenient.flag()
    rate = lenient.whole()
    origin = lenient.text()


def _named_ids(item: Mapping[str, Any], plural: str) -> tuple[int, ...]:
    """Gather the ids under accept_result, decline_result and data, each once, in their order."""
    found: dict[int, None] = {}
    for place in ("accept_result", "decline_result", "data"):
        block = item.get(place)
        for member in scalars.members(block.get(plural) if isinstance(block, dict) else None):
            number = scalars.whole(member.get("id") if isinstance(member, dict) else member)
            if number is not None:
                found[number] = None
    return tuple(found)


def _lead_ids(item: Mapping[str, Any]) -> tuple[int, ...]:
    lead_id = scalars.whole(item.get("lead_id"))
    named = _named_ids(item, "leads")
    return named if lead_id is None or lead_id in named else (*named, lead_id)


class UnsortedSchema(LenientSchema):
    uid = lenient.uid()
    account_id = lenient.whole()
    category = lenient.text()
    action = lenient.text()
    source = lenient.text()
    source_uid = lenient.uid()
    source_id = lenient.whole()
    source_data = Read(scalars.mapping)
    data = Read(scalars.mapping)
    pipeline_id = lenient.whole()
    lead_id = lenient.whole()
    lead_ids = ReadItem(_lead_ids)
    contact_ids = ReadItem(lambda item: _named_ids(item, "contacts"))
    company_ids = ReadItem(lambda item: _named_ids(item, "companies"))
    request_id = lenient.whole()
    user_id = lenient.whole()
    modified_user_id = lenient.whole()
    visitor_uid = lenient.uid()
    gso_session_uid = lenient.uid()
    created_at = lenient.moment("created_at", "date_create")
    updated_at = lenient.moment("updated_at", "last_modified")


ENTITY_CLASSES: Mapping[str, type[Entity]] = {
    "lead": Lead,
    "contact": Contact,
    "company": Company,
    "customer": Customer,
    "catalog_element": CatalogElement,
    "task": Task,
    "note": Note,
    "message": Message,
    "talk": Talk,
    "unsorted": Unsorted,
}

_SCHEMAS: Mapping[type[Entity], Schema] = {
    Lead: LeadSchema(),
    Contact: ContactSchema(),
    Company: CompanySchema(),
    Customer: CustomerSchema(),
    CatalogElement: CatalogElementSchema(),
    Task: TaskSchema(),
    Note: NoteSchema(),
    Message: MessageSchema(),
    Talk: TalkSchema(),
    Unsorted: UnsortedSchema(),
}


def load(entity_class: type[Entity], item: Mapping[str, Any]) -> Entity:
    """Build the typed entity of an item; whatever the item holds, this does not raise."""
    return entity_class(**_SCHEMAS[entity_class].load(item))
