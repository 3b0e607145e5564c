"""Commands for leads, contacts, companies, tasks and notes."""

from sandbox import changes, noting
from sandbox.control.arguments import Arguments
from sandbox.control.commands import command, record
from sandbox.directory import OWNER
from sandbox.note_rules import note_faults
from sandbox.state import SINGULAR, Json, Record
from sandbox.validation import check, creation_faults, update_faults
from sandbox.world import World

_NUMBERS = (
    "price",
    "status_id",
    "pipeline_id",
    "responsible_user_id",
    "loss_reason_id",
    "entity_id",
    "complete_till",
    "task_type_id",
)
#: Seconds until a task is due that was created without a time.
_DUE = 24 * 3600


def _create(world: World, kind: str, item: Json) -> Json:
    check([item], lambda one: creation_faults(world.state, kind, one))
    made, notices = changes.create(world.state, kind, item, by=OWNER)
    world.announce(notices)
    return {"id": made.id}


def _update(world: World, target: Record, item: Json) -> Json:
    check([{**item, "id": target.id}], lambda one: update_faults(world.state, target.kind, one))
    world.announce(changes.update(world.state, target, item, by=OWNER))
    return {"id": target.id}


def _register(kind: str, name: str) -> None:
    """Make the four commands that every kind has; a task that is deleted does not come back."""

    @command(f"{name}.create")
    def create(world: World, arguments: Arguments) -> Json:
        return _create(world, kind, _fields(world, kind, arguments))

    @command(f"{name}.update")
    def update(world: World, arguments: Arguments) -> Json:
        return _update(world, record(world, kind, arguments), arguments.fields(*_NUMBERS))

    @command(f"{name}.delete")
    def delete(world: World, arguments: Arguments) -> Json:
        gone = record(world, kind, arguments)
        world.announce(changes.delete(world.state, gone, by=OWNER))
        return {"id": gone.id}

    if kind != "tasks":

        @command(f"{name}.restore")
        def restore(world: World, arguments: Arguments) -> Json:
            back = record(world, kind, arguments, deleted=True)
            world.announce(changes.restore(world.state, back, by=OWNER))
            return {"id": back.id}


for _kind, _name in SINGULAR.items():
    _register(_kind, _name)


def _fields(world: World, kind: str, arguments: Arguments) -> Json:
    fields = arguments.fields(*_NUMBERS)
    if kind == "tasks":
        target = {"entity_type": "leads"} if "entity_id" in fields else {}
        fields = {"text": "Call back", "complete_till": world.state.now() + _DUE, **target, **fields}
    return fields


@command("lead.move")
def move_lead(world: World, arguments: Arguments) -> Json:
    """Set the stage of a lead, in another pipeline if `pipeline_id` is given."""
    return _update(world, record(world, "leads", arguments), arguments.fields(*_NUMBERS))


@command("task.complete")
def complete_task(world: World, arguments: Arguments) -> Json:
    """Complete a task, with a result if `text` is given."""
    result = {"result": {"text": arguments.text("text")}} if arguments.text("text") else {}
    return _update(world, record(world, "tasks", arguments), {"is_completed": True, **result})


@command("note.add")
def add_note(world: World, arguments: Arguments) -> Json:
    """Write a note on an entity: `entity_type`, `entity_id`, `text`; with `attachment` it is a file."""
    kind = arguments.text("entity_type", "leads")
    attachment = arguments.text("attachment")
    note_type = arguments.text("note_type", "attachment" if attachment else "common")
    params = {"text": arguments.text("text", attachment or "A note"), **_attached(attachment)}
    item = {"entity_id": arguments.number("entity_id"), "note_type": note_type, "params": params}
    check([item], lambda one: note_faults(world.state, kind, one))
    note, notices = noting.add(world.state, kind, item, by=OWNER)
    world.announce(notices)
    return {"id": note["id"]}


def _attached(name: str) -> Json:
    return {"attachment": f"drive/sandbox/{name}"} if name else {}
