"""The resources of an account, read and written at once: https://developers.kommo.com/reference."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kommo.api.activities import Clock, Notes, Tasks, now
from kommo.api.asking import Entities
from kommo.api.entities import PLURALS, Reference, checked_id, parent_of
from kommo.api.pages import PAGE_LIMIT, Json, Pages, Send, Writer, embedded, joined, list_params, not_found
from kommo.api.writes import API
from kommo.errors import RequestError


class EntitiesNow(Entities[Json, Json]):
    """Leads, contacts or companies."""

    def __init__(self, send: Send, resource: str) -> None:
        writer = Writer(send)
        super().__init__(resource, writer.create, writer.update)
        self._pages = Pages(send, resource)
        self._path = f"{API}/{resource}"

    def get(self, id_: int, /, *, with_: str | Sequence[str] | None = None) -> Json:
        """Return one entity; raises NotFound when Kommo knows none of this id."""
        path = f"{self._path}/{sent_id(id_, self._kind)}"
        return self._pages.one(path, f"{self._kind} {id_}", {"with": joined(with_)})

    def list(
        self,
        *,
        page_size: int = PAGE_LIMIT,
        with_: str | Sequence[str] | None = None,
        query: str | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - the API's own name
        order: Mapping[str, str] | None = None,
        **others: Any,
    ) -> Iterator[Json]:
        """Walk lazily through all entities, `page_size` (1-250) a call, nested filters as dicts."""
        return self._pages.all(self._path, list_params(page_size, with_, query, filter, order, others))


class TasksNow(Tasks[Json, Json]):
    """Tasks."""

    def __init__(self, send: Send, clock: Clock = now) -> None:
        writer = Writer(send)
        super().__init__(writer.create, writer.update, clock)
        self._pages = Pages(send, "tasks")
        self._path = f"{API}/tasks"

    def get(self, id_: int, /, *, with_: str | Sequence[str] | None = None) -> Json:
        """Return one task; raises NotFound. The reference has no GET by id, so this is a list of one."""
        wanted = {"filter": {"id": [sent_id(id_, "task")]}, "limit": 1, "with": joined(with_)}
        found = next((task for task in self._pages.all(self._path, wanted) if task.get("id") == id_), None)
        if found is None:
            raise not_found(self._path, f"task {id_}")
        return found

    def list(
        self,
        *,
        page_size: int = PAGE_LIMIT,
        with_: str | Sequence[str] | None = None,
        query: str | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - the API's own name
        order: Mapping[str, str] | None = None,
        **others: Any,
    ) -> Iterator[Json]:
        """Walk lazily through all tasks, `page_size` (1-250) a call, nested filters as dicts."""
        return self._pages.all(self._path, list_params(page_size, with_, query, filter, order, others))


class NotesNow(Notes[Json, Json]):
    """Notes of an entity."""

    def __init__(self, send: Send) -> None:
        writer = Writer(send)
        super().__init__(writer.create, writer.update)
        self._pages = Pages(send, "notes")

    def get(self, entity: object, id_: int, /) -> Json:
        """Return one note of an entity; raises NotFound."""
        return self._pages.one(f"{_notes_path(entity)}/{sent_id(id_, 'note')}", f"note {id_}")

    def list(
        self,
        *,
        entity: object,
        page_size: int = PAGE_LIMIT,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - the API's own name
        order: Mapping[str, str] | None = None,
        **others: Any,
    ) -> Iterator[Json]:
        """Walk lazily through the notes of an entity."""
        return self._pages.all(_notes_path(entity), list_params(page_size, None, None, filter, order, others))


def _notes_path(entity: object) -> str:
    parent = parent_of(entity)
    return f"{API}/{PLURALS[parent.kind]}/{sent_id(parent.id, parent.kind)}/notes"


def sent_id(value: object, what: str) -> int:
    """Return an id that can be sent now; raises RequestError for a reference, whose write waits."""
    id_ = checked_id(value, what)
    if isinstance(id_, Reference):
        raise RequestError(f"this {what} is not there yet: its write is sent after the handler")
    return id_


class Webhooks:
    """The account's webhooks, for administrators: https://developers.kommo.com/docs/webhooks-general"""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._path = f"{API}/webhooks"

    def list(self, destination: str | None = None) -> Sequence[Json]:
        """Return all webhooks, or the one with this destination; Kommo gives no pages here."""
        params = {"filter": {"destination": destination}} if destination else None
        return embedded(self._send("GET", self._path, params, None), "webhooks", self._path)

    def register(self, destination: str, settings: Sequence[str], sort: int | None = None) -> Json:
        """Subscribe a URL to events such as `add_lead`; a URL that is known already is changed."""
        if isinstance(settings, str) or not settings:
            raise RequestError("settings= is a list of event names such as ['add_lead'], and not empty")
        body: Json = {"destination": _destination(destination), "settings": [*settings]}
        if sort is not None:
            body["sort"] = sort
        answer = self._send("POST", self._path, None, body)
        return dict(answer) if isinstance(answer, Mapping) else {}

    def remove(self, destination: str) -> None:
        """Unsubscribe a URL. It goes in the body of the DELETE: there is none by id. Raises NotFound."""
        self._send("DELETE", self._path, None, {"destination": _destination(destination)})


def _destination(url: object) -> str:
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise RequestError("destination= is the full URL that Kommo will call")
    return url
