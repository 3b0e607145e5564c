"""Ask Kommo what happened in a stretch of time: the journal, and the lists by the time of the last change.

Only what both allow is found: of several changes of an entity its latest state, of a message no text, of what was made
and is gone again its deletion. https://developers.kommo.com/reference (events)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

import structlog

from kommo.api.bounds import EVENTS_PAGE, PAGE_LIMIT
from kommo.api.client import Client
from kommo.api.entities import PLURALS
from kommo.api.writes import API
from kommo.errors import BadRequest, NotFound, Refused
from kommo.hooks.backfill.found import Found
from kommo.hooks.backfill.journal import TYPES, looked_up, told_by, told_by_change, told_by_note

_log = structlog.get_logger(__name__)
_KINDS: Final = ("lead", "contact", "company", "task")
#: What `customers_mode` of an account says when it has them.
_NO_CUSTOMERS: Final = frozenset((None, "", "disabled", "unavailable"))
Json = Mapping[str, Any]
_T = TypeVar("_T")


class History:
    """What one account can still tell. What it refuses once is not asked for again.

    `going_on` is called before each page is asked for, and may raise to end that.
    """

    def __init__(self, client: Client, going_on: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._going_on = going_on
        self._refused: set[str] = set()
        self._kinds: Sequence[str] = ()
        self._of_all_types = False

    def told(self, since: int, until: int, *, made_since: int) -> Iterator[Found]:
        """Find what happened from `since` to before `until` (unix seconds), in no order, some of it twice.

        What was made from `made_since` on counts as new where a list shows it. Raises the ApiError family, but for
        what the account refuses by its nature.
        """
        yield from self._asked("events", partial(self._journal, since, until))
        for kind in self._all_kinds():
            for entity in self._asked(kind, partial(self._walk, self._list(kind), since, until)):
                yield from told_by_change(kind, entity, since=made_since)
        for kind in self._all_kinds():
            for note in self._asked(f"{kind} notes", partial(self._notes, kind, since, until)):
                if told := told_by_note(kind, note, since=made_since):
                    yield told

    def _asked(self, what: str, ask: Callable[[], Iterator[_T]]) -> Iterator[_T]:
        """Go through an answer; nothing comes of what the account refuses: customers, notes of a plan without them.

        A 402 is no such refusal: once the account has paid, the same call works.
        """
        if what in self._refused:
            return
        try:
            yield from ask()
        except Refused as error:
            self._refused.add(what)
            _log.warning("not all can be found again", account=self._client.account_id, what=what, error=str(error))

    def _all_kinds(self) -> Sequence[str]:
        if not self._kinds:
            self._going_on()
            mode = self._client.account().get("customers_mode")
            self._kinds = _KINDS if mode in _NO_CUSTOMERS else (*_KINDS, "customer")
        return self._kinds

    def _journal(self, since: int, until: int) -> Iterator[Found]:
        entries = self._entries({"created_at": _range(since, until)})
        while page := self._page(entries):
            ours = [entry for entry in page if entry.get("type") in TYPES]
            about = self._about(ours)
            for entry in ours:
                named = looked_up(entry)
                if told := told_by(entry, about.get(named) if named else None):
                    yield told

    def _page(self, entries: Iterator[Json]) -> Sequence[Json]:
        self._going_on()
        return list(islice(entries, EVENTS_PAGE))

    def _entries(self, filters: Json) -> Iterator[Json]:
        """Go through the journal; where Kommo does not know one of our types (any more), through all of it."""
        if not self._of_all_types:
            typed = {**filters, "type": list(TYPES)}
            try:
                yield from self._client.events.list(filter=typed, limit=EVENTS_PAGE)
            except BadRequest as error:
                self._of_all_types = True
                _log.info("journal is asked for whole", account=self._client.account_id, error=str(error))
            else:
                return
        yield from self._client.events.list(filter=filters, limit=EVENTS_PAGE)

    def _about(self, entries: Sequence[Json]) -> Mapping[tuple[str, int], Json]:
        """Ask for what the entries are about, a call for each kind; talks have no list, and are asked for singly."""
        named = dict.fromkeys(one for entry in entries if (one := looked_up(entry)))
        found: dict[tuple[str, int], Json] = {}
        for kind in dict.fromkeys(kind for kind, _ in named):
            self._going_on()
            ids = [number for of, number in named if of == kind]
            found |= {(kind, number): entity for number, entity in self._by_id(kind, ids)}
        return found

    def _by_id(self, kind: str, ids: Sequence[int]) -> Iterator[tuple[int, Json]]:
        if kind == "talk":
            for number in ids:
                self._going_on()
                with suppress(NotFound):
                    talk = self._client.call("GET", f"{API}/talks/{number}")
                    if isinstance(talk, Mapping):
                        yield number, talk
            return
        for entity in self._list(kind)(filter={"id": ids}, limit=PAGE_LIMIT):
            if not entity.get("is_deleted"):
                yield int(entity["id"]), entity

    def _notes(self, kind: str, since: int, until: int) -> Iterator[Json]:
        if kind == "task":  # nothing can be noted on one
            return iter(())
        return self._walk(partial(self._client.notes.list, entity=PLURALS[kind]), since, until)

    def _list(self, kind: str) -> Callable[..., Iterator[Json]]:
        lists: Mapping[str, Callable[..., Iterator[Json]]] = {
            "lead": self._client.leads.list,
            "contact": self._client.contacts.list,
            "company": self._client.companies.list,
            "customer": self._client.customers.list,
            "task": self._client.tasks.list,
        }
        return lists[kind]

    def _walk(self, ask: Callable[..., Iterator[Json]], since: int, until: int) -> Iterator[Json]:
        """Go through what was changed in a time, from its oldest change on.

        What is changed again meanwhile leaves the list, and would pull another one over the edge of the next page: so
        that one is asked for as a first page, from the last second on. Where the order is not kept, by its number.
        """
        page, seen = 1, set[object]()
        while True:
            self._going_on()
            order = {"updated_at": "asc"}
            rows = list(ask(filter={"updated_at": _range(since, until)}, order=order, page=page, limit=PAGE_LIMIT))
            yield from (row for row in rows if row.get("id") not in seen and not row.get("is_deleted"))
            if len(rows) < PAGE_LIMIT:
                return
            seen.update(row.get("id") for row in rows)
            times = [int(row.get("updated_at") or 0) for row in rows]
            moves_on = times[-1] > since and times == sorted(times)
            since, page = (times[-1], 1) if moves_on else (since, page + 1)


def _range(since: int, until: int) -> Mapping[str, int]:
    """Both ends of a range belong to it."""
    return {"from": since, "to": until - 1}
