"""Changes of leads, contacts, companies, customers and tasks, each with what the account tells about it.

The functions expect checked input and the lock of the state. Each also writes the events down.
"""

from sandbox import history, telling
from sandbox.assigning import assign
from sandbox.notices import Notice
from sandbox.state import Json, Record, State

_DEFAULTS: dict[str, Json] = {
    "leads": {
        "name": "",
        "price": 0,
        "group_id": 0,
        "loss_reason_id": None,
        "closed_at": None,
        "closest_task_at": None,
        "score": None,
        "labor_cost": None,
        "is_price_computed": False,
    },
    "contacts": {
        "name": "",
        "first_name": "",
        "last_name": "",
        "group_id": 0,
        "closest_task_at": None,
        "is_unsorted": False,
    },
    "companies": {"name": "", "group_id": 0, "closest_task_at": None},
    "customers": {
        "name": "",
        "next_price": 0,
        "next_date": None,
        "group_id": 0,
        "status_id": 0,
        "periodicity": 0,
        "closest_task_at": None,
        "ltv": 0,
        "purchases_count": 0,
        "average_check": 0,
    },
    "tasks": {
        "group_id": 0,
        "entity_id": None,
        "entity_type": None,
        "duration": 0,
        "is_completed": False,
        "task_type_id": 1,
        "result": None,
    },
}


def create(state: State, kind: str, item: Json, *, by: int) -> tuple[Record, list[Notice]]:
    """Add an entity in somebody's name."""
    record = _new(state, kind, by)
    assign(state, record, item)
    state.records[kind][record.id] = record
    history.added(state, record)
    return record, telling.added(state, record)


def _new(state: State, kind: str, by: int) -> Record:
    now = state.now()
    fields = {"created_by": by, "updated_by": by, "created_at": now, "updated_at": now, "responsible_user_id": by}
    deleted = {} if kind == "tasks" else {"is_deleted": False}
    return Record(kind, state.next_id(kind), {**_DEFAULTS[kind], **fields, **deleted})


def update(state: State, record: Record, item: Json, *, by: int) -> list[Notice]:
    """Change the given fields of an entity and nothing else."""
    before, former = dict(record.fields), list(record.custom)
    record.fields.update(updated_by=by, updated_at=state.now())
    assign(state, record, item)
    history.updated(state, record, before, former)
    return telling.updated(state, record, before, item)


def delete(state: State, record: Record, *, by: int) -> list[Notice]:
    """Put an entity into the bin; a deleted task is gone."""
    if record.kind == "tasks":
        del state.records["tasks"][record.id]
    record.fields.update(is_deleted=True, updated_by=by, updated_at=state.now())
    history.happened(state, record, "deleted")
    return telling.deleted(record)


def restore(state: State, record: Record, *, by: int) -> list[Notice]:
    """Take an entity out of the bin."""
    record.fields.update(is_deleted=False, updated_by=by, updated_at=state.now())
    history.happened(state, record, "restored")
    return telling.restored(state, record)


def touch(state: State, record: Record, *, by: int) -> list[Notice]:
    """Tell of an entity whose links have changed."""
    return update(state, record, {}, by=by)
