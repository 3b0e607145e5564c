"""Tasks and notes: what hangs on a lead, a contact, a company or a customer.

Nothing is sent here; only the name of a user costs a look at the account's metadata, which is remembered.
Bodies: https://developers.kommo.com/reference (tasks, notes).
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic

from kommo.api.bounds import check_note
from kommo.api.constants import NoteType, TaskType, likely_word, meant
from kommo.api.entities import PLURALS, Entity, Reference, checked_id, parent_of
from kommo.api.protocol import unix_seconds
from kommo.api.resources.asking import Created, Updated, check_names, update_of
from kommo.api.resources.names import Names
from kommo.api.values import to_json
from kommo.api.writes import Change
from kommo.errors import RequestError

#: Names of the task types that every account has; others are given by their id.
TASK_TYPES: Final = {member.name.lower(): member.value for member in TaskType}

Clock = Callable[[], datetime]


def now() -> datetime:
    """The present moment, aware."""
    return datetime.now(UTC)


class Tasks(Generic[Created, Updated]):
    """Create and update tasks."""

    def __init__(
        self,
        create: Callable[[Change], Created],
        update: Callable[[Change], Updated],
        clock: Clock = now,
        names: Names | None = None,
    ) -> None:
        self._do_create = create
        self._do_update = update
        self._clock = clock
        self._names = names or Names()

    def create(
        self,
        *,
        text: str = "",
        entity: object = None,
        due_in: timedelta | None = None,
        due_at: datetime | None = None,
        task_type: str | int = "follow_up",
        responsible_user_id: int | None = None,
        **values: Any,
    ) -> Created:
        """Create a task that is due in a while or at an aware moment, on an entity or on none; raises RequestError.

        Without `responsible_user_id` or `responsible=` (a name or an e-mail) Kommo gives it to the owner of the token.
        """
        if responsible_user_id is not None:
            values["responsible_user_id"] = checked_id(responsible_user_id, "user")
        body = {
            "text": _text(text, "a task"),
            "complete_till": _due(due_in, due_at, self._clock()),
            "task_type_id": _task_type(task_type),
            **self._task_values(values),
        }
        parent = None if entity is None else parent_of(entity)
        if parent:
            body["entity_id"] = to_json(parent.id, "entity")
            body["entity_type"] = PLURALS[parent.kind]
        chain = parent.chain if parent else ""
        return self._do_create(Change(resource="tasks", action="create", body=body, chain=chain))

    def update(
        self,
        id_: int | Reference,
        /,
        *,
        text: str | None = None,
        due_in: timedelta | None = None,
        due_at: datetime | None = None,
        task_type: str | int | None = None,
        **values: Any,
    ) -> Updated:
        """Change only what is given; `is_completed=True, result="Called"` completes a task. Raises RequestError."""
        if "entity" in values:
            raise RequestError("entity= is for create: a task stays where it is")
        task = Entity("task", checked_id(id_, "task"))
        body = self._task_values(values)
        if text is not None:
            body["text"] = _text(text, "a task")
        if due_in is not None or due_at is not None:
            body["complete_till"] = _due(due_in, due_at, self._clock())
        if task_type is not None:
            body["task_type_id"] = _task_type(task_type)
        return self._do_update(update_of("tasks", task, body))

    def _task_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        check_names("tasks", values)
        body = {name: to_json(value, name) for name, value in self._names.ids(values).items()}
        if isinstance(body.get("result"), str):
            body["result"] = {"text": body["result"]}
        return body


def _text(text: object, of_what: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise RequestError(f"{of_what} needs text=, and it may not be empty")
    return text


def _due(due_in: object, due_at: object, asked_at: datetime) -> int:
    if (due_in is None) == (due_at is None):
        raise RequestError("a task needs due_in=timedelta(...) or due_at=datetime, one of the two")
    if due_in is not None and (not isinstance(due_in, timedelta) or due_in < timedelta(0)):
        raise RequestError(f"due_in= is a timedelta from now on, not {due_in!r}")
    if due_at is not None and not isinstance(due_at, datetime):
        raise RequestError(f"due_at= is an aware datetime, not {due_at!r}")
    if isinstance(due_at, datetime):
        return unix_seconds(due_at, "due_at")
    return unix_seconds(asked_at + due_in, "due_in") if isinstance(due_in, timedelta) else 0


def _task_type(task_type: object) -> int:
    if isinstance(task_type, str) and task_type in TASK_TYPES:
        return TASK_TYPES[task_type]
    if isinstance(task_type, int) and not isinstance(task_type, bool) and task_type > 0:
        return int(task_type)
    hint = meant(str(task_type), TASK_TYPES)
    raise RequestError(f"task_type= is one of {', '.join(TASK_TYPES)} or a type's id, not {task_type!r}{hint}")


class Notes(Generic[Created, Updated]):
    """Create and update notes."""

    def __init__(self, create: Callable[[Change], Created], update: Callable[[Change], Updated]) -> None:
        self._do_create = create
        self._do_update = update

    def create(
        self,
        *,
        entity: object = None,
        text: str | None = None,
        note_type: str = "common",
        params: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> Created:
        """Put a note on an entity: `text`, or the `params` of another note type. Raises RequestError."""
        check_names("notes", values)
        parent = _parent_of_note(entity)
        body = _note_body(text, note_type, params, values)
        change = Change(resource="notes", action="create", body=body, entity=parent, chain=parent.chain)
        return self._do_create(change)

    def update(
        self,
        entity: object,
        id_: int | Reference,
        /,
        *,
        text: str | None = None,
        note_type: str = "common",
        params: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> Updated:
        """Change a note of an entity; Kommo wants its type again with the text. Raises RequestError."""
        check_names("notes", values)
        parent, note = _parent_of_note(entity), checked_id(id_, "note")
        body = _note_body(text, note_type, params, values)
        return self._do_update(update_of("notes", parent, body, item=note))


def _parent_of_note(entity: object) -> Entity:
    if entity is None:
        raise RequestError("a note needs entity=: the event, or a pair such as ('lead', 123)")
    return parent_of(entity)


def _note_body(text: object, note_type: str, params: object, values: Mapping[str, Any]) -> dict[str, Any]:
    if params is not None and not isinstance(params, Mapping):
        raise RequestError(f"params= is a dict, not {params!r:.80}")
    content = dict(to_json(params or {}, "params"))
    if text is not None or not content:
        content["text"] = _text(text, "a note")
    check_note(content.get("text"))
    others = {name: to_json(value, name) for name, value in values.items()}
    return {"note_type": likely_word(NoteType, note_type, "note_type"), "params": content, **others}
