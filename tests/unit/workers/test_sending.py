"""What becomes of leased writes: which go, and what each answer of Kommo's means for them."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kommo.api.bulk import Batch, pack
from kommo.api.later import Later, Step
from kommo.api.transport import NO_ANSWER, NOT_SENT
from kommo.api.writes import Write
from kommo.errors import (
    AccessEnded,
    ApiError,
    BadRequest,
    Blocked,
    Conflict,
    Forbidden,
    NotFound,
    Overloaded,
    PaymentRequired,
    RateLimited,
    RequestError,
    ServerError,
    StoreUnavailable,
    Unauthorized,
    Unreachable,
)
from kommo.store.chains import Lease
from kommo.store.outbox import FAILED, Pile, PileOutcome
from workers import backoff
from workers.sending import ATTEMPTS, Load, done, failed, found, sort_out

CALL = {"method": "POST", "path": "/api/v4/leads"}


@pytest.fixture(autouse=True)
def longest_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the most that may be drawn."""

    class Longest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return max(a, b)

    monkeypatch.setattr(backoff, "random", Longest())


def pile(chain: str = "lead:31", *, failures: int = 0, crashes: int = 0) -> Pile:
    return Pile(Lease(9, chain, "t-1", 1, failures, failures, crashes, b"item"), [])


def later(*, asked_at: datetime | None = None) -> Later:
    return Later(Step(9, "e-2", "shop.won", "d-2"), clock=lambda: asked_at or datetime.now(UTC))


def prices(*values: int, lead: int = 31) -> tuple[Write, ...]:
    """Patches of a lead's price."""
    asked = later()
    for price in values:
        asked.leads.update(lead, price=price)
    return asked.writes


def orders(*names: str) -> list[Write]:
    """New leads."""
    asked = later()
    for name in names:
        asked.leads.create(name=name)
    return list(asked.writes)


def loaded(*writes: Sequence[Write], failures: int = 0) -> tuple[list[Load], Batch]:
    loads = [Load(pile(own[0].chain, failures=failures), own) for own in writes]
    return loads, pack([load.writes for load in loads])


def error(kind: type[ApiError], **given: Any) -> ApiError:
    return kind("said Kommo", **{**CALL, **given})


def named_bad(*places: int) -> ApiError:
    return error(BadRequest, status=400, items={str(place): ("name: Too long.",) for place in places})


def summary(outcome: PileOutcome) -> tuple[str, int, str, int]:
    return outcome.verb, outcome.done, outcome.mark, outcome.marked


class TestWhatIsReady:
    def sorted(
        self, writes: Sequence[Write], results: Mapping[str, str], **lease: int
    ) -> tuple[list[Load], list[PileOutcome]]:
        return sort_out([(pile(**lease), writes)], results)

    def with_reference(self, asked_at: datetime | None = None) -> tuple[Write, Write]:
        asked = later(asked_at=asked_at)
        lead = asked.leads.create(name="Order")
        asked.tasks.create(entity=lead, text="Call", due_in=timedelta(hours=1))
        return asked.writes[0], asked.writes[1]

    def test_what_needs_nothing_goes(self) -> None:
        ((load,), outcomes) = self.sorted(prices(1, 2), {})
        assert [write.body["price"] for write in load.writes] == [1, 2]
        assert outcomes == []

    def test_what_needs_a_result_that_is_there_goes_with_the_id(self) -> None:
        lead, task = self.with_reference()
        ((load,), _) = self.sorted([task], {lead.id: "77"})
        assert load.head.body["entity_id"] == 77

    def test_what_needs_one_that_is_not_there_yet_waits_a_moment(self) -> None:
        _, task = self.with_reference()
        loads, (outcome,) = self.sorted([task], {})
        assert loads == []
        assert (outcome.verb, outcome.delay_ms) == ("postpone", 200)

    def test_what_needs_one_that_failed_is_given_up_and_so_is_who_needs_that(self) -> None:
        lead, task = self.with_reference()
        _, (outcome,) = self.sorted([task], {lead.id: FAILED})
        assert summary(outcome) == ("dead", 1, "", 0)
        assert outcome.dead[0].reason == "depends_on_failed"
        assert outcome.results == {task.id: FAILED}

    def test_what_needs_one_that_nobody_remembers_is_given_up(self) -> None:
        _, task = self.with_reference(datetime.now(UTC) - timedelta(days=8))
        _, (outcome,) = self.sorted([task], {})
        assert outcome.dead[0].reason == "depends_on_lost"

    def test_those_behind_one_that_waits_wait_too(self) -> None:
        _, task = self.with_reference()
        other = later()
        other.tasks.create(entity=("lead", 31), text="Write", due_in=timedelta(hours=1))
        ((load,), outcomes) = self.sorted([other.writes[0], task, other.writes[0]], {})
        assert len(load.writes) == 1
        assert outcomes == [], "the pile is recorded once, with what was sent of it"

    def test_what_killed_its_senders_again_and_again_is_given_up(self) -> None:
        _, (outcome,) = self.sorted(prices(1), {}, crashes=ATTEMPTS)
        assert outcome.dead[0].reason == "crashed"
        loads, _ = self.sorted(prices(1), {}, crashes=ATTEMPTS - 1)
        assert len(loads) == 1


