"""A rehearsal: real handlers and events, calls that are noted instead of sent."""

from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

import pytest

from kommo.api.resources.metadata import Metadata
from kommo.errors import NotFound
from kommo.hooks.events import Event
from kommo.hooks.normalise import normalise
from kommo.router import Handler
from kommo.verdicts import Reject, Retry
from workers.asked_calls import AskedCall
from workers.rehearsing import NotedCall, Reads, Rehearsed, rehearse

BODY = b"leads[add][0][id]=31&leads[add][0][name]=Bathroom&leads[add][0][last_modified]=1795000031"
Act = Callable[[Any], object]


def the_event() -> Event:
    (event,) = normalise(BODY, content_type=None, account_id=7, delivery_id="d1")
    return event


def rehearsed(act: Act, reads: Reads | None = None) -> Rehearsed:
    """Rehearse a handler that looks at `kommo` alone."""

    def handler(event: Event, kommo: Any) -> None:
        act(kommo)

    return rehearse(the_event(), Handler("h", handler), reads)


class Answering:
    """Stands for Kommo: answers reads with what it is given, and counts them."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []

    def __call__(self, method: str, path: str, *_: object) -> Any:
        self.asked.append((method, path))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def reads(self) -> Reads:
        return Reads(self, Metadata(self))


def test_a_handler_gets_the_real_event() -> None:
    seen: list[Event] = []

    def handler(event: Event, kommo: Any) -> None:
        seen.append(event)

    assert rehearse(the_event(), Handler("h", handler)) == Rehearsed("h", "done", [])
    assert seen == [the_event()]
    assert seen[0].lead is not None
    assert (seen[0].lead.name, seen[0].attempt) == ("Bathroom", 1)


def test_writes_for_later_are_the_calls_that_they_would_be() -> None:
    def act(kommo: Any) -> None:
        kommo.later.leads.update(31, add_tags=["seen"])
        kommo.later.notes.create(entity=("lead", 31), text="hello")

    first, second = rehearsed(act).calls
    tags = {"tags_to_add": [{"name": "seen"}]}
    assert first == NotedCall("later", AskedCall("PATCH", "/api/v4/leads/31", tags))
    assert (second.call.method, second.call.path) == ("POST", "/api/v4/leads/31/notes")


class TestWithoutReads:
    def test_a_read_is_shown_and_ends_the_run(self) -> None:
        after: list[int] = []

        def act(kommo: Any) -> None:
            kommo.later.leads.update(31, price=1)
            kommo.contacts.get(5, with_="leads")
            after.append(1)

        run = rehearsed(act)
        assert (run.ending, after) == ("stopped", [])
        assert [(noted.kind, noted.call.path) for noted in run.calls] == [
            ("later", "/api/v4/leads/31"),
            ("read", "/api/v4/contacts/5?with=leads"),
        ]
        assert "--with-reads" in run.note

    def test_a_handler_that_catches_everything_is_ended_all_the_same(self) -> None:
        def act(kommo: Any) -> None:
            try:
                kommo.leads.get(31)
            except Exception:
                kommo.later.leads.update(31, price=1)

        run = rehearsed(act)
        assert (run.ending, [noted.kind for noted in run.calls]) == ("stopped", ["read"])

    def test_a_name_that_has_to_be_looked_up_is_a_read(self) -> None:
        run = rehearsed(lambda kommo: kommo.later.leads.update(31, stage="Measured"))
        assert (run.ending, run.calls[0].call.path) == ("stopped", "/api/v4/leads/pipelines")


class TestWithReads:
    def test_kommo_answers_and_the_handler_goes_on(self) -> None:
        kommo_says = Answering({"id": 31, "price": 400})

        def act(kommo: Any) -> None:
            kommo.later.leads.update(31, price=kommo.leads.get(31)["price"] + 1)

        run = rehearsed(act, kommo_says.reads())
        assert [(noted.kind, noted.call.body) for noted in run.calls] == [("read", None), ("later", {"price": 401})]
        assert kommo_says.asked == [("GET", "/api/v4/leads/31")]

    def test_an_answer_that_is_an_error_is_the_handlers(self) -> None:
        error = NotFound("gone", method="GET", path="/api/v4/leads/31", status=404)
        run = rehearsed(lambda kommo: kommo.leads.get(31), Answering(error).reads())
        assert run.ending == "failed"
        assert run.note.startswith("NotFound: GET /api/v4/leads/31 answered 404")

    def test_what_changes_something_is_not_sent_even_so(self) -> None:
        kommo_says = Answering({})
        rehearsed(lambda kommo: kommo.leads.update(31, price=5), kommo_says.reads())
        rehearsed(lambda kommo: kommo.leads.create(name="x"), kommo_says.reads())
        assert kommo_says.asked == []


class TestChangesAtOnce:
    def test_a_change_is_noted_and_answered_as_if_it_had_been_made(self) -> None:
        answers: list[Any] = []

        def act(kommo: Any) -> None:
            answers.append(kommo.leads.update(31, price=5))
            kommo.later.leads.update(32, price=6)

        run = rehearsed(act)
        assert [(noted.kind, noted.call.path) for noted in run.calls] == [
            ("now", "/api/v4/leads/31"),
            ("later", "/api/v4/leads/32"),
        ]
        assert (run.ending, answers) == ("done", [{"price": 5, "id": 31}])

    def test_so_are_many_at_once(self) -> None:
        answers: list[Any] = []

        def act(kommo: Any) -> None:
            answers.extend(kommo.leads.update_many([{"id": 31, "price": 5}, {"id": 32, "price": 6}]))

        assert rehearsed(act).ending == "done"
        assert [(answer["id"], answer["price"]) for answer in answers] == [(31, 5), (32, 6)]

    @pytest.mark.parametrize(
        ("act", "method"),
        [
            (lambda kommo: kommo.leads.create(name="x"), "POST"),
            (lambda kommo: kommo.call("DELETE", "/api/v4/webhooks", json={"destination": "x"}), "DELETE"),
            (lambda kommo: kommo.call("PUT", "/api/v4/leads/1"), "PUT"),
        ],
    )
    def test_what_creates_or_removes_ends_the_run(self, act: Act, method: str) -> None:
        run = rehearsed(act)
        assert (run.ending, [noted.call.method for noted in run.calls]) == ("stopped", [method])


class TestErrors:
    def test_an_error_is_told_with_its_place_and_what_was_asked_for_later_is_not_kept(self) -> None:
        def act(kommo: Any) -> None:
            kommo.later.leads.update(31, price=1)
            raise LookupError("no such plan")

        run = rehearsed(act)
        assert (run.ending, run.calls) == ("failed", [])
        assert run.note.startswith("LookupError: no such plan (")
        assert "test_rehearsing.py:" in run.note

    @pytest.mark.parametrize(
        ("error", "ending", "note"),
        [(Retry("too early"), "retry", "too early"), (Reject("not ours"), "reject", "not ours")],
    )
    def test_verdicts_are_told_as_such(self, error: Exception, ending: str, note: str) -> None:
        def act(kommo: Any) -> None:
            raise error

        run = rehearsed(act)
        assert (run.ending, run.note) == (ending, note)

    @pytest.mark.parametrize("error", [SystemExit(3), CancelledError()], ids=repr)
    def test_what_is_no_exception_by_its_class_is_a_failure_too(self, error: BaseException) -> None:
        def act(kommo: Any) -> None:
            raise error

        assert rehearsed(act).ending == "failed"
