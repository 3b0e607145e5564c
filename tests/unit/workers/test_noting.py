"""What a story is told: of steps and of writes."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kommo.api.later import Later, Step
from kommo.api.writes import Write
from kommo.hooks.events import Event
from kommo.store.chains import Lease
from kommo.store.dead import DeadLetter
from kommo.store.lanes import AskedWrite
from kommo.store.outbox import FAILED, PileOutcome
from kommo.store.stories import Story, WriteTold
from workers.noting import of_pile, of_step
from workers.outcome import Ending

EVENT = Event("6f" * 16, "lead.added", 9, "lead", 31, None, {}, "d-2", attempt=3)
LEASE = Lease(9, "lead:31", "t-1", 1, 0, 0, 0, b"item")


def writes(act: Any) -> tuple[Write, ...]:
    later = Later(Step(9, EVENT.id, "shop.won", "d-2"), clock=lambda: datetime(2026, 3, 1, tzinfo=UTC))
    act(later)
    return later.writes


def prices(later: Later) -> None:
    for price in (10, 20, 30):
        later.leads.update(31, price=price)


def told(outcome: PileOutcome, asked: tuple[Write, ...], error: str = "") -> list[tuple[str, str, str, str]]:
    """Verb, what, entity and error of each write that is told of, in order."""
    lines = of_pile(outcome, asked, error)
    assert {line.delivery_id for line in lines} <= {"d-2"}
    story = Story.read({line.name.encode(): line.text for line in lines})
    by_id = story.writes_of(EVENT.id, "shop.won")
    assert all(write.at_ms > 1_772_000_000_000 for write in by_id.values())
    found: list[WriteTold | None] = [by_id.get(write.id) for write in asked]
    return [(one.verb, one.what, one.entity, one.error) for one in found if one]


class TestSteps:
    def test_a_step_tells_its_attempt_its_time_and_the_chains_of_its_writes(self) -> None:
        asked = [AskedWrite("lead:31", b""), AskedWrite("new:ab", b""), AskedWrite("lead:31", b"")]
        line = of_step(EVENT, "shop.won", Ending("done"), asked, 40)
        step = Story.read({line.name.encode(): line.text}).step(EVENT.id, "shop.won")
        assert step is not None
        assert (line.delivery_id, step.verb, step.attempt, step.took_ms) == ("d-2", "done", 3, 40)
        assert (step.writes, step.chains) == (3, ("lead:31", "new:ab"))

    @pytest.mark.parametrize(
        ("ending", "error"),
        [
            (Ending("failed", error="KeyError: 'phone'"), "KeyError: 'phone'"),
            (Ending("dead", reason="rejected", error="no phone"), "rejected: no phone"),
            (Ending("again", error=""), ""),
            (Ending("postpone", delay_ms=3000), ""),
        ],
    )
    def test_a_step_that_came_to_nothing_tells_why(self, ending: Ending, error: str) -> None:
        line = of_step(EVENT, "shop.won", ending, [], 1)
        step = Story.read({line.name.encode(): line.text}).step(EVENT.id, "shop.won")
        assert step is not None
        assert (step.verb, step.error) == (ending.verb, error)

    def test_a_reason_that_is_no_text_stops_nothing(self) -> None:
        odd: Any = 17
        assert b"|17" in of_step(EVENT, "shop.won", Ending("again", error=odd), [], 1).text


class TestWrites:
    def test_writes_that_are_done_tell_which_entity_they_changed(self) -> None:
        outcome = PileOutcome(LEASE, "done", done=3)
        assert told(outcome, writes(prices)) == [("done", "leads:update", "31", "")] * 3

    def test_a_creation_that_is_done_tells_what_it_made(self) -> None:
        asked = writes(
            lambda later: later.tasks.create(entity=EVENT, text="call", due_at=datetime(2027, 1, 1, tzinfo=UTC))
        )
        assert told(PileOutcome(LEASE, "done", done=1, results={asked[0].id: "808"}), asked) == [
            ("done", "tasks:create", "808", "")
        ]

    def test_a_creation_that_failed_names_no_entity(self) -> None:
        asked = writes(lambda later: later.leads.create(name="new"))
        assert told(PileOutcome(LEASE, "failed"), asked, "504") == [("failed", "leads:create", "", "504")]

    def test_a_patch_of_what_is_not_made_yet_names_no_entity(self) -> None:
        asked = writes(lambda later: later.leads.update(later.leads.create(name="new"), price=5))
        assert told(PileOutcome(LEASE, "failed"), asked, "503")[1] == ("failed", "leads:update", "", "503")

    def test_one_that_is_given_up_tells_its_reason_and_the_others_nothing(self) -> None:
        asked = writes(prices)
        letter = DeadLetter(asked[0].id, "write", 9, "refused", "400 Bad Request", 5, "d-2")
        outcome = PileOutcome(LEASE, "dead", done=1, results={asked[0].id: FAILED}, dead=[letter])
        assert told(outcome, asked) == [("dead", "leads:update", "31", "refused: 400 Bad Request")]

    @pytest.mark.parametrize(
        ("verb", "as_told"), [("failed", "failed"), ("postpone", "postpone"), ("done", "postpone")]
    )
    def test_those_that_go_again_tell_the_error(self, verb: Any, as_told: str) -> None:
        number = 1 if verb == "done" else 0
        rest = told(PileOutcome(LEASE, verb, done=number), writes(prices), "429: too many")[number:]
        assert rest == [(as_told, "leads:update", "31", "429: too many")] * (3 - number)

    def test_those_that_only_wait_are_not_told_of(self) -> None:
        assert told(PileOutcome(LEASE, "postpone", delay_ms=200), writes(prices)) == []

    def test_of_a_pile_that_cannot_be_read_nothing_is_told(self) -> None:
        assert of_pile(PileOutcome(LEASE, "dead", done=1), (), "") == []
