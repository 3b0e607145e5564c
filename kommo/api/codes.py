"""The numeric codes that Kommo's answers may carry, and what they mean. Does no I/O.

A number alone says little: 222 means one thing for events and another for catalogs, so a code is known by its section
and its number. Source: https://www.amocrm.com/developers/content/api/errors/ (the list of codes), whose "directories"
are the catalogs of today, whose "events" are the notes too, and whose "contacts" are the companies too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from kommo.errors import Action


class Section(StrEnum):
    """A part of the API with codes of its own."""

    AUTHORIZATION = "authorization"
    ACCOUNT = "account"
    CONTACTS = "contacts"
    LEADS = "leads"
    EVENTS = "events"
    TASKS = "tasks"
    CATALOGS = "catalogs"
    CATALOG_ELEMENTS = "catalog_elements"
    CUSTOMERS = "customers"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Code:
    """What a number means in a section; `action` is None where the HTTP status alone decides."""

    section: Section
    number: int
    name: str
    meaning: str
    action: Action | None = None


_Row = tuple[int, str, str] | tuple[int, str, str, Action]

_ROWS: Final[Mapping[Section, tuple[_Row, ...]]] = {
    Section.AUTHORIZATION: (
        # What an access token that has ended gives as well, so a new one may mend it.
        (110, "not_authorized", "login, password or token is not accepted", Action.RENEW),
        (
            111,
            "captcha_wanted",
            "too many failed logins: somebody has to log in by browser, with a captcha",
            Action.PARK,
        ),
        (112, "user_disabled", "the user is switched off in the account, or does not belong to it", Action.PARK),
        (113, "ip_not_allowed", "the account's list of allowed IP addresses lacks this one", Action.PARK),
        # The renewal asks under which name the account lives now.
        (101, "no_such_subdomain", "no account has this subdomain", Action.RENEW),
        # The address that comes along is not followed: the token would go to whoever answered.
        (401, "other_server", "this server does not know the account, which lives on another one", Action.RENEW),
    ),
    Section.ACCOUNT: (
        (101, "no_account", "there is no such account"),
        (102, "json_wanted", "the body of a POST has to be JSON"),
        (103, "no_parameters", "no parameters were sent"),
        (104, "no_such_method", "the API has no such method"),
    ),
    Section.CONTACTS: (
        (201, "nothing_to_add", "the list of contacts to add is empty"),
        (202, "may_not_add", "no right to add contacts"),
        (203, "fields_failed_on_add", "custom fields failed on Kommo's side while adding", Action.REPEAT),
        (204, "no_such_field_on_add", "a custom field of the contact to add does not exist"),
        (205, "not_added", "the contact was not created"),
        (206, "empty_request", "the request to add or update contacts is empty"),
        (207, "wrong_method", "contacts are not added or updated with this method"),
        (208, "nothing_to_update", "the list of contacts to update is empty"),
        (209, "id_and_updated_at_wanted", "updating a contact takes `id` and `updated_at`"),
        (210, "fields_failed_on_update", "custom fields failed on Kommo's side while updating", Action.REPEAT),
        (211, "no_such_field_on_update", "a custom field of the contact to update does not exist"),
        (212, "not_updated", "the contact was not updated"),
        (219, "search_failed", "the search failed on Kommo's side; the same request may work later", Action.REPEAT),
    ),
    Section.LEADS: (
        (213, "nothing_to_add", "the list of leads to add is empty"),
        (214, "empty_request", "the request to add or update leads is empty"),
        (215, "wrong_method", "leads are not added or updated with this method"),
        (216, "nothing_to_update", "the list of leads to update is empty"),
        (217, "fields_wanted", "updating a lead takes `id`, `updated_at`, `status_id` and `name`"),
        (240, "wrong_field_id", "the id of a custom field is wrong"),
        # Not in the list; seen by users: https://github.com/amocrm/amocrm-api-php/issues/33
        (244, "may_not_add", "no right to add leads"),
    ),
    Section.EVENTS: (
        (218, "nothing_to_add", "the list of events to add is empty"),
        (221, "type_wanted", "listing events takes a type"),
        (226, "no_such_entity", "the entity that the event belongs to does not exist"),
        (244, "may_not_add", "no right to add this event"),
        (222, "empty_request", "the request to add or update events is empty"),
        (223, "wrong_method", "events are added and updated with POST, not with GET"),
        (224, "nothing_to_update", "the list of events to update is empty"),
        (225, "no_such_event", "none of the events to update exists"),
    ),
    Section.TASKS: (
        (227, "nothing_to_add", "the list of tasks to add is empty"),
        (228, "empty_request", "the request to add or update tasks is empty"),
        (229, "wrong_method", "tasks are not added or updated with this method"),
        (230, "nothing_to_update", "the list of tasks to update is empty"),
        (231, "no_such_task", "none of the tasks to update exists"),
        (232, "wrong_entity", "the entity's id or type is missing or wrong"),
        (233, "no_such_contacts", "some of the contacts that it belongs to do not exist"),
        (234, "no_such_leads", "some of the leads that it belongs to do not exist"),
        (235, "entity_type_wanted", "the task names no type of entity"),
        (236, "no_such_contact", "the contact that the task belongs to does not exist"),
        (237, "no_such_lead", "some of the leads that the task belongs to do not exist"),
        (238, "field_value_wanted", "a custom field of the contact has no value"),
        (244, "may_not_add", "no right to add it"),
    ),
    Section.CATALOGS: (
        (405, "wrong_method", "the HTTP method is wrong"),
        (222, "empty_request", "the request to add, update or delete lists is empty"),
        (244, "may_not_change", "no right to add, update or delete lists"),
        (281, "not_deleted", "the list was not deleted: Kommo's side failed", Action.REPEAT),
        (282, "no_such_catalog", "the account has no such list"),
        (283, "no_data", "the request carries no data"),
        (284, "array_wanted", "the request carries no array"),
        (285, "field_wanted", "a required field is missing"),
    ),
    Section.CATALOG_ELEMENTS: (
        (405, "wrong_method", "the HTTP method is wrong"),
        (203, "fields_failed", "custom fields failed on Kommo's side", Action.REPEAT),
        (204, "no_such_field", "a custom field of the element does not exist"),
        (222, "empty_request", "the request to add, update or delete list elements is empty"),
        (244, "may_not_change", "no right to add, update or delete list elements"),
        (280, "created", "the element was created", Action.DONE),
        (282, "no_such_element", "the account has no such list element"),
        (283, "no_data", "the request carries no data"),
        (284, "array_wanted", "the request carries no array"),
        (285, "field_wanted", "a required field is missing"),
    ),
    Section.CUSTOMERS: (
        (288, "no_right", "no right to do this with customers"),
        (402, "not_paid_for", "the account has not paid for customers", Action.GIVE_UP),
        (425, "not_available", "customers are not available in this account", Action.GIVE_UP),
        (426, "switched_off", "customers are switched off in this account", Action.GIVE_UP),
    ),
    Section.OTHER: (
        (400, "wrong_structure", "the data has a wrong structure, or names custom fields that do not exist"),
        (402, "subscription_ended", "the account's subscription has ended", Action.PARK_PAYMENT),
        (403, "blocked", "blocked for making too many requests a second again and again", Action.STOP),
        (429, "too_many_requests", "too many requests a second", Action.SLOW_DOWN),
        (2002, "nothing_found", "nothing was found; it comes with 204", Action.DONE),
    ),
}


def _codes() -> Iterator[Code]:
    for section, rows in _ROWS.items():
        yield from (Code(section, *row) for row in rows)


CODES: Final[Mapping[tuple[Section, int], Code]] = MappingProxyType(
    {(code.section, code.number): code for code in _codes()}
)

#: The last of these words in a path names its section.
_SECTIONS: Final = {
    "oauth2": Section.AUTHORIZATION,
    "account": Section.ACCOUNT,
    "contacts": Section.CONTACTS,
    "companies": Section.CONTACTS,
    "leads": Section.LEADS,
    "events": Section.EVENTS,
    "notes": Section.EVENTS,
    "tasks": Section.TASKS,
    "catalogs": Section.CATALOGS,
    "elements": Section.CATALOG_ELEMENTS,
    "catalog_elements": Section.CATALOG_ELEMENTS,
    "customers": Section.CUSTOMERS,
}


def section_of(path: str) -> Section:
    """Name the section of a path: `/api/v4/leads/5/notes` is about notes, which are in EVENTS."""
    found = [_SECTIONS[word] for word in path.split("/") if word in _SECTIONS]
    return found[-1] if found else Section.OTHER


def code_of(path: str, number: int, status: int) -> Code | None:
    """Look a number up in the section of the path, else among those of no section; None for an unknown one.

    With 401 and 403 the codes of authorization come first.
    """
    sections = [section_of(path), Section.OTHER]
    if status in (401, 403):
        sections.insert(0, Section.AUTHORIZATION)
    return next((CODES[section, number] for section in sections if (section, number) in CODES), None)
