"""Send changes at once: one by one, or many to a request with every answer given back to what asked for it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kommo.api.bounds import BATCH_ADVISED, check_batch, portions
from kommo.api.entities import Reference
from kommo.api.pages import Json, Send, embedded
from kommo.api.writes import Change, collection_of, element_of, request_of, result_of
from kommo.errors import KommoError, RequestError, ServerError


class Writer:
    """Sends changes at once."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def create(self, change: Change) -> Json:
        """Return the created object; raises ServerError when the answer brings no id, as the work may be done."""
        method, path, body = request_of(change)
        return with_id(result_of(change, self._send(method, path, None, body)), method, path)

    def update(self, change: Change) -> Json:
        """Return what Kommo says of the updated object; it may be little."""
        method, path, body = request_of(change)
        return result_of(change, self._send(method, path, None, body))

    def many(self, changes: Sequence[Change], batch: int = BATCH_ADVISED) -> list[Json]:
        """Send changes of one resource and one kind, `batch` to a request; return the answers in their order.

        When a later request fails, a note of its error names the ids that were done before.
        """
        check_batch(batch)
        placed: dict[tuple[Literal["POST", "PATCH"], str], list[int]] = {}
        items = [_element(change) for change in changes]
        for position, change in enumerate(changes):
            method: Literal["POST", "PATCH"] = "POST" if change.action == "create" else "PATCH"
            placed.setdefault((method, collection_of(change)), []).append(position)
        answers: dict[int, Json] = {}
        for (method, path), positions in placed.items():
            part = [items[position] for position in positions]
            found = send_many(self._send, method, path, changes[0].resource, part, batch)
            answers.update(zip(positions, found, strict=True))
        return [answers[position] for position in range(len(changes))]


def _element(change: Change) -> Json:
    """What stands for a change in an array; what waits for others is refused before anything is sent."""
    request_of(change)
    return element_of(change)


def send_many(
    send: Send,
    method: Literal["POST", "PATCH"],
    path: str,
    resource: str,
    items: Sequence[Json],
    batch: int = BATCH_ADVISED,
) -> list[Json]:
    """Send items, `batch` to a request, each with a `request_id`; return Kommo's answers in the order of the items.

    Raises RequestError for two with one request id, and ServerError when a created item is not answered: it may be
    there. When a later request fails, a note of its error names the ids that were done before.
    """
    named = [{**item, "request_id": str(item.get("request_id", place))} for place, item in enumerate(items)]
    if len({item["request_id"] for item in named}) < len(named):
        raise RequestError("every request_id= may be given once")
    done: list[Json] = []
    for portion in portions(len(named), batch):
        try:
            done += _send_portion(send, method, path, resource, named[portion])
        except KommoError as error:
            if done:
                ids = ", ".join(str(item.get("id")) for item in done)
                error.add_note(f"{len(done)} of {len(named)} were done before this: {ids}")
            raise
    return done


def _send_portion(send: Send, method: str, path: str, resource: str, items: Sequence[Json]) -> list[Json]:
    answered = embedded(send(method, path, None, [*items]), resource, path)
    by_request = {str(item["request_id"]): item for item in answered if "request_id" in item}
    if method == "PATCH":
        by_id = {item.get("id"): item for item in answered}
        return [by_id.get(item["id"]) or by_request.get(item["request_id"]) or {"id": item["id"]} for item in items]
    return [with_id(by_request.get(item["request_id"]), method, path) for item in items]


def with_id(created: Mapping[str, Any] | None, method: str, path: str) -> Json:
    """Return a created object; raises ServerError when the answer brings no id for it, as the work may be done."""
    if created is None or not isinstance(created.get("id"), int):
        raise ServerError("the answer brings no id", method=method, path=path)
    return dict(created)


def unreferenced(value: object) -> None:
    """Raise RequestError for a reference in what is sent at once: its write waits until the handler is done."""
    if isinstance(value, Reference):
        raise RequestError("what is sent now cannot use a reference from kommo.later; use kommo.later here as well")
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            unreferenced(item)
