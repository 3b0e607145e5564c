"""Elements of lists: adding, changing and deleting them, each with what the account tells about it."""

from collections.abc import Iterator

from sandbox import field_values
from sandbox.notices import Notice, notice
from sandbox.payloads import incoming
from sandbox.problems import Fault, missing, wrong_type
from sandbox.state import Json, State


def faults(state: State, catalog_id: int, item: Json) -> Iterator[Fault]:
    """Yield what is wrong with the fields of an element."""
    name = item.get("name")
    if name is not None and not isinstance(name, str):
        yield wrong_type("name", "string")
    yield from field_values.faults(state.fields(f"catalogs/{catalog_id}"), item.get("custom_fields_values"))


def creation_faults(state: State, catalog_id: int, item: Json) -> Iterator[Fault]:
    """Yield what is wrong with a new element."""
    if item.get("name") is None:
        yield missing("name")
    yield from faults(state, catalog_id, item)


def find(state: State, catalog_id: int, element_id: object) -> Json | None:
    """Return an element of that list."""
    held = state.catalog_elements.get(element_id) if isinstance(element_id, int) else None
    return held if held is not None and held["catalog_id"] == catalog_id else None


def create(state: State, catalog_id: int, item: Json, *, by: int) -> tuple[Json, list[Notice]]:
    """Add an element in somebody's name."""
    now = state.now()
    held: Json = {
        "id": state.next_id("catalog_elements"),
        "catalog_id": catalog_id,
        "name": item["name"],
        "is_deleted": False,
        "created_by": by,
        "updated_by": by,
        "created_at": now,
        "updated_at": now,
        "custom": _merged(state, catalog_id, [], item),
    }
    state.catalog_elements[held["id"]] = held
    return held, [_told(held, "add")]


def change(state: State, held: Json, item: Json, *, by: int) -> list[Notice]:
    """Change the given fields of an element."""
    custom = _merged(state, held["catalog_id"], held["custom"], item)
    name = item["name"] if item.get("name") is not None else held["name"]
    held.update(name=name, custom=custom, updated_by=by, updated_at=state.now())
    return [_told(held, "update")]


def delete(state: State, held: Json) -> list[Notice]:
    """Take an element out of its list."""
    del state.catalog_elements[held["id"]]
    return [notice("catalogs", "delete", incoming.element_gone(held), "delete_catalog_element")]


def _merged(state: State, catalog_id: int, current: list[Json], item: Json) -> list[Json]:
    return field_values.merge(state.fields(f"catalogs/{catalog_id}"), current, item.get("custom_fields_values"))


def _told(held: Json, action: str) -> Notice:
    return notice("catalogs", action, incoming.element(held), f"{action}_catalog_element")
