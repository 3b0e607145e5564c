"""What an event is about, typed. Kommo's own names of fields are kept; what it did not send is None.

https://developers.kommo.com/docs/webhooks-general
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kommo.hooks.fields import CustomFields, Tag


@dataclass(frozen=True, kw_only=True)
class _Entity:
    id: int | None = None
    account_id: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class _Card(_Entity):
    """What all entities with a card in Kommo's interface share."""

    name: str | None = None
    responsible_user_id: int | None = None
    created_user_id: int | None = None
    modified_user_id: int | None = None
    group_id: int | None = None
    linked_company_id: int | None = None
    company_name: str | None = None
    linked_leads: tuple[int, ...] = ()
    linked_contacts: tuple[int, ...] = ()
    tags: tuple[Tag, ...] = ()
    custom_fields: CustomFields = field(default_factory=CustomFields)

    @property
    def fields(self) -> CustomFields:
        """The custom fields, by id, code or name."""
        return self.custom_fields


@dataclass(frozen=True, kw_only=True)
class Lead(_Card):
    """A lead. Its stage is the pair of pipeline and status: 142 and 143 exist in every pipeline."""

    pipeline_id: int | None = None
    status_id: int | None = None
    price: int | float | None = None
    closed_at: datetime | None = None
    loss_reason_id: int | None = None
    main_contact_id: int | None = None
    source_id: int | None = None
    visitor_uid: str | None = None


@dataclass(frozen=True, kw_only=True)
class Contact(_Card):
    """A person."""

    first_name: str | None = None
    last_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Company(_Card):
    """A company; Kommo sends it among the contacts, with the type `company`."""


@dataclass(frozen=True, kw_only=True)
class Customer(_Card):
    """A customer with periodic purchases."""

    status_id: int | None = None
    period_id: int | None = None
    periodicity: int | None = None
    next_price: int | float | None = None
    next_date: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class CatalogElement(_Entity):
    """An element of a list (product, invoice, …)."""

    name: str | None = None
    catalog_id: int | None = None
    created_by: int | None = None
    modified_by: int | None = None
    is_deleted: bool | None = None
    custom_fields: CustomFields = field(default_factory=CustomFields)

    @property
    def fields(self) -> CustomFields:
        """The custom fields, by id, code or name."""
        return self.custom_fields


@dataclass(frozen=True)
class TaskResult:
    """What was entered when a task was finished."""

    id: int | None = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Task(_Entity):
    """A task; `complete_till` is its deadline, `task_type` follow_up, meeting or None for an account's own types."""

    text: str | None = None
    task_type_id: int | None = None
    task_type: str | None = None
    entity_type: str | None = None
    entity_id: int | None = None
    is_completed: bool | None = None
    action_close: bool | None = None
    complete_till: datetime | None = None
    duration: int | None = None
    result: TaskResult | None = None
    responsible_user_id: int | None = None
    created_user_id: int | None = None
    modified_user_id: int | None = None
    modified_by: int | None = None
    main_user: int | None = None
    group_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Note(_Entity):
    """A note. `note_type` is one of ten names or None; `call` is what the text of a call holds as JSON.

    Kommo escapes HTML in some texts (`&amp;`); they are left as they came.
    """

    text: str | None = None
    note_type: str | None = None
    note_type_id: int | None = None
    entity_type: str | None = None
    entity_id: int | None = None
    attachment: str | None = None
    metadata: Mapping[str, Any] | None = None
    call: Mapping[str, Any] | None = None
    created_by: int | None = None
    modified_by: int | None = None
    main_user_id: int | None = None
    responsible_user_id: int | None = None
    group_id: int | None = None


@dataclass(frozen=True)
class Author:
    """Who wrote a message."""

    id: str | None = None
    type: str | None = None
    name: str | None = None
    avatar_url: str | None = None


@dataclass(frozen=True)
class Attachment:
    """The file of a message."""

    type: str | None = None
    link: str | None = None
    file_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Message:
    """A chat message; without text if it is a file."""

    id: str | None = None
    account_id: int | None = None
    type: str | None = None
    text: str | None = None
    author: Author | None = None
    attachment: Attachment | None = None
    chat_id: str | None = None
    talk_id: int | None = None
    contact_id: int | None = None
    entity_type: str | None = None
    entity_id: int | None = None
    origin: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Talk(_Entity):
    """A conversation; it is closed when it is no longer in work."""

    chat_id: str | None = None
    contact_id: int | None = None
    entity_type: str | None = None
    entity_id: int | None = None
    is_in_work: bool | None = None
    is_read: bool | None = None
    rate: int | None = None
    origin: str | None = None


@dataclass(frozen=True, kw_only=True)
class Unsorted:
    """An incoming lead; `lead_ids` gathers the leads that it names, wherever they stand."""

    uid: str | None = None
    account_id: int | None = None
    category: str | None = None
    action: str | None = None
    source: str | None = None
    source_uid: str | None = None
    source_id: int | None = None
    source_data: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None
    pipeline_id: int | None = None
    lead_id: int | None = None
    lead_ids: tuple[int, ...] = ()
    contact_ids: tuple[int, ...] = ()
    company_ids: tuple[int, ...] = ()
    request_id: int | None = None
    user_id: int | None = None
    modified_user_id: int | None = None
    visitor_uid: str | None = None
    gso_session_uid: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


Entity = Lead | Contact | Company | Customer | CatalogElement | Task | Note | Message | Talk | Unsorted
