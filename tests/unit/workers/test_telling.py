"""Telling a delivery's story from what is known of it."""

import json
from typing import Any

import pytest

from kommo.hooks.events import Event
from kommo.router import Router
from kommo.store.inbox import Delivery, Entry
from kommo.store.stories import ECHO, REPEATED, EventTold, StepTold, Story, WriteTold, event_name
from kommo.store.waiting import Waiting
from workers.telling import DeliveryStory, EventStory, Known, StepStory, WriteStory, tell

ENTRY = Entry("1772000000000-0", Delivery("d-1", 9, b"body", "form", 1_772_000_000_000))
EVENT = Event("ab" * 16, "lead.added", 9, "lead", 31, None, {}, "d-1")
NAME = event_name(EVENT.id)
LETTER = f"{EVENT.id}.won"


def router(*names: str, echoes: bool = False, types: str = "lead.*") -> Router:
    made = Router()
    for name in names:
        made.on(types, handler=name, echoes=echoes)(_nothing(name))
    return made


def _nothing(_name: str) -> Any:
    def handler(event: object, kommo: object) -> None:
        """Do nothing."""

    return handler


def known(*, events: tuple[Event, ...] = (EVENT,), story: Story | None = None, **more: Any) -> Known:
    return Known(entry=ENTRY, events=events, story=story or Story(), **more)


def ran(verb: str = "done", handler: str = "won", **more: Any) -> Story:
    return Story(steps={(NAME, handler): StepTold(verb, 2, 1_772_000_000_900, 12, **more)})


def in_lane(handler: str = "won", *, event: Event = EVENT, **more: Any) -> Waiting:
    item = json.dumps({"handler": handler, "stream": ENTRY.stream_id, "event": event.to_record()}).encode()
    said = {"ahead": 0, "due_in_ms": -5, "is_leased": False, "runs": 0, "failures": 0, "crashes": 0, **more}
    return Waiting(f"lead:31:{handler}", item, **said)


def in_outbox(id_: str = "w1", *, mark: bytes = b"", handler: str = "won", **more: Any) -> Waiting:
    record = {"id": id_, "event_id": EVENT.id, "handler": handler, "resource": "leads", "action": "update"}
    item = mark + b"leads:update\n" + json.dumps(record).encode()
    said = {"ahead": 0, "due_in_ms": -5, "is_leased": False, "runs": 0, "failures": 0, "crashes": 0, **more}
    return Waiting("lead:31", item, **said)


def only(story: DeliveryStory) -> EventStory:
    (event,) = story.events
    return event


def step(of: Known, handlers: Router | None = None) -> StepStory:
    (one,) = only(tell(of, handlers)).steps
    return one


class TestDeliveries:
    @pytest.mark.parametrize(
        ("more", "state"),
        [
            ({}, "handled"),
            ({"is_drained": False}, "waiting"),
            ({"open_steps": 2}, "waiting"),
            ({"open_steps": 2, "letters": {LETTER}}, "dead"),
            ({"letters": {"d-1"}}, "dead"),
        ],
    )
    def test_a_delivery_waits_until_all_has_ended_and_is_dead_while_a_letter_lies_there(
        self, more: dict[str, Any], state: str
    ) -> None:
        assert known(**more).state == state
        assert tell(known(**more), None).state == state

    def test_one_that_cannot_be_decoded_says_so_and_names_its_letter(self) -> None:
        told = tell(known(events=(), problem="cannot be decoded", letters={"d-1"}), None)
        assert (told.problem, told.events) == ("cannot be decoded; kommo dead show d-1", [])

    def test_a_letter_that_is_gone_is_not_named(self) -> None:
        told = tell(known(events=(), problem="cannot be decoded"), None)
        assert told.problem == "cannot be decoded; its dead letter was retried or dropped"


