"""Making and changing definitions of custom fields (https://developers.kommo.com/reference/custom-fields)."""

from collections.abc import Iterator
from dataclasses import replace

from sandbox.custom_fields import CustomField, Enum
from sandbox.problems import Fault, missing, mistyped, not_a_choice, wrong_type
from sandbox.state import Json, State

TYPES = frozenset(
    (
        *("text", "numeric", "checkbox", "select", "multiselect", "date"),
        *("url", "textarea", "radiobutton", "streetaddress", "smart_address", "birthday"),
        *("legal_entity", "date_time", "price", "category", "items", "tracking_data"),
        *("linked_entity", "chained_list", "monetary", "file", "multitext"),
    )
)

_CHANGEABLE = ("name", "code", "sort", "is_api_only", "group_id")
#: What is kept and shown without being understood.
_KEPT = (
    *("required_statuses", "hidden_statuses", "chained_lists", "currency", "remind", "tracking_callback", "search_in"),
    *("is_visible", "is_required", "is_deletable", "triggers"),
)


def creation_faults(item: Json) -> Iterator[Fault]:
    """Yield what is wrong with a new definition."""
    yield from (missing(name) for name in ("name", "type") if item.get(name) is None)
    if item.get("type") is not None and item["type"] not in TYPES:
        yield not_a_choice("type")
    yield from faults(item)


def faults(item: Json) -> Iterator[Fault]:
    """Yield what has another type than it should."""
    yield from mistyped(item, name=str, code=str, sort=int)
    enums = item.get("enums") or []
    if not isinstance(enums, list) or not all(_is_choice(one) for one in enums):
        yield wrong_type("enums", "array")


def _is_choice(given: object) -> bool:
    return isinstance(given, dict) and isinstance(given.get("value"), str)


def new(state: State, item: Json) -> CustomField:
    """Return a new definition, its choices numbered."""
    return CustomField(
        state.next_id("custom_fields"),
        item["name"],
        item["type"],
        item.get("code"),
        _enums(state, item.get("enums")),
        sort=item.get("sort") or 500,
        is_api_only=bool(item.get("is_api_only")),
        group_id=item.get("group_id"),
        more=_more(state, item),
    )


def changed(state: State, field: CustomField, item: Json) -> CustomField:
    """Return a definition with the given parts changed; choices are replaced as a whole."""
    given = {name: item[name] for name in _CHANGEABLE if item.get(name) is not None}
    if item.get("enums") is not None:
        given["enums"] = _enums(state, item["enums"])
    return replace(field, **given, more={**field.more, **_more(state, item)})


def _more(state: State, item: Json) -> Json:
    kept: Json = {name: item[name] for name in _KEPT if item.get(name) is not None}
    return {**kept, "nested": _nested(state, item["nested"])} if item.get("nested") else kept


def _nested(state: State, given: list[Json]) -> list[Json]:
    """Return the categories of a field, numbered; one of the same request is named by its `request_id`."""
    ids: dict[str, int] = {}
    made: list[Json] = []
    for index, one in enumerate(given):
        number = one.get("id") or state.next_id("enums")
        ids[str(one.get("request_id", index))] = number
        parent = one.get("parent_id") or ids.get(str(one.get("parent_request_id")))
        made.append({"id": number, "parent_id": parent, "value": one.get("value"), "sort": one.get("sort") or index})
    return made


def _enums(state: State, given: list[Json] | None) -> tuple[Enum, ...]:
    return tuple(Enum(one.get("id") or state.next_id("enums"), one["value"], one.get("code")) for one in given or ())
