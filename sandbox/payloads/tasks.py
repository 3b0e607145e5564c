"""Tasks and notes as deliveries show them: some of their times are text."""

import json
from datetime import UTC, datetime, timedelta, timezone

from sandbox.state import ELEMENT_TYPES, Json, Record, State

#: Notes carry the account's local time as text, tasks carry UTC.
ACCOUNT_ZONE = timezone(timedelta(hours=3))

#: Numbers of the note types. 4, 5, 10 and 11 are documented for webhooks; the others come from the older
#: reference of amoCRM, and the last three are made up. A type that is not here is told without its number.
NOTE_NUMBERS = {
    "common": 4,
    "attachment": 5,
    "call_in": 10,
    "call_out": 11,
    "mail_message": 15,
    "service_message": 25,
    "sms_in": 102,
    "sms_out": 103,
    "extended_service_message": 26,
    "targeted_message": 27,
}


def _utc(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _local(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, ACCOUNT_ZONE).strftime("%Y-%m-%d %H:%M:%S")


def added(state: State, task: Record) -> Json:
    """Return a new task."""
    return {**_head(state, task), **_tail(task)}


def updated(state: State, task: Record, before: Json, given: Json) -> Json:
    """Return a changed task: `action_close` tells that this change closed it, `old_text` what it said before.

    A result that is added to a task arrives without the old text.
    """
    closes = task.fields["is_completed"] and not before["is_completed"]
    only_result = "result" in given and not closes
    result = task.fields["result"] if "result" in given else None
    return {
        **_head(state, task),
        "action_close": closes,
        "old_text": None if only_result else before["text"],
        **_new_owner(task, before),
        "result": {"id": result["id"], "text": result["text"]} if result else None,
        **_tail(task),
    }


def gone(task: Record) -> Json:
    """Return what is told of a deleted task."""
    return {"id": task.id}


def _new_owner(task: Record, before: Json) -> Json:
    if before["responsible_user_id"] == task.fields["responsible_user_id"]:
        return {}
    return {
        "main_user": task.fields["responsible_user_id"],
        "modified_by": task.fields["updated_by"],
        "old_responsible_user_id": before["responsible_user_id"],
    }


def _head(state: State, task: Record) -> Json:
    fields = task.fields
    return {
        "id": task.id,
        "element_id": fields["entity_id"],
        "element_type": ELEMENT_TYPES.get(fields["entity_type"] or ""),
        "task_type": fields["task_type_id"],
        "date_create": _utc(fields["created_at"]),
        "text": fields["text"],
        "status": fields["is_completed"],
        "account_id": state.account_id,
        "created_user_id": fields["created_by"],
        "last_modified": _utc(fields["updated_at"]),
        "responsible_user_id": fields["responsible_user_id"],
        "complete_till": _utc(fields["complete_till"]),
    }


def _tail(task: Record) -> Json:
    fields = task.fields
    return {
        "created_at": fields["created_at"],
        "updated_at": fields["updated_at"],
        "complete_before": fields["complete_till"],
    }


def note(state: State, written: Json, kind: str) -> Json:
    """Return the item of a note on a lead, contact or company (`kind`); notes are an action of these."""
    item: Json = {"note": _note(state, written, kind)}
    if kind in ("contacts", "companies"):
        item["type"] = "company" if kind == "companies" else "contact"
    return item


def _note(state: State, written: Json, kind: str) -> Json:
    params = written["params"]
    return {
        "text": _note_text(written),
        # Spelt so by the service.
        "attachement": params.get("attachment") or "",
        "date_create": _local(written["created_at"]),
        "note_type": NOTE_NUMBERS.get(written["note_type"]),
        "element_type": ELEMENT_TYPES[kind],
        "element_id": written["entity_id"],
        "catalog_id": 0,
        "group_id": written["group_id"],
        "timestamp_x": _local(written["updated_at"]),
        "account_id": state.account_id,
        "metadata": _metadata(state, written["updated_by"]),
        "created_by": written["created_by"],
        "modified_by": written["updated_by"],
        "main_user_id": written["responsible_user_id"],
        "id": written["id"],
        "created_at": written["created_at"],
        "updated_at": written["updated_at"],
    }


def _note_text(written: Json) -> str:
    params = written["params"]
    if written["note_type"] in ("call_in", "call_out"):
        call = {"UNIQ": params.get("uniq"), "LINK": params.get("link"), "PHONE": params.get("phone")}
        extra = {"DURATION": params.get("duration"), "SRC": params.get("source")}
        return json.dumps({**call, **extra}, ensure_ascii=False, separators=(",", ":"))
    return str(params.get("text") or params.get("file_name") or "")


def _metadata(state: State, user_id: int) -> str:
    user = state.directory.user(user_id)
    name = user.name if user else "Robot"
    source = {"event_source": {"id": user_id, "author_name": name, "type": 1}}
    return json.dumps(source, ensure_ascii=False, separators=(",", ":"))