class TestDone:
    def answer(self, *items: dict[str, Any]) -> dict[str, Any]:
        return {"_embedded": {"leads": list(items)}}

    def test_every_write_gets_the_id_that_its_request_id_brought(self) -> None:
        first, second, third = orders("A", "B", "C")
        loads, batch = loaded([first, second], [third])
        said = [{"id": 100 + place, "request_id": str(place)} for place in (2, 0, 1)]
        one, other = done(loads, batch, self.answer(*said))
        assert (summary(one), summary(other)) == (("done", 2, "", 0), ("done", 1, "", 0))
        assert {**one.results, **other.results} == {first.id: "100", second.id: "101", third.id: "102"}

    @pytest.mark.parametrize("id_", [None, "uuid-5", {}])
    def test_a_creation_without_a_number_is_kept_for_a_person_and_whoever_needs_it_is_told(self, id_: object) -> None:
        loads, batch = loaded(orders("A"))
        (outcome,) = done(loads, batch, self.answer({"id": id_, "request_id": "0"}))
        assert (outcome.verb, outcome.dead[0].reason) == ("dead", "in_doubt")
        assert list(outcome.results.values()) == [FAILED]

    def test_a_creation_that_is_not_mentioned_is_looked_for_where_it_can_be(self) -> None:
        asked = later()
        for text in ("A", "B", "C"):
            asked.notes.create(entity=("lead", 31), text=text)
        loads, batch = loaded(asked.writes)
        (outcome,) = done(
            loads, batch, {"_embedded": {"notes": [{"id": 1, "request_id": "0"}, {"id": 3, "request_id": "2"}]}}
        )
        assert (summary(outcome), outcome.results) == (("done", 1, "?", 2), {asked.writes[0].id: "1"})
        (outcome,) = done(loads, batch, {"_embedded": {"notes": [{"id": 3, "request_id": "2"}]}})
        assert summary(outcome) == ("failed", 0, "?", 3)

    def test_a_patch_that_is_passed_over_while_others_are_named_goes_alone(self) -> None:
        loads, batch = loaded(prices(1), prices(3, lead=32))
        one, other = done(loads, batch, self.answer({"id": 31, "request_id": "0"}))
        assert (summary(one), summary(other)) == (("done", 1, "", 0), ("postpone", 0, "!", 1))

    def test_an_entity_is_in_no_request_twice_under_whatever_name(self) -> None:
        by_reference, by_id = prices(1, lead=31), prices(2, lead=31)
        loads, outcomes = sort_out([(pile("new:x"), by_reference), (pile(), by_id)], {})
        assert (len(loads), [summary(outcome) for outcome in outcomes]) == (1, [("postpone", 0, "", 0)])

    def test_patches_are_done_together_and_bring_no_result(self) -> None:
        loads, batch = loaded(prices(1, 2), prices(3, lead=32))
        outcomes = done(loads, batch, self.answer())
        assert [summary(outcome) for outcome in outcomes] == [("done", 2, "", 0), ("done", 1, "", 0)]
        assert all(outcome.results == {} for outcome in outcomes)

    def test_what_was_found_is_done_with_the_id_that_was_found(self) -> None:
        (load,), _ = loaded(orders("A"))
        outcome = found(load, 55)
        assert (summary(outcome), outcome.results) == (("done", 1, "", 0), {load.head.id: "55"})


