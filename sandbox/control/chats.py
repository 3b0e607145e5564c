"""Commands for messages and talks."""

import uuid

from sandbox import history, talking
from sandbox.control.arguments import Arguments
from sandbox.control.commands import command
from sandbox.directory import OWNER, ROBOT
from sandbox.notices import notice
from sandbox.payloads import chats
from sandbox.problems import ApiError, not_found
from sandbox.state import Json
from sandbox.world import World


@command("message.receive")
def receive(world: World, arguments: Arguments) -> Json:
    """Let a customer write to a lead (`lead_id`); a file (`file`) comes without text unless one is given."""
    author = {
        "id": str(uuid.uuid4()),
        "type": "external",
        "name": arguments.text("author", "A customer"),
        "avatar_url": "https://sandbox.example/avatars/customer.jpg",
    }
    return _write(world, arguments, author=author, incoming=True)


@command("message.send")
def send(world: World, arguments: Arguments) -> Json:
    """Answer a customer. The shape of this delivery is that of an incoming one: no sample is published."""
    owner = world.state.directory.user(OWNER)
    name = owner.name if owner else "Nobody"
    return _write(world, arguments, author={"id": str(OWNER), "type": "internal", "name": name}, incoming=False)


def _write(world: World, arguments: Arguments, *, author: Json, incoming: bool) -> Json:
    talk, opened = _talk_on(world, arguments)
    file_name = arguments.text("file")
    message = {
        "id": str(uuid.uuid4()),
        "text": arguments.text("text", "" if file_name else "Hello") or None,
        "attachment": _attachment(file_name) if file_name else None,
        "created_at": world.state.now(),
        "type": "incoming" if incoming else "outgoing",
        "author": author,
        **{name: talk[name] for name in ("chat_id", "talk_id", "contact_id", "entity_id", "origin")},
    }
    entity, setting = ("message", "add_message") if incoming else ("outgoing_message", "add_outgoing_message")
    by = ROBOT if incoming else OWNER
    event = f"{'incoming' if incoming else 'outgoing'}_chat_message"
    history.write(world.state, "leads", talk["entity_id"], event, by=by, after={"message": {"id": message["id"]}})
    told = notice(entity, "add", chats.message(message), setting)
    started = [notice("talk", "add", chats.talk(talk), "add_talk")] if opened else []
    world.announce([told, *started])
    return {"id": message["id"], "talk_id": talk["talk_id"]}


def _attachment(name: str) -> Json:
    return {"type": "file", "link": f"https://sandbox.example/files/{name}", "file_name": name}


def _talk_on(world: World, arguments: Arguments) -> tuple[Json, bool]:
    """Return the open talk of a lead, and whether it was opened just now."""
    lead = world.state.find("leads", arguments.number("lead_id"))
    if lead is None:
        raise not_found("Lead")
    talks = (talk for talk in world.state.talks.values() if talk["entity_id"] == lead.id and talk["is_in_work"])
    found = next(talks, None)
    if found is not None:
        return found, False
    now = world.state.now()
    talk: Json = {
        "talk_id": world.state.next_id("talks"),
        "created_at": now,
        "updated_at": now,
        "rate": 0,
        "contact_id": lead.contacts[0]["id"] if lead.contacts else 0,
        "chat_id": str(uuid.uuid4()),
        "entity_id": lead.id,
        "is_in_work": True,
        "is_read": False,
        "origin": arguments.text("origin", "telegram"),
    }
    world.state.talks[talk["talk_id"]] = talk
    history.write(world.state, "leads", lead.id, "talk_created", by=ROBOT, after={"talk": {"id": talk["talk_id"]}})
    return talk, True


@command("talk.open")
def open_talk(world: World, arguments: Arguments) -> Json:
    """Open a talk on a lead (`lead_id`) that has no open one."""
    talk, opened = _talk_on(world, arguments)
    if not opened:
        raise ApiError(400, "The lead has an open talk")
    world.announce([notice("talk", "add", chats.talk(talk), "add_talk")])
    return {"id": talk["talk_id"]}


@command("talk.close")
def close_talk(world: World, arguments: Arguments) -> Json:
    """Close a talk."""
    talk = world.state.talks.get(arguments.number("id"))
    if talk is None:
        raise not_found("Talk")
    world.announce(talking.close(world.state, talk, by=OWNER))
    return {"id": talk["talk_id"]}
