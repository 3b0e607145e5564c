"""Leads, contacts, companies, customers, tasks and notes, read and written at once.

https://developers.kommo.com/reference
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from kommo.api.bounds import BATCH_ADVISED, PAGE_LIMIT, WIDE_PAGE_LIMIT
from kommo.api.constants import EntityType
from kommo.api.entities import PLURALS, parent_of
from kommo.api.pages import Json, Pages, PageSizes, Send, joined, not_found, wanted_of
from kommo.api.resources.activities import Clock, Notes, Tasks
from kommo.api.resources.asking import Entities
from kommo.api.resources.complexes import complex_answers, complex_items
from kommo.api.resources.links import Links
from kommo.api.resources.names import Names
from kommo.api.resources.records import Lists, Reads, sent_id
from kommo.api.resources.writing import Writer, unreferenced
from kommo.api.writes import API, Change

_CARDS: Final = frozenset(word.value for word in EntityType)


def asked(change: Change) -> Change:
    """A change as what it is: what is only asked for, to be sent together with others."""
    return change


class EntitiesNow(Entities[Json, Json], Reads, Links):
    """Leads, contacts, companies or customers."""

    def __init__(self, send: Send, resource: str, kind: str, names: Names) -> None:
        self._writer = Writer(send)
        Entities.__init__(self, resource, self._writer.create, self._writer.update, names)
        Reads.__init__(self, send, f"{API}/{resource}", resource, kind)
        self._asking: Entities[Change, Change] = Entities(resource, asked, asked, names)

    def create_many(self, items: Sequence[Mapping[str, Any]], *, batch: int = BATCH_ADVISED) -> Sequence[Json]:
        """Create entities, each a dict of what `create` takes, `batch` (1-250) to a request.

        Returns what Kommo says of them, in their order. Everything is checked before anything is sent. When a later
        request fails, a note of its error names the ids that were done before.
        """
        return self._writer.many([self._asking.create(**item) for item in items], batch)

    def update_many(self, items: Sequence[Mapping[str, Any]], *, batch: int = BATCH_ADVISED) -> Sequence[Json]:
        """Change entities, each a dict of its `id` and what `update` takes, `batch` (1-250) to a request."""
        return self._writer.many([self._updating(item) for item in items], batch)

    def _updating(self, item: Mapping[str, Any]) -> Change:
        values = {name: value for name, value in item.items() if name != "id"}
        return self._asking.update(sent_id(item.get("id"), self._kind), **values)


class LeadsNow(EntitiesNow):
    """Leads."""

    def __init__(self, send: Send, names: Names) -> None:
        super().__init__(send, "leads", "lead", names)
        self._parts: dict[str, Entities[Change, Change]] = {
            resource: Entities(resource, asked, asked, names) for resource in ("leads", "contacts", "companies")
        }

    def complex(self, leads: Sequence[Mapping[str, Any]]) -> Sequence[Json]:
        """Create up to 50 leads, each with its contact and company, in one request.

        A lead is a dict of what `create` takes, and of `contact=` and `company=`: a dict of what a new one has, or
        {"id": 5} for one that is there. Each of them has at most 40 custom field values. Returns
        {"id", "contact_id", "company_id", "merged"} of each, in their order. Raises RequestError.
        """
        unreferenced(leads)
        items = complex_items(leads, self._part)
        path = f"{self._path}/complex"
        return complex_answers(self._send("POST", path, None, items), items, path) if items else []

    def _part(self, resource: str, values: Mapping[str, Any]) -> Json:
        return dict(self._parts[resource].create(**values).body)


class CustomersNow(EntitiesNow):
    """Customers, where the account has them switched on."""

    _sizes = PageSizes(PAGE_LIMIT, WIDE_PAGE_LIMIT)

    def __init__(self, send: Send, names: Names) -> None:
        super().__init__(send, "customers", "customer", names)


class TasksNow(Tasks[Json, Json], Lists):
    """Tasks."""

    def __init__(self, send: Send, clock: Clock, names: Names) -> None:
        self._writer = Writer(send)
        Tasks.__init__(self, self._writer.create, self._writer.update, clock, names)
        Lists.__init__(self, send, f"{API}/tasks", "tasks", "task")
        self._asking: Tasks[Change, Change] = Tasks(asked, asked, clock, names)

    def get(self, id_: int, /, *, with_: str | Sequence[str] | None = None) -> Json:
        """Return one task; raises NotFound. The reference has no GET by id, so this is a list of one."""
        wanted = {"filter": {"id": [sent_id(id_, "task")]}, "limit": 1, "with": joined(with_)}
        found = next((task for task in self._pages.all(self._path, wanted) if task.get("id") == id_), None)
        if found is None:
            raise not_found(self._path, f"task {id_}")
        return found

    def create_many(self, items: Sequence[Mapping[str, Any]], *, batch: int = BATCH_ADVISED) -> Sequence[Json]:
        """Create tasks, each a dict of what `create` takes, `batch` (1-250) to a request; returns them in order."""
        return self._writer.many([self._asking.create(**item) for item in items], batch)

    def update_many(self, items: Sequence[Mapping[str, Any]], *, batch: int = BATCH_ADVISED) -> Sequence[Json]:
        """Change tasks, each a dict of its `id` and what `update` takes, `batch` (1-250) to a request."""
        return self._writer.many([self._updating(item) for item in items], batch)

    def _updating(self, item: Mapping[str, Any]) -> Change:
        values = {name: value for name, value in item.items() if name != "id"}
        return self._asking.update(sent_id(item.get("id"), "task"), **values)


class NotesNow(Notes[Json, Json]):
    """Notes of an entity, or of all entities of a kind."""

    def __init__(self, send: Send) -> None:
        self._writer = Writer(send)
        super().__init__(self._writer.create, self._writer.update)
        self._pages = Pages(send, "notes")
        self._asking: Notes[Change, Change] = Notes(asked, asked)

    def get(self, entity: object, id_: int, /) -> Json:
        """Return one note of an entity; raises NotFound."""
        return self._pages.one(f"{_notes_path(entity)}/{sent_id(id_, 'note')}", f"note {id_}")

    def create_many(self, items: Sequence[Mapping[str, Any]], *, batch: int = BATCH_ADVISED) -> Sequence[Json]:
        """Create notes, each a dict of what `create` takes, `batch` (1-250) to a request; returns them in order."""
        return self._writer.many([self._asking.create(**item) for item in items], batch)

    def list(
        self,
        *,
        entity: object,
        page: int | None = None,
        limit: int | None = None,
        page_size: int | None = None,
        with_: str | Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - the API's own name
        order: Mapping[str, str] | None = None,
        if_modified_since: datetime | None = None,
        **others: Any,
    ) -> Iterator[Json]:
        """Walk lazily through the notes of an entity, or, of "leads" or "contacts", through those of all of them."""
        wanted = wanted_of(
            PageSizes(),
            page=page,
            limit=limit,
            page_size=page_size,
            with_=with_,
            filter=filter,
            order=order,
            if_modified_since=if_modified_since,
            **others,
        )
        return self._pages.walk(_notes_path(entity), wanted)


def _notes_path(entity: object) -> str:
    """Notes hang on one entity, or are all that a kind of entity has."""
    if isinstance(entity, str) and entity in _CARDS:
        return f"{API}/{entity}/notes"
    parent = parent_of(entity)
    return f"{API}/{PLURALS[parent.kind]}/{sent_id(parent.id, parent.kind)}/notes"