class TestWhyNothingRan:
    def test_no_handler_wants_it(self) -> None:
        assert only(tell(known(), router("won", types="contact.*"))).why == "no handler wants it"

    def test_without_handlers_that_is_not_known(self) -> None:
        assert "not known without KOMMO_HANDLERS" in only(tell(known(), None)).why

    def test_it_is_an_echo(self) -> None:
        told = only(tell(known(story=Story(events={NAME: EventTold(ECHO)})), router("won", "lost")))
        assert (told.why, told.steps, told.event.is_echo) == ("an echo of our own write, not for won, lost", [], True)

    def test_an_echo_still_shows_what_ran_for_echoes(self) -> None:
        story = ran()
        story.events[NAME] = EventTold(ECHO)
        told = only(tell(known(story=story), router("won", echoes=True)))
        assert (told.why, [one.state for one in told.steps]) == ("an echo of our own write", ["done"])

    @pytest.mark.parametrize(("first", "which"), [({EVENT.id: "d-0"}, "delivery d-0"), ({}, "a delivery")])
    def test_another_delivery_brought_it_first(self, first: dict[str, str], which: str) -> None:
        story = Story(events={NAME: EventTold(REPEATED, 1_772_000_000_000)})
        told = only(tell(known(story=story, first=first), router("won")))
        assert (told.why, told.steps) == (f"repeated: {which} of 2026-02-25T06:13:20Z brought it first", [])

    def test_it_is_not_drained_yet(self) -> None:
        told = only(tell(known(is_drained=False), router("won", "lost")))
        assert (told.why, told.steps) == ("waits to be drained, then for won, lost", [])
        assert only(tell(known(is_drained=False), None)).why == "waits to be drained"

    def test_a_handler_that_wants_it_and_of_which_nothing_is_known_is_said_to_have_no_record(self) -> None:
        told = step(known(), router("won"))
        assert (told.handler, told.state) == ("won", "no record")


class TestSteps:
    def test_a_step_that_is_done_needs_no_handlers_to_be_told_of(self) -> None:
        assert step(known(story=ran())) == StepStory("won", "done", "", 2, 1_772_000_000_900, 12, [])

    def test_handlers_are_told_of_once_those_that_ran_first(self) -> None:
        told = only(tell(known(story=ran(handler="b"), steps=[in_lane("c")]), router("a", "b", "c")))
        assert [(one.handler, one.state) for one in told.steps] == [("b", "done"), ("c", "waiting"), ("a", "no record")]

    @pytest.mark.parametrize(
        ("lane", "story", "state", "note", "attempt"),
        [
            ({}, Story(), "waiting", "due now", 0),
            ({"due_in_ms": 4200}, Story(), "waiting", "due in 4 s", 0),
            ({"ahead": 3}, Story(), "waiting", "behind 3 in its lane", 0),
            ({"is_leased": True, "due_in_ms": 900, "runs": 1}, Story(), "running", "", 2),
            ({"is_leased": True}, Story(), "waiting", "due now; its worker did not come back", 0),
            ({"crashes": 2}, Story(), "waiting", "due now; its worker did not come back 2 times", 0),
            ({"runs": 2, "due_in_ms": 61_000}, ran("failed", error="boom"), "retrying", "due in 61 s; boom", 2),
            ({"runs": 2, "is_leased": True, "due_in_ms": 9}, ran("failed", error="boom"), "running", "boom", 3),
            ({"runs": 1}, ran("again"), "retrying", "due now", 1),
            ({}, ran("postpone"), "not known here", "no worker that looked knows the handler; due now", 0),
            ({}, ran("done"), "waiting", "due now", 0),
        ],
    )
    def test_a_step_that_waits_says_how(
        self, lane: dict[str, Any], story: Story, state: str, note: str, attempt: int
    ) -> None:
        told = step(known(story=story, open_steps=1, steps=[in_lane(**lane)]))
        assert (told.state, told.note, told.attempt) == (state, note, attempt)

    def test_the_same_handler_of_another_event_in_the_lane_is_not_meant(self) -> None:
        other = Event("cd" * 16, "lead.added", 9, "lead", 31, None, {}, "d-1")
        assert step(known(steps=[in_lane(event=other)]), router("won")).state == "no record"

    def test_a_step_that_was_given_up_names_its_letter(self) -> None:
        told = step(known(story=ran("dead", error="rejected: no phone"), letters={LETTER}))
        assert (told.state, told.note) == ("dead", f"rejected: no phone; kommo dead show {LETTER}")

    def test_a_letter_of_which_no_story_was_kept_is_still_told(self) -> None:
        told = step(known(letters={LETTER}), router("won"))
        assert (told.state, told.note) == ("dead", f"kommo dead show {LETTER}")

    def test_a_step_whose_letter_is_gone_stays_given_up(self) -> None:
        told = step(known(story=ran("dead", error="rejected: no phone")))
        assert (told.state, told.note) == ("given up", "rejected: no phone; its dead letter was retried or dropped")

    def test_a_step_that_failed_and_lies_nowhere_is_not_said_to_wait(self) -> None:
        told = step(known(story=ran("failed", error="boom")))
        assert (told.state, told.note) == ("no record", "it ran in vain, and waits no more; boom")

    @pytest.mark.parametrize("item", [b"", b"\xff", b"[1]", b'{"event":5}', b'{"handler":"won"}'])
    def test_an_item_that_cannot_be_read_is_nobodys(self, item: bytes) -> None:
        odd = Waiting("lead:31:won", item, 0, 0, False, 0, 0, 0)
        assert only(tell(known(open_steps=1, steps=[odd]), None)).steps == []


