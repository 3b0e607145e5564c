"""What most resources can do, each as a class of its own: list, get, create, update, delete."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from kommo.api.bounds import BATCH_ADVISED, BATCH_LIMIT, check_batch
from kommo.api.entities import Reference, checked_id
from kommo.api.pages import Json, Pages, PageSizes, Send, embedded, joined, wanted_of
from kommo.api.resources.writing import send_many, unreferenced, with_id
from kommo.api.values import to_json
from kommo.errors import RequestError


def sent_id(value: object, what: str) -> int:
    """Return an id that can be sent now; raises RequestError for a reference, whose write waits."""
    id_ = checked_id(value, what)
    if isinstance(id_, Reference):
        raise RequestError(f"this {what} is not there yet: its write is sent after the handler")
    return id_


def listed_once(send: Send, path: str, resource: str, params: Mapping[str, Any] | None = None) -> list[Json]:
    """Return a list that Kommo gives whole, without pages."""
    return embedded(send("GET", path, params, None), resource, path)


def one_of(answer: object, resource: str) -> Json:
    """Return the one object of an answer, whether it came bare, in `_embedded`, or not at all (then empty)."""
    if not isinstance(answer, Mapping):
        return {}
    inner = answer.get("_embedded")
    listed = inner.get(resource) if isinstance(inner, Mapping) else None
    return dict(listed[0] if isinstance(listed, list) and listed else answer)


class Collection:
    """One collection of the API: where it lies, and what its members are called in paths and for people."""

    _sizes = PageSizes()
    #: Members of one writing request at most.
    _batch = BATCH_LIMIT

    def __init__(
        self, send: Send, path: str, resource: str, kind: str, *, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._send = send
        self._path = path
        self._resource = resource
        self._kind = kind
        self._changed = changed
        self._pages = Pages(send, resource)
        #: Members when all were last listed through this object, and what it has done to them since.
        self._seen: int | None = None

    def _member(self, id_: object) -> str:
        return f"{self._path}/{sent_id(id_, self._kind)}"

    def _body(self, values: Mapping[str, Any], action: Literal["create", "update"]) -> Json:
        """Check what is given for one member and make it JSON."""
        if not values:
            raise RequestError(f"{action} names no field of a {self._kind}")
        unreferenced(values)
        return {name: to_json(value, name) for name, value in values.items()}

    def _grow(self, by: int) -> None:
        if self._seen is not None:
            self._seen += by

    def _many(self, method: Literal["POST", "PATCH"], bodies: Sequence[Json], batch: int) -> list[Json]:
        largest = min(batch, self._batch) if batch == BATCH_ADVISED else check_batch(batch, self._batch)
        try:
            return send_many(self._send, method, self._path, self._resource, bodies, largest)
        finally:
            self._changed()


class Lists(Collection):
    """Can be listed."""

    def list(
        self,
        *,
        page: int | None = None,
        limit: int | None = None,
        page_size: int | None = None,
        with_: str | Sequence[str] | None = None,
        query: str | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - the API's own name
        order: Mapping[str, str] | None = None,
        if_modified_since: datetime | None = None,
        **others: Any,
    ) -> Iterator[Json]:
        """Walk lazily through all members, `limit` of them a call, or through those of one page (from 1) alone.

        `page_size` is another word for `limit`. Filters are nested dicts. With `if_modified_since` (aware) an account
        in which nothing has changed answers 304, and nothing comes. What cannot be right raises RequestError here,
        calls raise the ApiError family while they are made.
        """
        wanted = wanted_of(
            self._sizes,
            page=page,
            limit=limit,
            page_size=page_size,
            with_=with_,
            query=query,
            filter=self._filter(filter),
            order=order,
            if_modified_since=if_modified_since,
            **others,
        )
        members = self._pages.walk(self._path, wanted)
        is_part = wanted.one_page or wanted.headers or query or filter or others
        return members if is_part else self._counted(members)

    def _counted(self, members: Iterator[Json]) -> Iterator[Json]:
        count = 0
        for member in members:
            count += 1
            yield member
        self._seen = count

    def _filter(self, given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        return given


class Reads(Lists):
    """Can be listed and read one by one."""

    def get(self, id_: int, /, *, with_: str | Sequence[str] | None = None) -> Json:
        """Return one member; raises NotFound when Kommo knows none of this id."""
        return self._pages.one(self._member(id_), f"{self._kind} {id_}", {"with": joined(with_)})


class Creates(Collection):
    """Can be created."""

    def create(self, **values: Any) -> Json:
        """Create one member, from Kommo's own field names, and return what Kommo says of it."""
        body = self._body(values, "create")
        self._check_room([body])
        try:
            answer = self._send("POST", self._path, None, [body])
        finally:
            self._changed()
        self._grow(1)
        return with_id(one_of(answer, self._resource), "POST", self._path)

    def create_many(self, items: Sequence[Mapping[str, Any]], *, batch: int = BATCH_ADVISED) -> list[Json]:
        """Create members, `batch` to a request; return what Kommo says of them, in their order."""
        bodies = [self._body(item, "create") for item in items]
        self._check_room(bodies)
        made = self._many("POST", bodies, batch)
        self._grow(len(made))
        return made

    def _check_room(self, bodies: Sequence[Json]) -> None:
        """Raise RequestError when there would be more than Kommo takes."""


class Updates(Collection):
    """Can be updated one by one."""

    def update(self, id_: int, /, **values: Any) -> Json:
        """Change only the fields that are given; return what Kommo says of the member."""
        path, body = self._member(id_), self._body(values, "update")
        try:
            answer = self._send("PATCH", path, None, body)
        finally:
            self._changed()
        return one_of(answer, self._resource)


class UpdatesMany(Collection):
    """Can be updated many at once."""

    def update_many(self, items: Sequence[Mapping[str, Any]], *, batch: int = BATCH_ADVISED) -> list[Json]:
        """Change members, each a dict with its `id` and what changes; return what Kommo says, in their order."""
        return self._many("PATCH", [self._change(item) for item in items], batch)

    def _change(self, item: Mapping[str, Any]) -> Json:
        id_ = sent_id(item.get("id"), self._kind)
        return {"id": id_, **self._body({name: value for name, value in item.items() if name != "id"}, "update")}


class Deletes(Collection):
    """Can be deleted."""

    def delete(self, id_: int, /) -> None:
        """Delete one member; raises NotFound."""
        try:
            self._send("DELETE", self._member(id_), None, None)
        finally:
            self._changed()
        self._grow(-1)
