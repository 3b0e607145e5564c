"""The objects of the API, with the keys and the key order of its reference (https://developers.kommo.com/reference)."""

from sandbox.linking import contacts_of, customers_of
from sandbox.state import SINGULAR, Json, Record, State

_STAMPS = ("created_by", "updated_by", "created_at", "updated_at")
_OWNER = ("responsible_user_id", "group_id")

#: The plain keys of each entity. `closest_task_at` is always null here.
KEYS = {
    "leads": (
        *("id", "name", "price", *_OWNER, "status_id", "pipeline_id", "loss_reason_id", *_STAMPS),
        *("closed_at", "closest_task_at", "is_deleted", "custom_fields_values", "score", "account_id"),
        *("labor_cost", "is_price_computed"),
    ),
    "contacts": (
        *("id", "name", "first_name", "last_name", *_OWNER, *_STAMPS, "closest_task_at"),
        *("is_deleted", "is_unsorted", "custom_fields_values", "account_id"),
    ),
    "companies": (
        *("id", "name", *_OWNER, *_STAMPS, "closest_task_at"),
        *("is_deleted", "custom_fields_values", "account_id"),
    ),
    "customers": (
        *("id", "name", "next_price", "next_date", *_OWNER, "status_id", "periodicity", *_STAMPS),
        *("closest_task_at", "is_deleted", "custom_fields_values", "ltv", "purchases_count", "average_check"),
        "account_id",
    ),
    "tasks": (
        *("id", *_STAMPS, *_OWNER, "entity_id", "entity_type", "duration", "is_completed"),
        *("task_type_id", "text", "result", "complete_till", "account_id"),
    ),
}


#: What a lead shows only if `with` asks for it.
_ON_REQUEST: Json = {"is_price_modified_by_robot": False, "source_id": None}


class Shapes:
    """Render what the account holds, with links below one base such as `http://127.0.0.1:7300/api/v4`."""

    def __init__(self, state: State, base: str) -> None:
        self._state = state
        self._base = base

    def links(self, path: str) -> Json:
        """Return the `_links` of an object at that path."""
        return {"self": {"href": f"{self._base}/{path}"}}

    def record(self, record: Record, *, with_: frozenset[str] = frozenset()) -> Json:
        """Return a lead, contact, company, customer or task; `with_` names what is to be embedded besides."""
        if record.kind == "tasks":
            return self._task(record)
        row = {
            **record.fields,
            "id": record.id,
            "custom_fields_values": record.custom or None,
            "account_id": self._state.account_id,
        }
        asked = {name: value for name, value in _ON_REQUEST.items() if name in with_ and record.kind == "leads"}
        return {
            **{name: row[name] for name in KEYS[record.kind]},
            **asked,
            "_links": self.links(f"{record.kind}/{record.id}"),
            "_embedded": self._embedded(record, with_),
        }

    def _embedded(self, record: Record, with_: frozenset[str]) -> Json:
        inner: Json = {"tags": record.tags}
        if record.kind != "companies":
            inner["companies"] = [self._link("companies", {"id": one}) for one in record.companies]
        if record.kind != "contacts" and "contacts" in with_:
            inner["contacts"] = [self._link("contacts", link) for link in contacts_of(self._state, record)]
        if record.kind in ("contacts", "companies") and "leads" in with_:
            inner["leads"] = [self._link("leads", {"id": one}) for one in record.leads]
        if record.kind in ("contacts", "companies") and "customers" in with_:
            customers = customers_of(self._state, record)
            inner["customers"] = [self._link("customers", {"id": one}) for one in customers]
        if record.kind == "customers":
            inner["segments"] = []
        if "catalog_elements" in with_:
            inner["catalog_elements"] = [_element(one) for one in record.elements]
        if record.kind == "leads" and "loss_reason" in with_:
            reason = self._state.loss_reasons.get(record.fields["loss_reason_id"])
            inner["loss_reason"] = [dict(reason)] if reason else []
        return inner

    def _link(self, kind: str, link: Json) -> Json:
        return {**link, "_links": self.links(f"{kind}/{link['id']}")}

    def _task(self, task: Record) -> Json:
        result = task.fields["result"]
        shown = {"text": result["text"]} if result else []
        row = {**task.fields, "id": task.id, "result": shown, "account_id": self._state.account_id}
        return {**{name: row[name] for name in KEYS["tasks"]}, "_links": self.links(f"tasks/{task.id}")}

    def note(self, note: Json, kind: str) -> Json:
        """Return a note on an entity of that kind."""
        shown = {name: value for name, value in note.items() if name != "kind"}
        path = f"{kind}/{note['entity_id']}/notes/{note['id']}"
        return {**shown, "account_id": self._state.account_id, "_links": self.links(path)}

    def event(self, event: Json) -> Json:
        """Return an event, with the entity that it is about."""
        plural = next(kind for kind, name in SINGULAR.items() if name == event["entity_type"])
        about = {"id": event["entity_id"], "_links": self.links(f"{plural}/{event['entity_id']}")}
        links = self.links(f"events/{event['id']}")
        return {**event, "account_id": self._state.account_id, "_links": links, "_embedded": {"entity": about}}


def _element(link: Json) -> Json:
    """Return a linked element of a list; what is known of the link stands in it twice."""
    metadata = {"quantity": link["quantity"], "catalog_id": link["catalog_id"]}
    return {**link, "metadata": metadata}
