"""`kommo`, the second argument of every handler: one account's resources, now and later."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from kommo.api.later import Later
from kommo.api.pages import Json, Pages, Send, joined
from kommo.api.resources.activities import Clock, now
from kommo.api.resources.catalogs import Catalogs
from kommo.api.resources.journal import Calls, Events
from kommo.api.resources.metadata import Metadata
from kommo.api.resources.names import Names
from kommo.api.resources.now import CustomersNow, EntitiesNow, LeadsNow, NotesNow, TasksNow
from kommo.api.resources.people import Roles, Users
from kommo.api.resources.structure import CustomFieldsOf, Pipelines, Sources, TagsOf
from kommo.api.resources.webhooks import Webhooks
from kommo.api.writes import API
from kommo.errors import RequestError


class Client:
    """One account of Kommo. `send` makes the calls and waits its turn within the rate limit.

    `metadata` is what clients of the same account share of its names; without it this client remembers its own.
    Every call may raise the ApiError family; what is wrong before it is sent raises RequestError.
    """

    def __init__(
        self,
        send: Send,
        *,
        account_id: int,
        later: Later | None = None,
        clock: Clock = now,
        metadata: Metadata | None = None,
    ) -> None:
        self.account_id = account_id
        #: The account's pipelines, custom fields and users, remembered for five minutes; `refresh()` forgets them.
        self.metadata = metadata or Metadata(send)
        self._send = send
        self._later = later
        self._clock = clock
        if later is not None:
            later.names.learn(self.metadata)

    # Each is made when it is asked for: a handler uses one or two of them, and every step has a client of its own.

    @cached_property
    def leads(self) -> LeadsNow:
        return LeadsNow(self._send, self._names)

    @cached_property
    def contacts(self) -> EntitiesNow:
        return EntitiesNow(self._send, "contacts", "contact", self._names)

    @cached_property
    def companies(self) -> EntitiesNow:
        return EntitiesNow(self._send, "companies", "company", self._names)

    @cached_property
    def customers(self) -> CustomersNow:
        return CustomersNow(self._send, self._names)

    @cached_property
    def tasks(self) -> TasksNow:
        return TasksNow(self._send, self._clock, self._names)

    @cached_property
    def notes(self) -> NotesNow:
        return NotesNow(self._send)

    @cached_property
    def tags(self) -> TagsOf:
        return TagsOf(self._send)

    @cached_property
    def custom_fields(self) -> CustomFieldsOf:
        return CustomFieldsOf(self._send, self.metadata)

    @cached_property
    def pipelines(self) -> Pipelines:
        return Pipelines(self._send, self.metadata)

    @cached_property
    def users(self) -> Users:
        return Users(self._send)

    @cached_property
    def roles(self) -> Roles:
        return Roles(self._send)

    @cached_property
    def webhooks(self) -> Webhooks:
        return Webhooks(self._send)

    @cached_property
    def events(self) -> Events:
        return Events(self._send)

    @cached_property
    def calls(self) -> Calls:
        return Calls(self._send)

    @cached_property
    def catalogs(self) -> Catalogs:
        return Catalogs(self._send)

    @cached_property
    def sources(self) -> Sources:
        return Sources(self._send)

    @cached_property
    def _names(self) -> Names:
        return Names(self.metadata)

    @property
    def later(self) -> Later:
        """Writes for after the handler has succeeded; raises RequestError outside a handler."""
        if self._later is None:
            raise RequestError("kommo.later is there in handlers only; outside, act now: kommo.leads.create(...)")
        return self._later

    def account(self, *, with_: str | Sequence[str] | None = None) -> Json:
        """Return the account: https://developers.kommo.com/reference (account)."""
        return Pages(self._send, "account").one(f"{API}/account", "account", {"with": joined(with_)})

    def call(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Make a call that this class has no name for: path from `/api/v4`.

        Returns the parsed answer, None for 204 and 304.
        """
        return self._send(method, path, params, json, headers) if headers else self._send(method, path, params, json)
