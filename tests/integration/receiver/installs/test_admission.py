"""How much of the receiver strangers can have: codes in numbers, states that are used up, browsers that wait."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from receiver.installs import admission as admission_module
from receiver.installs import installing
from receiver.installs.admission import A_MINUTE, A_MINUTE_OF_ONE, WAITS_A_MINUTE, Admission, Verdict
from receiver.installs.errands import Errand, Errands
from receiver.installs.installing import install_id
from tests.integration.receiver.installs.surroundings import Visit, Visitor, doors_of, impatient, title
from tests.waiting import wait_for

MINUTE = 1_795_000_020.0


@pytest.fixture
def errands(redis: Redis) -> Errands:
    return Errands(redis)


@pytest.fixture
def admission(errands: Errands, monkeypatch: pytest.MonkeyPatch) -> Admission:
    """One whose clock stands still."""
    monkeypatch.setattr(time, "time", lambda: MINUTE)
    return Admission(errands, "install")


def due_in(redis: Redis, code: str) -> float:
    due_ms: Any = redis.zscore("kommo:{errands}:due", install_id(code))
    return float(due_ms) / 1000 - time.time()


class TestOneBrowser:
    def person(self, admission: Admission, number: int, browser: str = "cookie") -> Verdict:
        return admission.person(state=f"state-{number}", browser=browser, errand_id=f"install:{number}")

    def test_may_bring_a_few_codes_a_minute(self, admission: Admission) -> None:
        verdicts = [self.person(admission, number) for number in range(A_MINUTE_OF_ONE + 1)]
        assert verdicts == [Verdict.WELCOME] * A_MINUTE_OF_ONE + [Verdict.MANY]
        assert self.person(admission, 100, "another") is Verdict.WELCOME

    def test_shares_with_all_others_what_is_taken_within_a_minute(self, admission: Admission) -> None:
        verdicts = [self.person(admission, number, f"cookie-{number}") for number in range(A_MINUTE + 1)]
        assert verdicts == [Verdict.WELCOME] * A_MINUTE + [Verdict.MANY]

    def test_that_was_turned_away_has_not_used_its_state_up(
        self, admission: Admission, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(A_MINUTE_OF_ONE + 1):
            self.person(admission, number)
        monkeypatch.setattr(time, "time", lambda: MINUTE + 60)
        assert admission.person(state="state-5", browser="cookie", errand_id="install:other") is Verdict.WELCOME

    def test_that_comes_again_with_the_same_code_spends_nothing(self, admission: Admission, errands: Errands) -> None:
        assert self.person(admission, 1) is Verdict.WELCOME
        errands.add(Errand("install:1", MINUTE + 60, {}))
        assert [self.person(admission, 1) for _ in range(A_MINUTE)] == [Verdict.SEEN] * A_MINUTE
        assert self.person(admission, 2) is Verdict.WELCOME

    def test_whose_installation_could_not_be_written_down_may_bring_its_code_again(self, admission: Admission) -> None:
        assert [self.person(admission, 1) for _ in range(2)] == [Verdict.WELCOME] * 2

    def test_leaves_behind_nothing_that_a_stranger_could_heap_up(self, admission: Admission, redis: Redis) -> None:
        self.person(admission, 1)
        known = len(redis.keys("*"))
        for number in range(20):
            admission.person(state="state-1", browser=f"cookie-{number}", errand_id=f"install:x{number}")
        assert len(redis.keys("*")) == known
        assert [key for key in redis.keys("*") if redis.ttl(key) < 0] == []


class TestAState:
    def test_is_good_for_one_code(self, visitor: Visitor) -> None:
        state = visitor.start()["state"]
        assert title(visitor.arrive(state=state)) == "The account is connected"
        answer = visitor.arrive(state=state, code="another")
        assert (answer.status_code, title(answer)) == (400, "This start was used already")
        assert visitor.box.token_calls["authorization_code"]["asked"] == 1

    def test_shows_the_same_installation_however_often_its_code_comes(self, visitor: Visitor) -> None:
        state, code = visitor.start()["state"], visitor.box.code()
        pages = {title(visitor.arrive(state=state, code=code)) for _ in range(A_MINUTE_OF_ONE * 2)}
        assert pages == {"The account is connected"}
        assert visitor.box.token_calls["authorization_code"] == {"asked": 1, "granted": 1}


class TestVisitsAboveTheLimit:
    def test_of_a_browser_are_told_to_wait_and_nothing_is_asked(self, visitor: Visitor) -> None:
        answers = [visitor.arrive(code=f"guess{number}") for number in range(A_MINUTE_OF_ONE + 1)]
        assert [answer.status_code for answer in answers] == [400] * A_MINUTE_OF_ONE + [429]
        assert title(answers[-1]) == "Too many installations at once"
        assert visitor.box.token_calls["authorization_code"]["asked"] == A_MINUTE_OF_ONE

    def test_of_widgets_are_kept_and_done_later(self, visitor: Visitor, redis: Redis) -> None:
        visitor.box.fault(path="/oauth2/access_token", status=500, times=None)
        answers = [visitor.widget(code=f"guess{number}").status_code for number in range(A_MINUTE_OF_ONE + 1)]
        assert answers == [202] * (A_MINUTE_OF_ONE + 1)
        assert due_in(redis, f"guess{A_MINUTE_OF_ONE}") > 50

    def test_of_one_widgets_account_do_not_delay_anothers(self, visitor: Visitor) -> None:
        for number in range(A_MINUTE_OF_ONE + 1):
            visitor.widget(code=f"guess{number}")
        visitor.widget(referer="other.kommo.com")
        wait_for(visitor.stored)

    @pytest.mark.parametrize("way", ["person", "widget"])
    def test_are_turned_away_while_as_many_are_under_way_as_there_may_be(
        self, visitor: Visitor, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        code, state = visitor.box.code(), visitor.start()["state"]
        arrive: Callable[[], Any] = {
            "person": lambda: visitor.arrive(code=code, state=state),
            "widget": lambda: visitor.widget(code=code),
        }[way]
        monkeypatch.setattr(admission_module, "MOST_UNDER_WAY", 0)
        answer = arrive()
        assert (answer.status_code, title(answer)) == (503, "Too many installations are waiting")
        assert (visitor.errands(), visitor.box.token_calls) == (0, {})
        monkeypatch.setattr(admission_module, "MOST_UNDER_WAY", 1)
        assert arrive().status_code in {200, 202}
        wait_for(visitor.stored)

    def test_disconnect_calls_take_no_place_of_installations(self, errands: Errands, admission: Admission) -> None:
        errands.add(Errand("disconnect:1", MINUTE + 60, {}))
        assert errands.waiting("install") == 0
        errands.add(Errand("install:1", MINUTE + 60, {}))
        assert (errands.waiting("install"), admission.is_full()) == (1, False)


class TestWaitingForTheOutcome:
    @pytest.fixture
    def slow(self, visit: Visit) -> Visitor:
        """A receiver whose browsers would wait for half a minute, since Kommo answers nothing."""
        visitor = visit()
        visitor.box.fault(path="/oauth2/access_token", status=500, times=None)
        impatient(visitor.app, seconds=30)
        return visitor

    def at_once(self, visitor: Visitor, **given: str) -> bool:
        began = time.monotonic()
        answer = visitor.arrive(**given)
        assert (answer.status_code, title(answer)) == (202, "The installation is under way")
        assert '<meta http-equiv="refresh"' in answer.text
        return time.monotonic() - began < 5

    def test_is_for_two_requests_of_a_process_the_others_have_their_page_at_once(self, slow: Visitor) -> None:
        waiting = doors_of(slow.app).waiting
        assert [waiting.acquire(blocking=False) for _ in range(3)] == [True, True, False]
        assert self.at_once(slow)

    def test_is_for_so_many_visits_a_minute(self, slow: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(admission_module, "WAITS_A_MINUTE", 0)
        assert self.at_once(slow)

    def test_gives_its_place_back(self, visitor: Visitor) -> None:
        for _ in range(3):
            assert title(visitor.arrive()) == "The account is connected"
        waiting = doors_of(visitor.app).waiting
        assert [waiting.acquire(blocking=False) for _ in range(3)] == [True, True, False]

    def test_is_not_for_a_page_that_is_loaded_anew(self, slow: Visitor) -> None:
        code, state = slow.box.code(), slow.start()["state"]
        impatient(slow.app, seconds=0.05)
        assert self.at_once(slow, code=code, state=state)
        impatient(slow.app, seconds=30)
        assert self.at_once(slow, code=code, state=state)

    def test_is_counted_in_all(self, admission: Admission) -> None:
        assert [admission.may_wait() for _ in range(WAITS_A_MINUTE + 1)] == [True] * WAITS_A_MINUTE + [False]


def test_a_code_that_kommo_does_not_answer_is_sent_three_times_and_no_more(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installing, "_EXCHANGE_RESTS", (0.01, 0.01))
    visitor.box.fault(path="/oauth2/access_token", status=502, times=None)
    answer = visitor.arrive()
    assert (answer.status_code, title(answer)) == (504, "Kommo could not be reached in time")
    assert len(visitor.box.requests(path="/oauth2/access_token", status=502)) == 3
    assert visitor.errands() == 0


def test_an_exchange_that_had_no_turn_has_not_used_up_a_try(visitor: Visitor, redis: Redis) -> None:
    """Kommo has asked for a pause: nothing goes out, and the code is kept."""
    visitor.box.fault(path="/oauth2/access_token", status=429, times=1, headers={"Retry-After": "60"})
    code = visitor.box.code()
    visitor.widget(code=code)
    wait_for(lambda: visitor.box.requests(path="/oauth2/access_token") and due_in(redis, code) > 10)
    installer = doors_of(visitor.app).installer
    first = Errands(redis).look(install_id(code))
    assert first is not None
    again: Any = installer(first)
    installer.calls.rest()
    assert (first.record["sent"], again.errand.record["sent"]) == (1, 1)
    assert len(visitor.box.requests(path="/oauth2/access_token")) == 1


def test_codes_are_sent_so_many_a_minute_and_wait_for_the_next_one(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, redis: Redis
) -> None:
    monkeypatch.setattr(admission_module, "EXCHANGES_A_MINUTE", 0)
    code = visitor.box.code()
    visitor.widget(code=code)
    wait_for(lambda: not redis.exists(f"kommo:{{errands}}:held:{install_id(code)}"))
    assert (visitor.errands(), visitor.box.token_calls) == (1, {})
    assert due_in(redis, code) <= 60
