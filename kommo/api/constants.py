"""Kommo's fixed words and numbers by name, and the check that a given one is among them. Does no I/O."""

import difflib
from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import Any, Final, TypeVar

from kommo.errors import RequestError

#: The last two stages of every pipeline: https://developers.kommo.com/reference (pipelines).
WON: Final = 142
LOST: Final = 143


class TaskType(IntEnum):
    """The task types that every account has; an account's own ones are given by their id."""

    FOLLOW_UP = 1
    MEETING = 2


class NoteType(StrEnum):
    """The ten types of notes that can be written."""

    COMMON = "common"
    CALL_IN = "call_in"
    CALL_OUT = "call_out"
    SERVICE_MESSAGE = "service_message"
    EXTENDED_SERVICE_MESSAGE = "extended_service_message"
    TARGETED_MESSAGE = "targeted_message"
    MAIL_MESSAGE = "mail_message"
    SMS_IN = "sms_in"
    SMS_OUT = "sms_out"
    ATTACHMENT = "attachment"


class StageColor(StrEnum):
    """The colours that a stage may have: https://developers.kommo.com/reference/available-colors

    The page lists bare codes; the names are ours.
    """

    PALE_YELLOW = "#fffeb2"
    LIGHT_YELLOW = "#fffd7f"
    YELLOW = "#fff000"
    PALE_ORANGE = "#ffeab2"
    LIGHT_ORANGE = "#ffdc7f"
    ORANGE = "#ffce5a"
    PALE_RED = "#ffdbdb"
    LIGHT_RED = "#ffc8c8"
    RED = "#ff8f92"
    PALE_BLUE = "#d6eaff"
    LIGHT_BLUE = "#c1e0ff"
    BLUE = "#98cbff"
    PALE_GREEN = "#ebffb1"
    LIGHT_GREEN = "#deff81"
    GREEN = "#87f2c0"
    PALE_PURPLE = "#f9deff"
    LIGHT_PURPLE = "#f3beff"
    LAVENDER = "#ccc8f9"
    PURPLE = "#eb93ff"
    PALE_GREY = "#f2f3f4"
    GREY = "#e6e8ea"


class FieldType(StrEnum):
    """The types of custom fields: https://developers.kommo.com/reference/custom-fields"""

    TEXT = "text"
    NUMERIC = "numeric"
    CHECKBOX = "checkbox"
    SELECT = "select"
    MULTISELECT = "multiselect"
    DATE = "date"
    URL = "url"
    TEXTAREA = "textarea"
    RADIOBUTTON = "radiobutton"
    STREET_ADDRESS = "streetaddress"
    SMART_ADDRESS = "smart_address"
    BIRTHDAY = "birthday"
    LEGAL_ENTITY = "legal_entity"
    DATE_TIME = "date_time"
    PRICE = "price"
    CATEGORY = "category"
    FILE = "file"
    CHAINED_LIST = "chained_list"
    TRACKING_DATA = "tracking_data"
    LINKED_ENTITY = "linked_entity"
    MULTITEXT = "multitext"
    MONETARY = "monetary"
    ITEMS = "items"


class EntityType(StrEnum):
    """The entities that have cards, as paths and bodies name them."""

    LEADS = "leads"
    CONTACTS = "contacts"
    COMPANIES = "companies"
    CUSTOMERS = "customers"


Word = TypeVar("Word", bound=StrEnum)


def known_word(words: type[Word], value: Any, option: str) -> Word:
    """Return the member that a value or a member's name stands for, in any case.

    Raises RequestError for another, with what was probably meant.
    """
    text = value.strip().lower() if isinstance(value, str) else ""
    for word in words:
        if text in (word.value, word.name.lower()):
            return word
    hint = meant(text, _spellings(words)) or "."
    raise RequestError(f"{option}= is not {value!r:.80}{hint} It is {_listed(words)}")


def likely_word(words: type[StrEnum], value: Any, option: str) -> str:
    """Return a value as it is, unless it looks like a slip for a known one; the API may know more words than we do.

    Raises RequestError for a slip and for what is no text.
    """
    if not isinstance(value, str) or not value.strip():
        raise RequestError(f"{option}= is a text such as {next(iter(words)).value!r}, not {value!r:.80}")
    spelt = [word.value for word in words]
    hint = "" if value in spelt else meant(value.lower(), spelt)
    if hint:
        raise RequestError(f"{option}= is not {value!r:.80}{hint}")
    return str(value)


def meant(text: str, known: Iterable[str]) -> str:
    """Say what was probably meant, as the end of a sentence; empty when nothing is near."""
    spellings = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(text.casefold(), spellings, n=1, cutoff=0.75)
    return f"; did you mean {spellings[near[0]]}?" if near else ""


def _spellings(words: type[StrEnum]) -> list[str]:
    return [spelling for word in words for spelling in (word.value, word.name.lower())]


def _listed(words: type[StrEnum]) -> str:
    return "one of " + ", ".join(word.value for word in words)
