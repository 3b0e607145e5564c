"""The call that a write is, for people: what it refers to need not be there yet."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kommo.api.entities import Entity, Id, Reference
from kommo.api.values import PENDING
from kommo.api.writes import Change, request_of


@dataclass(frozen=True, slots=True)
class AskedCall:
    """Method, path and JSON body; the id that another write will bring is `<id of WRITE>`."""

    method: str
    path: str
    body: Any


def call_of(change: Change) -> AskedCall:
    """Say what a change would send by itself; raises RequestError for one that could not be sent."""
    numbered = replace(
        change,
        entity=change.entity and Entity(change.entity.kind, _number(change.entity.id)),
        item=None if change.item is None else _number(change.item),
        body=_named(change.body),
    )
    method, path, body = request_of(numbered)
    for id_ in (change.entity.id if change.entity else None, change.item):
        if isinstance(id_, Reference):
            path = path.replace("/0", f"/{_name(id_.write_id)}", 1)
    return AskedCall(method, path, body)


def _number(id_: Id) -> int:
    """No entity has the id 0, so that it may stand for one that is not there yet."""
    return 0 if isinstance(id_, Reference) else id_


def _named(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {PENDING}:
            return _name(value[PENDING])
        return {key: _named(item) for key, item in value.items()}
    return [_named(item) for item in value] if isinstance(value, list) else value


def _name(write_id: str) -> str:
    return f"<id of {write_id}>"
