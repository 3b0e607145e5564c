"""Commands by name: each changes the account as a person would and tells what it changed."""

from collections.abc import Callable

from sandbox.control.arguments import Arguments
from sandbox.problems import ApiError, not_found
from sandbox.state import Json, Record
from sandbox.world import World

#: Does something in the account and returns what to tell of it, `id` first.
Command = Callable[[World, Arguments], Json]

COMMANDS: dict[str, Command] = {}


def command(name: str) -> Callable[[Command], Command]:
    """Make a function a command of that name."""

    def register(function: Command) -> Command:
        COMMANDS[name] = function
        return function

    return register


def run(world: World, name: str, given: Json) -> Json:
    """Run a command under the account's lock; raises ApiError 404 for a name that is none."""
    if name not in COMMANDS:
        raise ApiError(404, f"No command {name}; there are: {', '.join(sorted(COMMANDS))}")
    with world.state.lock:
        return COMMANDS[name](world, Arguments(given))


def run_together(world: World, changes: list[Json]) -> Json:
    """Run several `{command, args}` and tell them in one delivery to each webhook."""
    with world.together() as sent:
        results = [run(world, str(one.get("command")), one.get("args") or {}) for one in changes]
    return {"results": results, "deliveries": [delivery.id for delivery in sent]}


def record(world: World, kind: str, arguments: Arguments, *, deleted: bool = False) -> Record:
    """Return the entity that `id` names; raises ApiError 404."""
    found = world.state.records[kind].get(arguments.number("id"))
    if found is None or found.is_deleted is not deleted:
        raise not_found("Entity")
    return found
