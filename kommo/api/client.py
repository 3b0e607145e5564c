"""`kommo`, the second argument of every handler: one account's resources, now and later."""

from typing import Any

from kommo.api.activities import Clock, now
from kommo.api.later import Later
from kommo.api.pages import Json, Pages, Send
from kommo.api.resources import EntitiesNow, NotesNow, TasksNow, Webhooks
from kommo.api.writes import API
from kommo.errors import RequestError


class Client:
    """One account of Kommo. `send` makes the calls and waits its turn within the rate limit.

    Every call may raise the ApiError family; what is wrong before it is sent raises RequestError.
    """

    def __init__(self, send: Send, *, account_id: int, later: Later | None = None, clock: Clock = now) -> None:
        self.account_id = account_id
        self._send = send
        self._later = later
        self.leads = EntitiesNow(send, "leads")
        self.contacts = EntitiesNow(send, "contacts")
        self.companies = EntitiesNow(send, "companies")
        self.tasks = TasksNow(send, clock)
        self.notes = NotesNow(send)
        self.webhooks = Webhooks(send)

    @property
    def later(self) -> Later:
        """Writes for after the handler has succeeded; raises RequestError outside a handler."""
        if self._later is None:
            raise RequestError("kommo.later is there in handlers only; outside, act now: kommo.leads.create(...)")
        return self._later

    def account(self, *, with_: str | None = None) -> Json:
        """Return the account: https://developers.kommo.com/reference (account)."""
        return Pages(self._send, "account").one(f"{API}/account", "account", {"with": with_})

    def call(self, method: str, path: str, *, params: dict[str, Any] | None = None, json: object = None) -> Any:
        """Make a call that this class has no name for: path from `/api/v4`; returns the parsed answer, None for 204."""
        return self._send(method, path, params, json)