class TestABadItem:
    def test_is_taken_out_and_the_rest_goes_again_at_once(self) -> None:
        writes = orders("A", "B", "C")
        loads, batch = loaded(*([write] for write in writes))
        outcomes = failed(loads, batch, named_bad(1))
        assert [summary(outcome) for outcome in outcomes] == [
            ("postpone", 0, "", 0),
            ("dead", 1, "", 0),
            ("postpone", 0, "", 0),
        ]
        assert [outcome.delay_ms for outcome in outcomes] == [0, 0, 0]
        (letter,) = outcomes[1].dead
        assert (letter.reason, letter.id, letter.handler) == ("refused", writes[1].id, "shop.won")
        assert outcomes[1].results == {writes[1].id: FAILED}

    def test_of_a_merged_patch_sends_its_writes_singly(self) -> None:
        loads, batch = loaded(prices(1, 2, 3), prices(4, lead=32))
        merged, other = failed(loads, batch, named_bad(0))
        assert summary(merged) == ("postpone", 0, "!", 3)
        assert summary(other) == ("postpone", 0, "", 0)

    def test_behind_good_ones_of_its_entity_lets_all_up_to_it_go_singly(self) -> None:
        loads, batch = loaded(orders("A", "B", "C"))
        (outcome,) = failed(loads, batch, named_bad(1))
        assert summary(outcome) == ("postpone", 0, "!", 2)

    def test_that_nobody_knows_lets_all_go_singly(self) -> None:
        loads, batch = loaded(*([write] for write in orders("A", "B")))
        outcomes = failed(loads, batch, named_bad(9))
        assert [summary(outcome) for outcome in outcomes] == [("postpone", 0, "!", 1)] * 2

    def test_alone_is_given_up(self) -> None:
        loads, batch = loaded(prices(1))
        (outcome,) = failed(loads, batch, named_bad(0))
        assert outcome.dead[0].reason == "refused"


class TestARefusal:
    @pytest.mark.parametrize(("kind", "status"), [(BadRequest, 400), (Forbidden, 403), (NotFound, 404)])
    def test_of_several_lets_each_go_alone(self, kind: type[ApiError], status: int) -> None:
        loads, batch = loaded(prices(1, 2), prices(3, lead=32))
        outcomes = failed(loads, batch, error(kind, status=status))
        assert [summary(outcome) for outcome in outcomes] == [("postpone", 0, "!", 2), ("postpone", 0, "!", 1)]

    @pytest.mark.parametrize(("kind", "status"), [(BadRequest, 400), (Forbidden, 403), (NotFound, 404)])
    def test_of_one_gives_it_up_with_kommos_words(self, kind: type[ApiError], status: int) -> None:
        loads, batch = loaded(prices(1))
        (outcome,) = failed(loads, batch, error(kind, status=status))
        assert outcome.dead[0].reason == "refused"
        assert "said Kommo" in outcome.dead[0].error
        assert outcome.dead[0].traceback

    def test_before_it_was_sent_is_one_too(self) -> None:
        loads, batch = loaded(prices(1))
        (outcome,) = failed(loads, batch, RequestError("cannot be sent"))
        assert outcome.dead[0].reason == "refused"

    def test_a_fault_of_ours_keeps_the_write_for_a_person(self) -> None:
        loads, _ = loaded(prices(1))
        (outcome,) = failed(loads, None, ZeroDivisionError("oops"))
        assert outcome.dead[0].reason == "sending_failed"


class TestNotNow:
    @pytest.mark.parametrize(
        "kind", [RateLimited, Blocked, PaymentRequired, Unauthorized, AccessEnded], ids=lambda kind: kind.__name__
    )
    def test_what_is_no_writes_fault_counts_for_none(self, kind: type[ApiError]) -> None:
        loads, batch = loaded(prices(1), failures=ATTEMPTS)
        (outcome,) = failed(loads, batch, error(kind))
        assert (summary(outcome), outcome.delay_ms) == (("postpone", 0, "", 0), 0)

    def test_redis_being_away_is_waited_out(self) -> None:
        loads, batch = loaded(orders("A"))
        (outcome,) = failed(loads, batch, StoreUnavailable("gone"))
        assert (summary(outcome), outcome.delay_ms) == (("failed", 0, "", 0), 2000)


