"""Calls of a telephone system (https://developers.kommo.com/reference/calls)."""

from collections.abc import Iterator

from flask import Blueprint, Response, request

from sandbox import noting
from sandbox.api.answers import document, hal, shapes, world
from sandbox.directory import INTEGRATION_USER
from sandbox.problems import Fault, missing, not_a_choice, wrong_type
from sandbox.state import Json, Record
from sandbox.validation import RequestId, check, items_of, request_id

routes = Blueprint("calls", __name__, url_prefix="/calls")

#: What the service says of a number that nobody has.
NOBODY = 263

_TYPES = {"direction": (str, "string"), "duration": (int, "int"), "source": (str, "string"), "phone": (str, "string")}


@routes.post("")
def add_calls() -> Response:
    """Add calls, each as a note to who has its number; a number that nobody has fails alone, with a 200."""
    items = items_of(document())
    rows: list[Json] = []
    errors: list[Json] = []
    with world().state.lock:
        check(items, _faults)
        for index, item in enumerate(items):
            number, found = request_id(item, index), _who_has(item["phone"])
            if found is None:
                errors.append({"request_id": number, "title": "Entity not found", "status": NOBODY})
            else:
                rows.append(_add(found, item, number))
    links = {"self": {"href": request.base_url}}
    return hal({"_total_items": len(rows), "_links": links, "errors": errors, "_embedded": {"calls": rows}})


def _faults(item: Json) -> Iterator[Fault]:
    for name, (wanted, told) in _TYPES.items():
        if item.get(name) is None:
            yield missing(name)
        elif not isinstance(item[name], wanted):
            yield wrong_type(name, told)
    if item.get("direction") not in (None, "inbound", "outbound"):
        yield not_a_choice("direction")


def _who_has(phone: str) -> Record | None:
    wanted = _digits(phone)
    people = (one for kind in ("contacts", "companies") for one in world().state.visible(kind))
    return next((one for one in people if wanted and wanted in _numbers(one)), None)


def _numbers(record: Record) -> set[str]:
    phones = (field for field in record.custom if field["field_code"] == "PHONE")
    return {_digits(str(value["value"])) for field in phones for value in field["values"]}


def _digits(text: str) -> str:
    return "".join(sign for sign in text if sign.isdigit())


def _add(record: Record, item: Json, number: RequestId) -> Json:
    state = world().state
    names = ("uniq", "duration", "source", "link", "phone", "call_responsible", "call_result", "call_status")
    note_type = "call_in" if item["direction"] == "inbound" else "call_out"
    params = {name: item[name] for name in names if item.get(name) is not None}
    given = {"entity_id": record.id, "note_type": note_type, "params": params}
    _, notices = noting.add(state, record.kind, given, by=INTEGRATION_USER)
    world().announce(notices)
    links = shapes().links(f"{record.kind}/{record.id}")
    return {
        "id": state.next_id("calls"),
        "entity_id": record.id,
        "entity_type": "contact" if record.kind == "contacts" else "company",
        "account_id": state.account_id,
        "request_id": number,
        "_embedded": {"entity": {"id": record.id, "_links": links}},
    }
