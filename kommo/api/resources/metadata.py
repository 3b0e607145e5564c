"""What an account is made of, remembered for minutes: pipelines with their stages, custom fields, users.

https://developers.kommo.com/reference (pipelines, custom fields, users)
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kommo.api.bounds import FIELDS_PAGE, PAGE_LIMIT
from kommo.api.coalescing import SingleFlight
from kommo.api.constants import EntityType, known_word
from kommo.api.pages import Json, Pages, Send
from kommo.api.writes import API

#: Seconds that what was read counts as what is there.
LIFETIME_SECONDS: Final = 300.0

#: Seconds after which what was read is read once more when it does not hold a name that somebody uses.
SETTLED_SECONDS: Final = 5.0

#: Pipelines come without pages.
_PAGES: Final[Mapping[str, Mapping[str, int]]] = {
    "pipelines": {},
    "custom_fields": {"limit": FIELDS_PAGE},
    "users": {"limit": PAGE_LIMIT},
}


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a pipeline; 142 and 143 exist in every pipeline."""

    id: int
    name: str
    pipeline_id: int


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline and its stages, in their order."""

    id: int
    name: str
    stages: tuple[Stage, ...]
    is_main: bool = False
    is_archive: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """A custom field of an entity; `code` is there for those that Kommo or an integration gave one."""

    id: int
    name: str
    code: str | None = None
    type: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A user of the account."""

    id: int
    name: str
    email: str = ""
    is_active: bool = True


class Metadata:
    """Reads each kind once for all who ask and keeps it for five minutes; share one among an account's clients.

    Threads that ask at the same time cause one request. An error is not kept: whoever asks next tries again.
    Every method may raise the ApiError family; the users are for administrators only (Forbidden).
    """

    def __init__(self, send: Send, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._clock = clock
        self._flights = SingleFlight()
        self._kept: dict[str, tuple[float, tuple[Any, ...]]] = {}

    def pipelines(self, *, max_age: float = LIFETIME_SECONDS) -> tuple[Pipeline, ...]:
        """Return all pipelines, archived ones too; `max_age` in seconds."""
        return self._all("pipelines", f"{API}/leads/pipelines", "pipelines", _pipeline, max_age)

    def fields(self, entity_type: str, *, max_age: float = LIFETIME_SECONDS) -> tuple[Field, ...]:
        """Return the custom fields of leads, contacts, companies or customers; `max_age` in seconds."""
        kind = known_word(EntityType, entity_type, "entity_type").value
        return self._all(f"fields of {kind}", f"{API}/{kind}/custom_fields", "custom_fields", _field, max_age)

    def users(self, *, max_age: float = LIFETIME_SECONDS) -> tuple[User, ...]:
        """Return the users, for administrators; `max_age` in seconds."""
        return self._all("users", f"{API}/users", "users", _user, max_age)

    def known_pipelines(self) -> tuple[Pipeline, ...] | None:
        """Return the pipelines if they are remembered, without any request."""
        return self._recent("pipelines", LIFETIME_SECONDS)

    def refresh(self) -> None:
        """Forget everything: what is asked for next is read anew."""
        self._kept = {}
        self._flights.forget()

    def _all(self, key: str, path: str, resource: str, read: Callable[[Json], Any], max_age: float) -> tuple[Any, ...]:
        def fetched() -> tuple[Any, ...]:
            again = self._recent(key, max_age)
            return self._fetch(key, path, resource, read) if again is None else again

        kept = self._recent(key, max_age)
        found: tuple[Any, ...] = self._flights.do(key, fetched).value if kept is None else kept
        return found

    def _recent(self, key: str, max_age: float) -> tuple[Any, ...] | None:
        kept = self._kept.get(key)
        return None if kept is None or self._clock() - kept[0] >= max_age else kept[1]

    def _fetch(self, key: str, path: str, resource: str, read: Callable[[Json], Any]) -> tuple[Any, ...]:
        # The dict of before: what a refresh meanwhile has thrown away is not filled again.
        kept, began = self._kept, self._clock()
        found = tuple(_readable(Pages(self._send, resource).all(path, _PAGES[resource]), read))
        kept[key] = (began, found)
        return found


def _readable(items: Iterator[Json], read: Callable[[Json], Any]) -> Iterator[Any]:
    """What has no id cannot be named; nothing else is lost for it."""
    return (read(item) for item in items if isinstance(item, dict) and isinstance(item.get("id"), int))


def _pipeline(item: Json) -> Pipeline:
    inner = item.get("_embedded")
    stages = inner.get("statuses") if isinstance(inner, dict) else None
    return Pipeline(
        item["id"],
        _text(item, "name"),
        tuple(_readable(iter(stages or []), lambda stage: Stage(stage["id"], _text(stage, "name"), item["id"]))),
        is_main=bool(item.get("is_main")),
        is_archive=bool(item.get("is_archive")),
    )


def _field(item: Json) -> Field:
    return Field(item["id"], _text(item, "name"), _text(item, "code") or None, _text(item, "type") or None)


def _user(item: Json) -> User:
    rights = item.get("rights")
    active = rights.get("is_active") if isinstance(rights, dict) else None
    return User(item["id"], _text(item, "name"), _text(item, "email"), active is not False)


def _text(item: Json, name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""