class TestTooMuchAtOnce:
    """A 504 says nothing of what was done before Kommo's time was up."""

    def orders(self, marker: str | None = None, on_doubt: str = "look") -> list[Write]:
        """Two new leads."""
        asked = later()
        for name in ("Order 31", "Order 32"):
            asked.leads.create(name=name, marker=marker)
        return [replace(write, on_doubt=on_doubt) for write in asked.writes]

    def outcomes(self, *writes: Sequence[Write], failures: int = 0) -> list[PileOutcome]:
        loads, batch = loaded(*writes, failures=failures)
        return failed(loads, batch, error(Overloaded, status=504))

    def test_patches_are_sent_again_and_it_counts_for_none(self) -> None:
        outcomes = self.outcomes(prices(1, 2), prices(2, lead=32), failures=ATTEMPTS)
        assert [summary(outcome) for outcome in outcomes] == [("postpone", 0, "", 0)] * 2
        assert [outcome.delay_ms for outcome in outcomes] == [0, 0]

    @pytest.mark.parametrize(
        ("marker", "on_doubt", "mark"),
        [
            ("name", "look", "?"),
            (None, "look", ""),
            ("name", "repeat", ""),
            (None, "repeat", ""),
            # What is wanted parked becomes a dead letter when its turn comes, unsent.
            ("name", "park", "?"),
            (None, "park", "?"),
        ],
    )
    def test_new_leads_are_in_doubt_where_they_can_be_looked_for_or_are_wanted_parked(
        self, marker: str | None, on_doubt: str, mark: str
    ) -> None:
        outcomes = self.outcomes(*([write] for write in self.orders(marker, on_doubt)), failures=ATTEMPTS)
        assert [summary(outcome) for outcome in outcomes] == [("postpone", 0, mark, 1 if mark else 0)] * 2
        assert [outcome.delay_ms for outcome in outcomes] == [0, 0]

    def test_tasks_and_notes_are_in_doubt_all_that_went_of_their_entity(self) -> None:
        asked = later()
        for text in ("Call", "Write", "Visit"):
            asked.tasks.create(entity=("lead", 31), text=text, due_in=timedelta(hours=1))
        asked.notes.create(entity=("lead", 32), text="Called")
        asked.notes.create(entity=("lead", 32), text="Written")
        assert summary(self.outcomes(asked.writes[:3])[0]) == ("postpone", 0, "?", 3)
        assert summary(self.outcomes(asked.writes[3:])[0]) == ("postpone", 0, "?", 2)

    def test_each_is_judged_by_itself(self) -> None:
        (found, _), (repeated, _) = self.orders("name"), self.orders()
        assert [outcome.mark for outcome in self.outcomes([found], [repeated])] == ["?", ""]

    def test_one_that_is_too_much_alone_has_failed(self) -> None:
        (outcome,) = self.outcomes(prices(1))
        assert summary(outcome) == ("failed", 0, "", 0)
        (outcome,) = self.outcomes(self.orders("name")[:1])
        assert summary(outcome) == ("failed", 0, "?", 1)

    def test_and_is_given_up_in_the_end(self) -> None:
        (outcome,) = self.outcomes(prices(1), failures=ATTEMPTS - 1)
        assert (outcome.verb, outcome.dead[0].reason) == ("dead", "attempts_exhausted")


class TestAgain:
    @pytest.mark.parametrize(("failures", "seconds"), [(0, 2), (1, 4), (4, 32), (ATTEMPTS - 2, 900)])
    def test_a_failure_waits_longer_each_time(self, failures: int, seconds: int) -> None:
        loads, batch = loaded(prices(1), failures=failures)
        (outcome,) = failed(loads, batch, error(ServerError, status=500))
        assert (outcome.verb, outcome.delay_ms) == ("failed", seconds * 1000)

    def test_or_as_long_as_kommo_says(self) -> None:
        loads, batch = loaded(prices(1))
        (outcome,) = failed(loads, batch, error(Conflict, status=409, after=70.0))
        assert outcome.delay_ms == 71_000

    def test_and_ends_after_sixteen_times(self) -> None:
        loads, batch = loaded(prices(1), failures=ATTEMPTS - 1)
        (outcome,) = failed(loads, batch, error(ServerError, status=500))
        assert (outcome.verb, outcome.dead[0].reason) == ("dead", "attempts_exhausted")

    @pytest.mark.parametrize(
        ("failure", "mark"),
        [
            (error(Unreachable, code=NO_ANSWER), "?"),
            (error(Unreachable, code=NOT_SENT), ""),
            (error(ServerError, status=500), "?"),
            (error(ServerError, status=200), "?"),
            (error(ServerError, status=502), "?"),
            (error(ServerError, status=503), ""),
            (error(ServerError, status=400), ""),
            (error(Conflict, status=409), ""),
        ],
        ids=str,
    )
    def test_a_creation_that_kommo_may_have_done_is_in_doubt(self, failure: ApiError, mark: str) -> None:
        loads, batch = loaded(orders("A", "B"), orders("C"))
        outcomes = failed(loads, batch, failure)
        assert [outcome.mark for outcome in outcomes] == [mark, mark]
        assert not mark or [outcome.marked for outcome in outcomes] == [2, 1]

    def test_a_patch_never_is_since_it_can_be_repeated(self) -> None:
        loads, batch = loaded(prices(1))
        (outcome,) = failed(loads, batch, error(Unreachable, code=NO_ANSWER))
        assert summary(outcome) == ("failed", 0, "", 0)
