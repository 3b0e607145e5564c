"""What has happened: the account's events, to be read, and phone calls, to be put into cards.

https://developers.kommo.com/reference (events, calls)
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from kommo.api.bounds import BATCH_ADVISED, EVENT_IDS_LIMIT, EVENTS_PAGE, PAGE_LIMIT, check_batch, portions
from kommo.api.pages import Json, PageSizes, Send, embedded, joined
from kommo.api.resources.records import Collection, Lists, listed_once
from kommo.api.writes import API
from kommo.errors import NotFound, RequestError

#: Filters of events that take ten values at most.
_FEW: Final = frozenset({"entity_id", "created_by"})

_DIRECTIONS: Final = ("inbound", "outbound")


class Events(Lists):
    """The events of the account, deletions among them, which no other list shows."""

    _sizes = PageSizes(EVENTS_PAGE, PAGE_LIMIT)

    def __init__(self, send: Send) -> None:
        super().__init__(send, f"{API}/events", "events", "event")

    def get(self, id_: str, /, *, with_: str | Sequence[str] | None = None) -> Json:
        """Return one event; its id is a text. Raises NotFound."""
        if not isinstance(id_, str) or not id_.isalnum():
            raise RequestError(f"the id of an event is a text of letters and digits, not {id_!r:.80}")
        return self._pages.one(f"{self._path}/{id_}", f"event {id_}", {"with": joined(with_)})

    def types(self) -> Sequence[Json]:
        """Return the types of events that there are: {"key", "type", "lang"}."""
        return listed_once(self._send, f"{self._path}/types", "events_types")

    def _filter(self, given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Several values go as one text with commas; ten ids at most, and those of one kind of entity."""
        if given is None:
            return None
        for name in _FEW & given.keys():
            if isinstance(given[name], (list, tuple)) and len(given[name]) > EVENT_IDS_LIMIT:
                raise RequestError(f"filter: {EVENT_IDS_LIMIT} values of {name} at most, not {len(given[name])}")
        if "entity_id" in given and "entity" not in given:
            raise RequestError('filter: entity_id needs the entity that it is of, such as "entity": "lead"')
        return {name: _commas(value) for name, value in given.items()}


def _commas(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value


class Calls(Collection):
    """Phone calls. Kommo looks for the contact or company with the number and puts the call into its card."""

    def __init__(self, send: Send) -> None:
        super().__init__(send, f"{API}/calls", "calls", "call")

    def create(self, **values: Any) -> Json:
        """Add a call: `direction` inbound or outbound, `phone`, `duration` in seconds, `source`, and Kommo's others.

        Raises NotFound when nobody has this number: the call is not kept then.
        """
        return self.create_many([values])[0]

    def create_many(self, items: Sequence[Mapping[str, Any]], *, batch: int = BATCH_ADVISED) -> Sequence[Json]:
        """Add calls, `batch` to a request; raises NotFound, once all are sent, naming those whose number nobody has."""
        check_batch(batch)
        bodies = [{**self._body(item, "create"), "request_id": str(place)} for place, item in enumerate(items)]
        answers = [self._send("POST", self._path, None, bodies[portion]) for portion in portions(len(bodies), batch)]
        placed = [call for answer in answers for call in embedded(answer, "calls", self._path)]
        by_request = {str(call.get("request_id")): call for call in placed}
        lost = [place for place in range(len(bodies)) if str(place) not in by_request]
        if lost:
            numbers = ", ".join(str(place + 1) for place in lost)
            raise NotFound(f"nobody has the phone number of call {numbers}", method="POST", path=self._path)
        return [by_request[str(place)] for place in range(len(bodies))]

    def _body(self, values: Mapping[str, Any], action: Literal["create", "update"]) -> Json:
        missing = [name for name in ("direction", "phone", "duration", "source") if not _given(values.get(name))]
        if missing:
            raise RequestError(f"a call needs {', '.join(f'{name}=' for name in missing)}")
        if values["direction"] not in _DIRECTIONS:
            raise RequestError(f"direction= is {' or '.join(_DIRECTIONS)}, not {values['direction']!r:.80}")
        return super()._body(values, action)


def _given(value: object) -> bool:
    """A duration of 0 is one."""
    return value is not None and value != ""
