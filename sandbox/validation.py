"""What the API refuses: wrong types, choices that do not exist, text that is too long.

A fault in one item refuses the whole request (https://developers.kommo.com/docs/response-codes). Fields that
the service does not know are passed over here; what it does with them is not documented.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from sandbox import field_values
from sandbox.problems import ApiError, Fault, invalid, missing, not_a_choice, over_page_limit, too_long, wrong_type
from sandbox.stages import stage_faults
from sandbox.state import CARDS, Json, Record, State
from sandbox.writable import NAME_LIMIT, type_faults

#: Entities in one request, read or written (https://developers.kommo.com/docs/limitations).
BATCH_LIMIT = 250

#: What a caller numbers an item with.
RequestId = str | int


def items_of(document: object, limit: int = BATCH_LIMIT) -> list[Json]:
    """Return the items of a request: an array, or a single object, which the overview shows for `POST`."""
    items = [document] if isinstance(document, dict) else document
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise ApiError(400, "The body has to be a JSON array of objects")
    if len(items) > limit:
        raise over_page_limit(limit)
    return items


def request_id(item: Json, index: int) -> RequestId:
    """Return the caller's `request_id` as it came, or the index of the item.

    It comes back unchanged (https://developers.kommo.com/reference/leads): clients compare it with its type.
    """
    given = item.get("request_id")
    return given if isinstance(given, (str, int)) else str(index)


def echo(item: Json) -> Json:
    """Return what the answer to a change repeats of its item: the `request_id`, if there is one."""
    given = item.get("request_id")
    return {"request_id": given} if isinstance(given, (str, int)) else {}


def check(items: Sequence[Json], faults_of: Callable[[Json], Iterable[Fault]]) -> None:
    """Raise one 400 with all the faults of all items, by their request ids."""
    faulty: dict[str, list[Fault]] = {}
    for index, item in enumerate(items):
        faults = list(faults_of(item))
        if faults:
            faulty.setdefault(str(request_id(item, index)), []).extend(faults)
    if faulty:
        raise invalid(faulty)


def creation_faults(state: State, kind: str, item: Json) -> Iterator[Fault]:
    """Yield what is wrong with a new entity."""
    wanted = {"tasks": ("text", "complete_till"), "customers": ("name",)}.get(kind, ())
    yield from (missing(name) for name in wanted if item.get(name) is None)
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
    mistyped = list(type_faults(kind, item))
    yield from mistyped
    yield from field_values.faults(state.fields(kind), item.get("custom_fields_values"))
    yield from _tag_faults(item)
    yield from _length_faults(item)
    if mistyped:
        return
    if not state.directory.may_own(item.get("responsible_user_id") or 0):
        yield not_a_choice("responsible_user_id")
    if kind == "leads":
        yield from stage_faults(state, item, record)
    if kind != "tasks":
        yield from _link_faults(state, item)
    if kind == "tasks":
        yield from _target_faults(state, item)


def _length_faults(item: Json) -> Iterator[Fault]:
    for name in ("name", "first_name", "last_name"):
        text = item.get(name)
        if isinstance(text, str) and len(text) > NAME_LIMIT:
            yield too_long(name, NAME_LIMIT)


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
    if kind is not None and kind not in CARDS:
        yield not_a_choice("entity_type")
    elif kind is not None and entity_id is not None and state.find(kind, entity_id) is None:
        yield not_a_choice("entity_id")
