"""The events of the account: what happened to its entities (https://developers.kommo.com/reference/events)."""

import time
from collections.abc import Iterator
from itertools import count

from sandbox.state import SINGULAR, Json, Record, State

#: Types besides those that belong to a single custom field.
TYPES = (
    *(f"{name}_{what}" for name in ("lead", "contact", "company", "customer") for what in ("added", "deleted")),
    *("lead_restored", "contact_restored", "company_restored", "lead_status_changed"),
    *("task_added", "task_deleted", "task_completed", "task_text_changed", "task_deadline_changed"),
    *("task_result_added", "entity_responsible_changed", "sale_field_changed", "name_field_changed"),
    *("common_note_added", "entity_linked", "entity_unlinked", "talk_created", "talk_closed"),
    *("incoming_chat_message", "outgoing_chat_message"),
)

_NUMBERS = count(1)


def write(
    state: State,
    kind: str,
    entity_id: int,
    event: str,
    *,
    by: int,
    after: Json | None = None,
    before: Json | None = None,
) -> None:
    """Write down an event of an entity in somebody's name."""
    state.events.append(
        {
            # Ids of the service grow with time and are 26 signs long.
            "id": f"01{int(time.time() * 1000):011x}{next(_NUMBERS):013x}",
            "type": event,
            "entity_id": entity_id,
            "entity_type": SINGULAR[kind],
            "created_by": by,
            "created_at": state.now(),
            "value_after": [after] if after else [],
            "value_before": [before] if before else [],
        }
    )


def happened(state: State, record: Record, what: str) -> None:
    """Write down that an entity was deleted, restored or the like, by who changed it last."""
    name = SINGULAR[record.kind]
    write(state, record.kind, record.id, f"{name}_{what}", by=record.fields["updated_by"])


def added(state: State, record: Record) -> None:
    """Write down a new entity."""
    happened(state, record, "added")


def updated(state: State, record: Record, before: Json, former: list[Json]) -> None:
    """Write down what differs from the former fields and custom fields, one event for each difference."""
    by = record.fields["updated_by"]
    for event, old, new in (*_differences(record, before), *_custom_differences(record, former)):
        write(state, record.kind, record.id, event, by=by, after=new, before=old)


def _differences(record: Record, before: Json) -> Iterator[tuple[str, Json, Json]]:
    after = record.fields
    stage = ("status_id", "pipeline_id")
    if record.kind == "leads" and any(before[name] != after[name] for name in stage):
        old, new = ({"id": fields["status_id"], "pipeline_id": fields["pipeline_id"]} for fields in (before, after))
        yield "lead_status_changed", {"lead_status": old}, {"lead_status": new}
    if before["responsible_user_id"] != after["responsible_user_id"]:
        old, new = ({"id": fields["responsible_user_id"]} for fields in (before, after))
        yield "entity_responsible_changed", {"responsible_user": old}, {"responsible_user": new}
    yield from (_task_differences if record.kind == "tasks" else _card_differences)(before, after)


def _card_differences(before: Json, after: Json) -> Iterator[tuple[str, Json, Json]]:
    for name, event, key in (("price", "sale_field_changed", "sale"), ("name", "name_field_changed", "name")):
        if before.get(name) != after.get(name):
            wrapped = [{f"{key}_field_value": {key: fields[name]}} for fields in (before, after)]
            yield event, wrapped[0], wrapped[1]


def _task_differences(before: Json, after: Json) -> Iterator[tuple[str, Json, Json]]:
    if before["text"] != after["text"]:
        yield "task_text_changed", {"task": {"text": before["text"]}}, {"task": {"text": after["text"]}}
    if before["complete_till"] != after["complete_till"]:
        old, new = ({"task_deadline": {"timestamp": fields["complete_till"]}} for fields in (before, after))
        yield "task_deadline_changed", old, new
    if before["result"] != after["result"]:
        yield "task_result_added", {}, {"note": {"id": after["result"]["id"]}}
    if after["is_completed"] and not before["is_completed"]:
        yield "task_completed", {}, {}


def _custom_differences(record: Record, former: list[Json]) -> Iterator[tuple[str, Json, Json]]:
    old, new = ({value["field_id"]: value for value in values} for values in (former, record.custom))
    for field_id in dict.fromkeys((*old, *new)):
        if old.get(field_id) != new.get(field_id):
            yield f"custom_field_{field_id}_value_changed", _shown(old.get(field_id)), _shown(new.get(field_id))


def _shown(value: Json | None) -> Json:
    if value is None:
        return {}
    first = value["values"][0]
    about = {"field_id": value["field_id"], "field_type": value["field_type"], "enum_id": first.get("enum_id")}
    return {"custom_field_value": {**about, "text": str(first.get("value"))}}
