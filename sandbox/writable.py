"""The plain fields that a request may set, with their types."""

from collections.abc import Iterator

from sandbox.problems import Fault, wrong_type
from sandbox.state import Json

#: Characters of a name; undocumented, but the service's columns end there.
NAME_LIMIT = 255

_TIMES = {"created_at": int, "updated_at": int, "created_by": int, "updated_by": int}
_COMMON: dict[str, type] = {"name": str, "responsible_user_id": int, **_TIMES}

#: The plain fields that a request may set.
WRITABLE: dict[str, dict[str, type]] = {
    "leads": {
        **_COMMON,
        "price": int,
        "status_id": int,
        "pipeline_id": int,
        "loss_reason_id": int,
        "closed_at": int,
    },
    "contacts": {**_COMMON, "first_name": str, "last_name": str},
    "companies": _COMMON,
    "customers": {**_COMMON, "next_price": int, "next_date": int, "periodicity": int, "status_id": int},
    "tasks": {
        "responsible_user_id": int,
        **_TIMES,
        "entity_id": int,
        "entity_type": str,
        "is_completed": bool,
        "task_type_id": int,
        "text": str,
        "duration": int,
        "complete_till": int,
    },
}
_TYPE_NAMES = {int: "int", str: "string", bool: "bool"}


def type_faults(kind: str, item: Json) -> Iterator[Fault]:
    """Yield what has another type than it should."""
    for name, wanted in WRITABLE[kind].items():
        value = item.get(name)
        fits = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
        if value is not None and not fits:
            yield wrong_type(name, _TYPE_NAMES[wanted])