class TestWrites:
    def writes(self, *, tried: dict[str, WriteTold] | None = None, asked: int = 1, **more: Any) -> list[WriteStory]:
        story = ran(writes=asked, chains=("lead:31",))
        lines = [told.line("d-1", EVENT.id, "won", id_) for id_, told in (tried or {}).items()]
        story.writes = Story.read({line.name.encode(): line.text for line in lines}).writes
        return list(step(known(story=story, **more)).writes)

    def test_a_write_that_is_done_tells_its_entity_and_its_time(self) -> None:
        (told,) = self.writes(tried={"w1": WriteTold("done", "tasks:create", "808", 77)})
        assert told == WriteStory("w1", "tasks:create", "808", "done", "", 77)

    @pytest.mark.parametrize(
        ("letters", "state", "note"),
        [
            ({"w1"}, "dead", "refused: 400; kommo dead show w1"),
            (set(), "given up", "refused: 400; its dead letter was retried or dropped"),
        ],
    )
    def test_a_write_that_was_given_up_tells_why(self, letters: set[str], state: str, note: str) -> None:
        (told,) = self.writes(
            tried={"w1": WriteTold("dead", "leads:update", "31", 77, "refused: 400")}, letters=letters
        )
        assert (told.state, told.note) == (state, note)

    @pytest.mark.parametrize(
        ("lane", "more", "note"),
        [
            ({}, {}, "due now"),
            ({"due_in_ms": 30_000}, {}, "due in 30 s"),
            ({"ahead": 2}, {}, "behind 2 of the same entity"),
            ({}, {"parked": "payment"}, "due now; the account is parked: payment"),
            ({"mark": b"?"}, {}, "due now; Kommo may have done it already"),
        ],
    )
    def test_a_write_that_waits_says_how(self, lane: dict[str, Any], more: dict[str, Any], note: str) -> None:
        (told,) = self.writes(writes=[in_outbox(**lane)], **more)
        assert told == WriteStory("w1", "leads:update", "", "waiting", note)

    def test_a_write_that_is_on_its_way_says_so(self) -> None:
        (told,) = self.writes(writes=[in_outbox(is_leased=True, due_in_ms=100)])
        assert (told.state, told.note) == ("running", "on its way to Kommo")

    def test_a_write_that_was_tried_and_waits_again_tells_the_answer(self) -> None:
        tried = {"w1": WriteTold("failed", "leads:update", "31", 77, "503 Service Unavailable")}
        (told,) = self.writes(tried=tried, writes=[in_outbox(due_in_ms=9000)])
        assert told == WriteStory("w1", "leads:update", "31", "retrying", "due in 9 s; 503 Service Unavailable", 77)

    def test_writes_are_told_in_the_order_in_which_they_ended_and_then_those_that_wait(self) -> None:
        tried = {name: WriteTold("done", "leads:update", "31", at) for name, at in (("b", 2), ("a", 1))}
        told = self.writes(tried=tried, asked=3, writes=[in_outbox("c")])
        assert [one.id for one in told] == ["a", "b", "c"]

    def test_those_of_which_nothing_is_known_are_counted(self) -> None:
        (told,) = self.writes(asked=4)
        assert (told.what, told.state) == ("4 more", "no record")

    def test_writes_of_another_handler_are_left_out(self) -> None:
        assert self.writes(asked=0, writes=[in_outbox(handler="lost")]) == []

    def test_a_write_that_came_to_nothing_and_lies_nowhere_is_not_said_to_wait(self) -> None:
        (told,) = self.writes(tried={"w1": WriteTold("postpone", "leads:update", "31", 77, "429")})
        assert (told.state, told.note) == ("no record", "tried in vain, and waits no more; 429")
