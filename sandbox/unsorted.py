"""Incoming leads: how they come, and how somebody takes, refuses or links them.

The lead is there from the beginning, in the stage for incoming ones, and its contacts with it; webhooks hear of
them only under `unsorted` (https://developers.kommo.com/reference/incoming-leads).
"""

import uuid
from collections.abc import Iterator

from sandbox import changes
from sandbox.directory import OWNER, ROBOT
from sandbox.notices import Notice, notice
from sandbox.payloads import incoming
from sandbox.problems import Fault, missing, not_a_choice, wrong_type
from sandbox.state import Json, Record, State
from sandbox.validation import creation_faults, embedded

#: What an incoming lead may have come through; the API itself takes forms and calls.
CATEGORIES = ("sip", "mail", "forms", "chats")

#: What is known of each category, null where nobody said it.
_METADATA = {
    "forms": ("form_id", "form_name", "form_page", "ip", "form_sent_at", "referer", "visitor_uid"),
    "sip": ("from", "phone", "called_at", "duration", "link", "service_code", "uniq"),
    "chats": ("from", "to", "received_at", "service", "client", "origin", "last_message_text", "source_name"),
    "mail": ("from", "subject", "received_at", "thread_id", "message_id", "content_summary"),
}
_PARTS = ("contacts", "companies")


def faults(state: State, item: Json) -> Iterator[Fault]:
    """Yield what is wrong with a new incoming lead."""
    yield from (missing(name) for name in ("source_uid", "source_name") if item.get(name) is None)
    if not isinstance(item.get("metadata"), dict):
        yield wrong_type("metadata", "array") if item.get("metadata") is not None else missing("metadata")
    if item.get("pipeline_id") is not None and state.directory.pipeline(item["pipeline_id"]) is None:
        yield not_a_choice("pipeline_id")
    for kind in ("leads", *_PARTS):
        for index, one in enumerate(embedded(item).get(kind) or ()):
            found = creation_faults(state, kind, one)
            yield from (fault._replace(path=f"_embedded.{kind}.{index}.{fault.path}") for fault in found)


def add(state: State, category: str, item: Json) -> tuple[Json, list[Notice]]:
    """Let a checked incoming lead come, with the contacts and companies that it embeds."""
    pipeline = state.directory.pipeline(item.get("pipeline_id")) or state.directory.main()
    made = {kind: [_quietly(state, kind, one) for one in embedded(item).get(kind) or ()] for kind in _PARTS}
    links = {kind: [{"id": record.id} for record in records] for kind, records in made.items()}
    given: Json = next(iter(embedded(item).get("leads") or ()), {})
    stage = {"pipeline_id": pipeline.id, "status_id": pipeline.incoming.id}
    inner = {**(given.get("_embedded") or {}), **links}
    lead = _quietly(state, "leads", {**given, **stage, "_embedded": inner})
    held = _held(state, category, item, lead)
    state.unsorted[held["uid"]] = held
    told = incoming.unsorted_added(state, held, lead)
    return held, [notice("unsorted", "add", told, "add_unsorted")]


def _quietly(state: State, kind: str, item: Json) -> Record:
    record, _ = changes.create(state, kind, item, by=ROBOT)
    if kind == "contacts":
        record.fields["is_unsorted"] = True
    return record


def _held(state: State, category: str, item: Json, lead: Record) -> Json:
    said = item.get("metadata") or {}
    metadata = {name: said.get(name) for name in _METADATA[category]}
    return {
        "id": state.next_id("unsorted"),
        "uid": uuid.uuid4().hex + uuid.uuid4().hex[:28],
        "lead_id": lead.id,
        "category": category,
        "pipeline_id": lead.fields["pipeline_id"],
        "source_uid": item.get("source_uid"),
        "source_name": item.get("source_name"),
        "metadata": metadata,
        "source_id": 36_600,
        "user_id": OWNER,
        "visitor_uid": said.get("visitor_uid") or str(uuid.uuid4()),
        "form_request_id": uuid.uuid4().hex[:10],
        "created_at": item.get("created_at") or state.now(),
    }


def accept(state: State, held: Json, *, by: int, status_id: int | None = None) -> list[Notice]:
    """Take an incoming lead into a stage of its pipeline, the first one if none is named."""
    lead = _sort_out(state, held, "accepted")
    pipeline = state.directory.pipeline(held["pipeline_id"]) or state.directory.main()
    changes.update(state, lead, {"status_id": status_id or pipeline.first.id}, by=by)
    for link in lead.contacts:
        state.records["contacts"][link["id"]].fields["is_unsorted"] = False
    told = incoming.unsorted_accepted(held, lead, by=by)
    return [notice("unsorted", "delete", told, "delete_unsorted")]


def decline(state: State, held: Json, *, by: int) -> list[Notice]:
    """Refuse an incoming lead: it is deleted."""
    lead = _sort_out(state, held, "declined")
    changes.delete(state, lead, by=by)
    told = incoming.unsorted_declined(held, lead, by=by)
    return [notice("unsorted", "delete", told, "delete_unsorted")]


def link(state: State, held: Json, *, by: int) -> list[Notice]:
    """Bring an incoming lead to an entity that is there; its own lead is deleted."""
    lead = _sort_out(state, held, "accepted")
    changes.delete(state, lead, by=by)
    return [notice("unsorted", "delete", incoming.unsorted_accepted(held, lead, by=by), "delete_unsorted")]


def _sort_out(state: State, held: Json, how: str) -> Record:
    del state.unsorted[held["uid"]]
    state.sorted_out.append({**held, "how": how, "seconds": state.now() - held["created_at"]})
    return state.records["leads"][held["lead_id"]]


def summary(waiting: list[Json], sorted_out: list[Json]) -> Json:
    """Return the counts of the account's page for incoming leads."""
    everything = [*waiting, *sorted_out]
    spent = [one["seconds"] for one in sorted_out]
    return {
        "total": len(everything),
        "accepted": sum(one["how"] == "accepted" for one in sorted_out),
        "declined": sum(one["how"] == "declined" for one in sorted_out),
        "average_sort_time": sum(spent) // len(spent) if spent else 0,
        "categories": {name: {"total": sum(one["category"] == name for one in everything)} for name in CATEGORIES},
    }
