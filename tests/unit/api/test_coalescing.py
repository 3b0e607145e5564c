"""Identical reads at the same time are one request; nothing is kept across time."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Lock, Thread

import pytest

from kommo.api.coalescing import Coalescer, SingleFlight
from kommo.api.per_account import PerAccount
from kommo.errors import Forbidden, RequestError

MANY = 8
WAIT = 10


class Held:
    """A `send` whose reads wait until they are let go."""

    def __init__(self):
        self.calls = []
        self.began = Event()
        self.go = Event()
        self.error = None
        self.lock = Lock()

    def __call__(self, method, path, params=None, json=None, headers=None):
        with self.lock:
            self.calls.append((method, path, params, json, headers))
            number = len(self.calls)
        self.began.set()
        assert method != "GET" or self.go.wait(WAIT)
        if self.error is not None:
            raise self.error
        return {"number": number, "list": [1]}


@pytest.fixture
def held():
    return Held()


def joined_by(flights, count):
    """Wait until so many threads have joined the one flight."""
    while True:
        with flights._lock:
            if sum(flight.joined for flight in flights._under_way.values()) >= count:
                return


def ask_together(held, coalescer, ask):
    """One thread leads, the others join while it waits; then it is let go."""
    with ThreadPoolExecutor(MANY) as pool:
        first = pool.submit(ask)
        assert held.began.wait(WAIT)
        others = [pool.submit(ask) for _ in range(MANY - 1)]
        joined_by(coalescer._reads, MANY - 1)
        held.go.set()
        return [first, *others]


def test_threads_that_ask_the_same_get_one_answer(held):
    coalescer = Coalescer(held)
    asked = ask_together(held, coalescer, lambda: coalescer("GET", "/api/v4/leads", {"filter": {"id": [1]}}))
    assert [future.result() for future in asked] == [{"number": 1, "list": [1]}] * MANY
    assert len(held.calls) == 1


def test_each_may_change_its_answer_without_the_others_seeing_it(held):
    coalescer = Coalescer(held)
    answers = [future.result() for future in ask_together(held, coalescer, lambda: coalescer("GET", "/api/v4/x"))]
    for answer in answers:
        answer["list"].append(2)
    assert all(answer["list"] == [1, 2] for answer in answers)


def test_an_error_is_shared_too_and_not_kept(held):
    held.error = Forbidden("no", method="GET", path="/api/v4/users")
    coalescer = Coalescer(held)
    asked = ask_together(held, coalescer, lambda: coalescer("GET", "/api/v4/users"))
    assert [future.exception() for future in asked] == [held.error] * MANY
    assert len(held.calls) == 1
    held.error = None
    assert coalescer("GET", "/api/v4/users")["number"] == 2


def test_one_after_the_other_each_asks_for_itself(held):
    held.go.set()
    coalescer = Coalescer(held)
    assert [coalescer("GET", "/api/v4/leads")["number"] for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    "call",
    [
        ("GET", "/api/v4/contacts"),
        ("GET", "/api/v4/leads", {"page": 2}),
        ("GET", "/api/v4/leads", None, None, {"If-Modified-Since": "x"}),
        ("GET", "/api/v4/leads", None, {}),
    ],
)
def test_another_read_does_not_join(held, call):
    coalescer = Coalescer(held)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(coalescer, "GET", "/api/v4/leads")
        assert held.began.wait(WAIT)
        second = pool.submit(coalescer, *call)
        while len(held.calls) < 2:
            assert not second.done()
        held.go.set()
        assert {first.result()["number"], second.result()["number"]} == {1, 2}


def test_equal_parameters_are_the_same_read_whatever_their_shape(held):
    coalescer = Coalescer(held)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(coalescer, "GET", "/api/v4/leads", {"filter": {"id": [5]}, "with": None})
        assert held.began.wait(WAIT)
        second = pool.submit(coalescer, "GET", "/api/v4/leads", [("filter[id][]", "5")])
        joined_by(coalescer._reads, 1)
        held.go.set()
        assert first.result() == second.result()
    assert len(held.calls) == 1


def test_who_has_written_reads_anew(held):
    coalescer = Coalescer(held)
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(coalescer, "GET", "/api/v4/leads/1")
        assert held.began.wait(WAIT)
        coalescer("PATCH", "/api/v4/leads/1", None, {"price": 5})
        after = pool.submit(coalescer, "GET", "/api/v4/leads/1")
        while len(held.calls) < 3:
            assert not after.done()
        held.go.set()
        assert (before.result()["number"], after.result()["number"]) == (1, 3)


def test_writes_are_never_joined(held):
    coalescer = Coalescer(held)
    with ThreadPoolExecutor(MANY) as pool:
        calls = [pool.submit(coalescer, "POST", "/api/v4/leads", None, [{"name": "N"}]) for _ in range(MANY)]
        assert {call.result()["number"] for call in calls} == set(range(1, MANY + 1))


def test_headers_are_passed_on_only_when_there_are_any():
    seen = []

    def of_four(method, path, params, json):
        seen.append((method, path, params, json))

    Coalescer(of_four)("GET", "/api/v4/leads", {"page": 1})
    assert seen == [("GET", "/api/v4/leads", {"page": 1}, None)]


def test_parameters_that_cannot_be_sent_are_refused_as_ever(held):
    with pytest.raises(RequestError):
        Coalescer(held)("GET", "/api/v4/leads", {"filter": object()})
    assert held.calls == []


def test_a_leader_that_is_torn_away_leaves_the_work_to_those_who_wait():
    flights, began, go = SingleFlight(), Event(), Event()

    def torn():
        began.set()
        assert go.wait(WAIT)
        raise SystemExit

    def lead():
        with pytest.raises(SystemExit):
            flights.do("x", torn)

    leader = Thread(target=lead)
    leader.start()
    assert began.wait(WAIT)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(flights.do, "x", lambda: "done")
        joined_by(flights, 1)
        go.set()
        assert waiting.result(WAIT).value == "done"
    leader.join(WAIT)


def test_per_account_each_thing_is_made_once():
    made, barrier = Counter(), Barrier(MANY)

    def make(account_id):
        made[account_id] += 1
        return object()

    things = PerAccount(make)

    def ask(number):
        barrier.wait(WAIT)
        return things[number % 2]

    with ThreadPoolExecutor(MANY) as pool:
        found = list(pool.map(ask, range(MANY)))
    assert made == {0: 1, 1: 1}
    assert len(set(map(id, found))) == 2
    assert things[0] is things[0]
