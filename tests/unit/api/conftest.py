"""Events, and a `send` that answers from memory and keeps what was sent."""

from collections.abc import Callable
from typing import Any

import pytest

from kommo.api.protocol import Params
from kommo.hooks.events import Event


class Recorder:
    """Stands where calls leave for Kommo: answers in turn, the last one again and again."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any, Any]] = []
        self.headers: list[Any] = []
        self.answers: list[Any] = [{"id": 1}]

    def __call__(self, method: str, path: str, params: Params | None, json: object, headers: object = None) -> Any:
        self.calls.append((method, path, params, json))
        self.headers.append(headers)
        answer = self.answers[min(len(self.calls), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Account:
    """An account with its names: reads are answered from `lists` by their path, writes by an id of their own."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any, Any]] = []
        self.lists: dict[str, tuple[str, list[dict[str, Any]]]] = {}
        self.error: Exception | None = None

    def __call__(self, method: str, path: str, params: Params | None, json: object, _: object = None) -> Any:
        self.calls.append((method, path, params, json))
        if self.error is not None:
            raise self.error
        if method == "GET":
            resource, items = self.lists[path]
            return {"_embedded": {resource: items}}
        return {"id": 77}

    @property
    def reads(self) -> list[str]:
        """The paths that were read, in order."""
        return [path for method, path, _, _ in self.calls if method == "GET"]

    @property
    def written(self) -> Any:
        """The body of the last call."""
        return self.calls[-1][3]


def pipeline(id_: int, name: str, *stages: tuple[int, str], **others: Any) -> dict[str, Any]:
    """A pipeline as the API gives it, with won and lost at its end."""
    ends = ((142, "Closed - won"), (143, "Closed - lost"))
    statuses = [{"id": stage, "name": title, "pipeline_id": id_} for stage, title in (*stages, *ends)]
    return {"id": id_, "name": name, "_embedded": {"statuses": statuses}, **others}


@pytest.fixture
def send() -> Recorder:
    """A `send` from memory."""
    return Recorder()


@pytest.fixture
def account() -> Account:
    """An account with two pipelines in use and an archived one, fields of leads and contacts, and three users."""
    made = Account()
    made.lists = {
        "/api/v4/leads/pipelines": ("pipelines", [
            pipeline(11, "Sales", (101, "Talks"), (102, "Offer")),
            pipeline(12, "Service", (201, "Talks"), (202, "Repair")),
            pipeline(13, "Old", (301, "Museum"), is_archive=True),
        ]),
        "/api/v4/leads/custom_fields": ("custom_fields", [
            {"id": 501, "name": "Delivery day", "code": None, "type": "date"},
            {"id": 502, "name": "Colour", "code": "FINISH", "type": "select"},
            {"id": 503, "name": "Twin", "code": "", "type": "text"},
            {"id": 504, "name": "Twin", "code": "", "type": "text"},
        ]),
        "/api/v4/contacts/custom_fields": ("custom_fields", [{"id": 601, "name": "Телефон", "code": "PHONE"}]),
        "/api/v4/users": ("users", [
            {"id": 31, "name": "Ada Stone", "email": "ada@shop.example", "rights": {"is_active": True}},
            {"id": 32, "name": "Bo Reed", "email": "bo@shop.example"},
            {"id": 33, "name": "Bo Reed", "email": "reed@shop.example"},
            {"id": 34, "name": "Gone Away", "email": "gone@shop.example", "rights": {"is_active": False}},
        ]),
    }  # fmt: skip
    return made


@pytest.fixture
def event() -> Callable[..., Event]:
    """Build events."""

    def build(type_: str = "lead.added", id_: int | str | None = 31, **raw: Any) -> Event:
        return Event(
            id=f"e-{type_}-{id_}",
            type=type_,
            account_id=9,
            entity_type=type_.partition(".")[0],
            entity_id=id_,
            occurred_at=None,
            raw={"id": str(id_), **raw},
            delivery_id="d-1",
        )

    return build
