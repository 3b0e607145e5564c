"""What is refused of a note."""

from collections.abc import Iterator

from sandbox.problems import Fault, missing, not_a_choice, too_long, wrong_type
from sandbox.state import Json, State

#: Characters of a note (https://developers.kommo.com/docs/limitations).
NOTE_LIMIT = 20_000

#: Types that the reference or the vendor's own client names; which of them may be posted is not documented.
NOTE_TYPES = (
    *("common", "attachment", "dropbox_attachment"),
    *("call_in", "call_out", "sms_in", "sms_out", "mail_message", "amomail_message", "chat"),
    *("service_message", "extended_service_message", "message_cashier", "targeted_message"),
    *("targeting_in", "targeting_out", "site_visit", "link_followed", "geolocation", "zoom_meeting"),
    *("invoice_paid", "bill_paid", "transaction"),
)


def note_faults(state: State, kind: str, item: Json) -> Iterator[Fault]:
    """Yield what is wrong with a new note on an entity of that kind."""
    if item.get("note_type") is None:
        yield missing("note_type")
    elif item["note_type"] not in NOTE_TYPES:
        yield not_a_choice("note_type")
    if not isinstance(item.get("entity_id"), int) or state.find(kind, item["entity_id"]) is None:
        yield not_a_choice("entity_id")
    yield from note_text_faults(item)


def note_text_faults(item: Json) -> Iterator[Fault]:
    """Yield what is wrong with the `params` of a note."""
    params = item.get("params") or {}
    if not isinstance(params, dict):
        yield wrong_type("params", "array")
        return
    text = params.get("text")
    if item.get("note_type") == "common" and not text:
        yield missing("params.text")
    if text is not None and not isinstance(text, str):
        yield wrong_type("params.text", "string")
    elif text and len(text) > NOTE_LIMIT:
        yield too_long("params.text", NOTE_LIMIT)
