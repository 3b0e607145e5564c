"""Links between entities and to elements of lists (https://developers.kommo.com/reference/links).

A link to a contact or company is kept where the entity has its list of them: on the lead or customer, and a
contact's company on the contact. It is seen from both sides.
"""

from collections.abc import Iterator

from sandbox.problems import Fault, missing, not_a_choice
from sandbox.state import Json, Record, State

_LINKABLE = {
    "leads": ("contacts", "companies"),
    "customers": ("contacts", "companies"),
    "contacts": ("leads", "customers", "companies"),
    "companies": ("leads", "customers", "contacts"),
}
#: Who keeps a link, from the first to the last.
_HOLDERS = ("leads", "customers", "contacts", "companies")


def contacts_of(state: State, record: Record) -> list[Json]:
    """Return the contacts of an entity: `{id, is_main}`, of a company `{id}`."""
    if record.kind != "companies":
        return record.contacts
    return [{"id": one.id} for one in state.visible("contacts") if record.id in one.companies]


def customers_of(state: State, record: Record) -> list[int]:
    """Return the ids of the customers that name a contact or company."""
    return [
        one.id
        for one in state.visible("customers")
        if record.id in (one.companies if record.kind == "companies" else [link["id"] for link in one.contacts])
    ]


def holders_of(state: State, element_id: int) -> Iterator[tuple[Record, Json]]:
    """Yield the entities that an element of a list is linked to, each with its link."""
    for record in (one for kind in _HOLDERS for one in state.visible(kind)):
        yield from ((record, link) for link in record.elements if link["id"] == element_id)


def links_of(state: State, record: Record) -> Iterator[Json]:
    """Yield the links of an entity, with what is known of each as `metadata`."""
    for link in contacts_of(state, record):
        metadata = {"main_contact": link["is_main"]} if "is_main" in link else None
        yield _link("contacts", link["id"], metadata)
    yield from (_link("companies", one, None) for one in record.companies)
    yield from (_link("leads", one, None) for one in record.leads)
    if record.kind in ("contacts", "companies"):
        yield from (_link("customers", one, None) for one in customers_of(state, record))
    for element in record.elements:
        metadata = {"quantity": element["quantity"], "catalog_id": element["catalog_id"]}
        yield _link("catalog_elements", element["id"], metadata)


def _link(kind: str, entity_id: int, metadata: Json | None) -> Json:
    return {"to_entity_id": entity_id, "to_entity_type": kind, "metadata": metadata}


def faults(state: State, kind: str, item: Json) -> Iterator[Fault]:
    """Yield what is wrong with a link that is to be made or ended."""
    target, target_id = item.get("to_entity_type"), item.get("to_entity_id")
    yield from (missing(name) for name in ("to_entity_id", "to_entity_type") if item.get(name) is None)
    if target is None or target_id is None:
        return
    if target == "catalog_elements":
        known = isinstance(target_id, int) and target_id in state.catalog_elements
    elif target in _LINKABLE.get(kind, ()):
        known = isinstance(target_id, int) and state.find(str(target), target_id) is not None
    else:
        yield not_a_choice("to_entity_type")
        return
    if not known:
        yield not_a_choice("to_entity_id")


def connect(state: State, record: Record, item: Json) -> None:
    """Make a checked link; one that is there is only changed."""
    metadata = item.get("metadata") or {}
    if item["to_entity_type"] == "catalog_elements":
        element = state.catalog_elements[item["to_entity_id"]]
        quantity = 1 if metadata.get("quantity") is None else metadata["quantity"]
        record.elements = [one for one in record.elements if one["id"] != element["id"]]
        record.elements.append({"id": element["id"], "catalog_id": element["catalog_id"], "quantity": quantity})
        return
    holder, held = _ordered(record, state.records[item["to_entity_type"]][item["to_entity_id"]])
    if held.kind == "contacts":
        _hold_contact(holder, held.id, is_main=bool(metadata.get("is_main") or metadata.get("main_contact")))
    elif held.kind == "companies":
        for company_id in holder.companies:
            state.unlink(holder, "companies", company_id)
        holder.companies = [held.id]
    state.link(holder, held.kind, held.id)


def disconnect(state: State, record: Record, item: Json) -> None:
    """End a link, if it is there."""
    if item["to_entity_type"] == "catalog_elements":
        record.elements = [one for one in record.elements if one["id"] != item["to_entity_id"]]
        return
    holder, held = _ordered(record, state.records[item["to_entity_type"]][item["to_entity_id"]])
    holder.contacts = [one for one in holder.contacts if held.kind != "contacts" or one["id"] != held.id]
    if held.kind == "companies":
        holder.companies = [one for one in holder.companies if one != held.id]
    state.unlink(holder, held.kind, held.id)


def _ordered(one: Record, other: Record) -> tuple[Record, Record]:
    first, second = sorted((one, other), key=lambda record: _HOLDERS.index(record.kind))
    return first, second


def _hold_contact(holder: Record, contact_id: int, *, is_main: bool) -> None:
    others = [one for one in holder.contacts if one["id"] != contact_id]
    main = is_main or not others
    kept = [{**one, "is_main": False} for one in others] if main else others
    holder.contacts = [*kept, {"id": contact_id, "is_main": main}]
