"""What the API refuses: wrong types, choices that do not exist, text that is too long.

A fault in one item refuses the whole request (https://developers.kommo.com/docs/response-codes). Fields that
the service does not know are passed over here; what it does with them is not documented.
"""

from collections.abc import Callable, Iterator, Sequence

from sandbox import custom_fields
from sandbox.directory import Pipeline, main_pipeline, pipeline, user_ids
from sandbox.problems import ApiError, Fault, invalid, missing, not_a_choice, over_page_limit, wrong_type
from sandbox.state import KINDS, Json, Record, State

#: Entities in one request, read or written (https://developers.kommo.com/docs/limitations).
BATCH_LIMIT = 250
#: Characters of a note.
NOTE_LIMIT = 20_000

_TIMES = {"created_at": int, "updated_at": int, "created_by": int, "updated_by": int}
_COMMON: dict[str, type] = {"name": str, "responsible_user_id": int, **_TIMES}

#: The plain fields that a request may set.
WRITABLE: dict[str, dict[str, type]] = {
    "leads": {
        **_COMMON,
        "price": int,
        "status_id": int,
        "pipeline_id": int,
        "loss_reason_id": int,
        "closed_at": int,
    },
    "contacts": {**_COMMON, "first_name": str, "last_name": str},
    "companies": _COMMON,
    "tasks": {
        "responsible_user_id": int,
        **_TIMES,
        "entity_id": int,
        "entity_type": str,
        "is_completed": bool,
        "task_type_id": int,
        "text": str,
        "duration": int,
        "complete_till": int,
    },
}
_TYPE_NAMES = {int: "int", str: "string", bool: "bool"}

NOTE_TYPES = (
    "common",
    "call_in",
    "call_out",
    "service_message",
    "extended_service_message",
    "mail_message",
    "sms_in",
    "sms_out",
    "attachment",
    "targeted_message",
)


def items_of(document: object) -> list[Json]:
    """Return the items of a request: an array, or a single object, which the overview shows for `POST`."""
    items = [document] if isinstance(document, dict) else document
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise ApiError(400, "The body has to be a JSON array of objects")
    if len(items) > BATCH_LIMIT:
        raise over_page_limit()
    return items


def request_id(item: Json, index: int) -> str:
    """Return the caller's `request_id`, or the index of the item."""
    return str(item.get("request_id", index))


def check(items: Sequence[Json], faults_of: Callable[[Json], Iterator[Fault]]) -> None:
    """Raise one 400 with all the faults of all items, by their request ids."""
    faulty: dict[str, list[Fault]] = {}
    for index, item in enumerate(items):
        faults = list(faults_of(item))
        if faults:
            faulty.setdefault(request_id(item, index), []).extend(faults)
    if faulty:
        raise invalid(faulty)


def creation_faults(state: State, kind: str, item: Json) -> Iterator[Fault]:
    """Yield what is wrong with a new entity."""
    if kind == "tasks":
        yield from (missing(name) for name in ("text", "complete_till") if item.get(name) is None)
    yield from _entity_faults(state, kind, item, None)


def update_faults(state: State, kind: str, item: Json) -> Iterator[Fault]:
    """Yield what is wrong with a change; the item names its entity by `id`."""
    entity_id = item.get("id")
    record = state.find(kind, entity_id) if isinstance(entity_id, int) else None
    if record is None:
        yield missing("id") if entity_id is None else not_a_choice("id")
    else:
        yield from _entity_faults(state, kind, item, record)


def _entity_faults(state: State, kind: str, item: Json, record: Record | None) -> Iterator[Fault]:
    mistyped = list(_type_faults(kind, item))
    yield from mistyped
    yield from custom_fields.faults(kind, item.get("custom_fields_values"))
    yield from _tag_faults(item)
    if mistyped:
        return
    if item.get("responsible_user_id", 0) not in user_ids():
        yield not_a_choice("responsible_user_id")
    if kind == "leads":
        yield from _stage_faults(item, record)
    if kind in ("leads", "contacts"):
        yield from _link_faults(state, item)
    if kind == "tasks":
        yield from _target_faults(state, item)


def _type_faults(kind: str, item: Json) -> Iterator[Fault]:
    for name, wanted in WRITABLE[kind].items():
        value = item.get(name)
        fits = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
        if value is not None and not fits:
            yield wrong_type(name, _TYPE_NAMES[wanted])


def _tag_faults(item: Json) -> Iterator[Fault]:
    for path in ("tags_to_add", "tags_to_delete"):
        yield from _tag_list_faults(item.get(path), path)
    yield from _tag_list_faults(embedded(item).get("tags"), "_embedded.tags")


def _tag_list_faults(tags: object, path: str) -> Iterator[Fault]:
    if tags is None:
        return
    if not isinstance(tags, list):
        yield wrong_type(path, "array")
        return
    for index, tag in enumerate(tags):
        if not isinstance(tag, dict) or not ({"id", "name"} & tag.keys()):
            yield missing(f"{path}.{index}.name")


def stage_after(item: Json, record: Record | None) -> tuple[Pipeline | None, int | None]:
    """Return the pipeline and the status that a lead has after a request; a new pipeline starts at its first."""
    current: Json = record.fields if record else {"pipeline_id": main_pipeline().id, "status_id": None}
    target = pipeline(item.get("pipeline_id") or current["pipeline_id"])
    if item.get("status_id") is not None:
        return target, item["status_id"]
    stays = target is not None and target.id == current["pipeline_id"] and current["status_id"] is not None
    return target, current["status_id"] if stays else target.first.id if target else None


def _stage_faults(item: Json, record: Record | None) -> Iterator[Fault]:
    target, status_id = stage_after(item, record)
    if target is None:
        yield not_a_choice("pipeline_id")
    elif status_id is None or not target.has(status_id):
        yield not_a_choice("status_id")


def embedded(item: Json) -> Json:
    """Return the `_embedded` of an item; the overview puts `contacts` of a lead beside it."""
    inner = item.get("_embedded")
    beside: Json = {name: item[name] for name in ("contacts", "companies") if name in item}
    return {**beside, **inner} if isinstance(inner, dict) else beside


def _link_faults(state: State, item: Json) -> Iterator[Fault]:
    for kind in ("contacts", "companies"):
        links = embedded(item).get(kind) or []
        if not isinstance(links, list):
            yield wrong_type(f"_embedded.{kind}", "array")
            continue
        for index, link in enumerate(links):
            if not isinstance(link, dict) or not isinstance(link.get("id"), int):
                yield missing(f"_embedded.{kind}.{index}.id")
            elif state.find(kind, link["id"]) is None:
                yield not_a_choice(f"_embedded.{kind}.{index}.id")


def _target_faults(state: State, item: Json) -> Iterator[Fault]:
    kind, entity_id = item.get("entity_type"), item.get("entity_id")
    if kind is not None and (kind not in KINDS or kind == "tasks"):
        yield not_a_choice("entity_type")
    elif kind is not None and entity_id is not None and state.find(kind, entity_id) is None:
        yield not_a_choice("entity_id")


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
        yield Fault(
            "params.text", "TooLong", f"This value is too long. It should have {NOTE_LIMIT} characters or less."
        )
