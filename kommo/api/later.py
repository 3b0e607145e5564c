"""`kommo.later`: writes that a handler asks for, recorded in order and sent once the handler has succeeded.

Sends nothing: whoever runs the handler stores `Later.writes` together with the end of the step.
"""

import hashlib
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Final

from kommo.api.entities import Reference
from kommo.api.resources.activities import Clock, Notes, Tasks, now
from kommo.api.resources.asking import Entities
from kommo.api.resources.names import Names
from kommo.api.writes import Change, Write

#: Hexadecimal digits of a write's id.
ID_DIGITS: Final = 24

_KINDS: Final = {
    "leads": "lead",
    "contacts": "contact",
    "companies": "company",
    "tasks": "task",
    "notes": "note",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One handler on one event: who asks, and why. `replay` names the replay that runs it again, if one does."""

    account_id: int
    event_id: str
    handler: str
    delivery_id: str = ""
    replay: str = ""


class Later:
    """The writes of one step. Each `create` returns a reference that later writes of the step may use."""

    def __init__(self, step: Step, *, clock: Clock = now) -> None:
        self._step = step
        self._clock = clock
        self._writes: list[Write] = []
        #: A Client teaches it the account's names; until then only ids and codes are taken.
        self.names = Names()

    @cached_property
    def leads(self) -> Entities[Reference, None]:
        return self._entities("leads")

    @cached_property
    def contacts(self) -> Entities[Reference, None]:
        return self._entities("contacts")

    @cached_property
    def companies(self) -> Entities[Reference, None]:
        return self._entities("companies")

    @cached_property
    def tasks(self) -> Tasks[Reference, None]:
        return Tasks(self._create, self._update, self._clock, self.names)

    @cached_property
    def notes(self) -> Notes[Reference, None]:
        return Notes(self._create, self._update)

    @property
    def writes(self) -> tuple[Write, ...]:
        """What was asked for so far, in order."""
        return tuple(self._writes)

    def _entities(self, resource: str) -> Entities[Reference, None]:
        return Entities(resource, self._create, self._update, self.names)

    def _create(self, change: Change) -> Reference:
        write = self._record(change)
        return Reference(write.id, kind=_KINDS[change.resource], chain=write.chain)

    def _update(self, change: Change) -> None:
        self._record(change)

    def _record(self, change: Change) -> Write:
        id_ = write_id(self._step, len(self._writes))
        placed = replace(change, chain=change.chain or f"new:{id_}")
        write = Write(
            **{field.name: getattr(placed, field.name) for field in fields(placed)},
            id=id_,
            account_id=self._step.account_id,
            delivery_id=self._step.delivery_id,
            event_id=self._step.event_id,
            handler=self._step.handler,
            asked_at=self._clock(),
        )
        self._writes.append(write)
        return write


def write_id(step: Step, position: int) -> str:
    """Name a write by what asked for it and its place among the step's writes, so that a repeated step repeats it.

    A replay asks for other writes than those of the first time, whose results must not be taken for its own.
    """
    parts = (str(step.account_id), step.event_id, step.handler, str(position), *([step.replay] if step.replay else []))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:ID_DIGITS]
