"""Commands for incoming leads, list elements and the hooks of the Digital Pipeline."""

import json

from sandbox import changes, elements, unsorted
from sandbox.control.arguments import Arguments
from sandbox.control.commands import command, record
from sandbox.directory import OWNER, ROBOT
from sandbox.ladder import PIPELINE_LADDER
from sandbox.notices import notice
from sandbox.payloads import crm, incoming
from sandbox.payloads.form import CONTENT_TYPE, encode
from sandbox.problems import ApiError, not_found
from sandbox.state import PRODUCTS, Json, Record
from sandbox.subscriptions import is_address
from sandbox.validation import check
from sandbox.world import World

#: The address of the form that incoming leads come from.
_SITE = "https://sandbox.example/contact"
_FORM = {"form_id": 1_303_500, "form_name": "Contact us", "ip": "192.0.2.44", "referer": _SITE}
_REFERRER_FIELD = {"field_code": "REFERRER", "values": [{"value": _SITE}]}


@command("unsorted.add")
def add_unsorted(world: World, arguments: Arguments) -> Json:
    """Let a form of a site bring a lead, or another `category`; it waits unsorted, told of only as that."""
    category = arguments.text("category", "forms")
    if category not in unsorted.CATEGORIES:
        raise ApiError(400, f"category has to be one of {', '.join(unsorted.CATEGORIES)}")
    lead = {"name": arguments.text("name", "From the site"), "custom_fields_values": [_REFERRER_FIELD]}
    metadata = _FORM if category == "forms" else {"received_at": world.state.now(), "source_name": "The site"}
    source = {"source_uid": "site", "source_name": "The site"}
    item = {**source, "metadata": metadata, "_embedded": {"leads": [lead]}}
    held, notices = unsorted.add(world.state, category, item)
    world.announce(notices)
    return {"uid": held["uid"], "lead_id": held["lead_id"]}


@command("unsorted.update")
def update_unsorted(world: World, arguments: Arguments) -> Json:
    """Rename an incoming lead (`uid`, `name`)."""
    held, lead = _waiting(world, arguments)
    changes.update(world.state, lead, {"name": arguments.text("name", "From the site, again")}, by=ROBOT)
    told = incoming.unsorted_updated(world.state, held, lead)
    world.announce([notice("unsorted", "update", told, "update_unsorted")])
    return {"uid": held["uid"], "lead_id": lead.id}


@command("unsorted.accept")
def accept_unsorted(world: World, arguments: Arguments) -> Json:
    """Take an incoming lead (`uid`) into the first stage."""
    held, _ = _waiting(world, arguments)
    world.announce(unsorted.accept(world.state, held, by=OWNER))
    return {"uid": held["uid"], "lead_id": held["lead_id"]}


@command("unsorted.decline")
def decline_unsorted(world: World, arguments: Arguments) -> Json:
    """Refuse an incoming lead (`uid`)."""
    held, _ = _waiting(world, arguments)
    world.announce(unsorted.decline(world.state, held, by=OWNER))
    return {"uid": held["uid"], "lead_id": held["lead_id"]}


def _waiting(world: World, arguments: Arguments) -> tuple[Json, Record]:
    held = world.state.unsorted.get(arguments.text("uid"))
    if held is None:
        raise not_found("Incoming lead")
    return held, world.state.records["leads"][held["lead_id"]]


@command("catalog_element.create")
def create_element(world: World, arguments: Arguments) -> Json:
    """Add an element to a list (`catalog_id`), with custom fields as the API takes them."""
    catalog_id = arguments.optional_number("catalog_id") or PRODUCTS
    item = _element_item(world, catalog_id, {"name": "Bell", **arguments.fields()})
    held, notices = elements.create(world.state, catalog_id, item, by=OWNER)
    world.announce(notices)
    return {"id": held["id"]}


@command("catalog_element.update")
def update_element(world: World, arguments: Arguments) -> Json:
    """Rename an element."""
    held = _element(world, arguments)
    item = _element_item(world, held["catalog_id"], arguments.fields())
    world.announce(elements.change(world.state, held, item, by=OWNER))
    return {"id": held["id"]}


@command("catalog_element.delete")
def delete_element(world: World, arguments: Arguments) -> Json:
    """Delete an element."""
    held = _element(world, arguments)
    world.announce(elements.delete(world.state, held))
    return {"id": held["id"]}


def _element_item(world: World, catalog_id: int, item: Json) -> Json:
    check([item], lambda one: elements.faults(world.state, catalog_id, one))
    return item


def _element(world: World, arguments: Arguments) -> Json:
    held = world.state.catalog_elements.get(arguments.number("id"))
    if held is None:
        raise not_found("Element")
    return held


_PIPELINE_ACTIONS = ("status", "mail_in", "call_in", "chat", "site_visit")


@command("pipeline.hook")
def pipeline_hook(world: World, arguments: Arguments) -> Json:
    """Send a Digital Pipeline hook of a lead (`id`) to a `url`.

    `action` is status, mail_in, call_in, chat or site_visit; `format=widget` sends the JSON that the step of
    a widget is sent.
    """
    lead, url, action = record(world, "leads", arguments), arguments.text("url"), arguments.text("action", "status")
    if not is_address(url) or action not in _PIPELINE_ACTIONS:
        raise ApiError(400, "url has to be an address, action one of " + ", ".join(_PIPELINE_ACTIONS))
    if arguments.text("format") == "widget":
        body, content_type = json.dumps(crm.widget_hook(world.state, lead)).encode(), "application/json"
    else:
        old = _former_stage(lead) if action == "status" else None
        body, content_type = encode(crm.pipeline_hook(world.state, action, lead, old)), CONTENT_TYPE
    sent = world.sender.send(url, body, kind=f"pipeline.{action}", ladder=PIPELINE_LADDER, content_type=content_type)
    return {"id": lead.id, "deliveries": [sent.id]}


def _former_stage(lead: Record) -> tuple[int, int] | None:
    return (lead.fields["pipeline_id"], lead.last_status_id) if lead.last_status_id else None
