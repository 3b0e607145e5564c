"""The account that the sandbox plays, over HTTP: what a person does there, what its API says, what it has sent."""

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from kommo.errors import KommoError
from workers.demo.records import Asked, Attempt, Sent

_SECONDS: Final = 5.0
#: Won and lost, in every pipeline. https://developers.kommo.com/reference (pipelines)
WON: Final = 142
LOST: Final = 143

Json = dict[str, Any]


class SandboxError(KommoError):
    """The sandbox did not do what it was asked."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at the company."""

    id: int
    name: str

    @property
    def first_name(self) -> str:
        return self.name.split()[0]


class Account:
    """Acts in the account as a person at its pages would, and reads the sandbox's two logs."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._host = urlsplit(url).netloc
        self._token = token
        self._first_request = 0

    def do(self, command: str, /, **arguments: Any) -> Json:
        """Run a command of the sandbox, such as `lead.create`; give what it tells, mostly an `id`."""
        answer: Json = self._json("POST", f"/_sandbox/{command}", arguments)
        return answer

    def create(self, kind: str, **fields: Any) -> int:
        """Create a `lead`, `contact`, `company` or `task`; give its id."""
        return int(self.do(f"{kind}.create", **fields)["id"])

    def create_together(self, kind: str, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """Create several in one delivery; give their ids."""
        changes = [{"command": f"{kind}.create", "args": dict(row)} for row in rows]
        return [int(result["id"]) for result in self.do("batch", changes=changes)["results"]]

    def ids(self) -> tuple[int, str]:
        """Give the account's id and subdomain."""
        answer = self._json("GET", "/_sandbox/health")
        return int(answer["account_id"]), str(answer["subdomain"])

    def people(self) -> list[Person]:
        """List who works there; the first is the integration itself."""
        rows = self._api("GET", "/users")["_embedded"]["users"]
        return [Person(int(row["id"]), str(row["name"])) for row in rows]

    def subscribe_also(self, settings: Sequence[str]) -> int:
        """Add events to the one webhook that is registered; give how many it has then."""
        hook = self._api("GET", "/webhooks")["_embedded"]["webhooks"][0]
        wanted = [*hook["settings"], *settings]
        answer = self._api("POST", "/webhooks", {"destination": hook["destination"], "settings": wanted})
        return len(answer["settings"])

    def sent(self, after: int) -> list[Sent]:
        """Give the deliveries after a number, oldest first."""
        rows = self._json("GET", f"/_sandbox/deliveries?since={after}")["deliveries"]
        return [_sent(row) for row in rows]

    def pending(self) -> int:
        """Count the deliveries that are still to be answered."""
        return int(self._json("GET", "/_sandbox/deliveries?since=999999999")["by_state"]["pending"])

    def begin(self) -> None:
        """Forget the API requests so far: those of the set-up."""
        self._first_request = int(self._json("GET", "/_sandbox/requests")["last"])

    def asked(self) -> tuple[list[Asked], int]:
        """Give the API requests since `begin`, and the most that ever arrived within one second."""
        answer = self._json("GET", f"/_sandbox/requests?since={self._first_request}")
        return [_asked(row) for row in answer["requests"]], int(answer["peak"])

    def _api(self, method: str, path: str, body: object = None) -> Any:
        return self._json(method, f"/api/v4{path}", body, {"Authorization": f"Bearer {self._token}"})

    def _json(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        connection = http.client.HTTPConnection(self._host, timeout=_SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), dict(headers or {}))
            response = connection.getresponse()
            text = response.read()
        except OSError as error:
            raise SandboxError(f"the sandbox does not answer: {error}") from error
        finally:
            connection.close()
        if response.status >= 300:
            raise SandboxError(f"the sandbox answered {response.status} to {method} {path}: {text[:200]!r}")
        return json.loads(text)


def _sent(row: Json) -> Sent:
    attempts = [Attempt(one["at"], one["status"], one["duration_ms"]) for one in row["attempts"]]
    return Sent(row["id"], row["kind"], row["sha256"], row["bytes"], row["state"], attempts)


def _asked(row: Json) -> Asked:
    return Asked(row["number"], row["method"], row["path"].partition("?")[0], row["status"])
