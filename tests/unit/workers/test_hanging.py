"""Handlers over their time: given up once, counted when they do not come back, and the end when they are too many."""

from contextlib import ExitStack
from functools import partial

import pytest

from kommo.errors import StoreUnavailable
from kommo.store.chains import Lease
from tests.integration.workers.logs import logged
from workers import hanging
from workers.hanging import Hanging, Underway
from workers.solitude import Solitude


def underway(given_up: list[str], *, seconds: float = 0.0, handler: str = "shop.h") -> Underway:
    return Underway(Lease(1, f"lead:1:{handler}", "t", 1, 0, 0, 0, b""), handler, seconds, given_up.append)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever is over its time hang from that moment on."""
    monkeypatch.setattr(hanging, "GRACE_SECONDS", 0.0)


def test_a_handler_within_its_time_is_left_alone() -> None:
    watch, given_up = Hanging(4, Solitude()), list[str]()
    with watch.timing(underway(given_up, seconds=60)):
        watch.look()
    assert given_up == []


def test_one_over_its_time_is_given_up_once_and_told_where_it_is() -> None:
    watch, given_up = Hanging(4, Solitude()), list[str]()
    with watch.timing(underway(given_up)):
        watch.look()
        watch.look()
    (where,) = given_up
    assert "test_one_over_its_time" in where
    assert "File" in where


def test_one_that_came_back_is_forgotten() -> None:
    watch, given_up = Hanging(4, Solitude()), list[str]()
    with watch.timing(underway(given_up)):
        pass
    watch.look()
    assert given_up == []


def test_giving_up_is_tried_again_while_redis_is_away() -> None:
    answers: list[Exception | None] = [StoreUnavailable("away"), StoreUnavailable("away"), None]
    told: list[str] = []

    def give_up(where: str) -> None:
        if answer := answers.pop(0):
            raise answer
        told.append(where)

    watch = Hanging(4, Solitude())
    with watch.timing(Underway(Lease(1, "c", "t", 1, 0, 0, 0, b""), "h", 0.0, give_up)):
        for _ in range(5):
            watch.look()
    assert len(told) == 1
    assert answers == []


def test_while_redis_is_away_one_look_asks_once_and_the_next_begins_with_another() -> None:
    asked: list[int] = []

    def give_up(number: int, _: str) -> None:
        asked.append(number)
        raise StoreUnavailable("away")

    watch = Hanging(99, Solitude())
    with ExitStack() as handlers:
        for number in range(13):
            lease = Lease(1, f"c{number}", "t", 1, 0, 0, 0, b"")
            handlers.enter_context(watch.timing(Underway(lease, "h", 0.0, partial(give_up, number))))
        for look in range(1, 14):
            watch.look()
            assert len(asked) == look
    assert sorted(asked) == list(range(13))


@pytest.mark.usefixtures("at_once")
def test_a_process_full_of_hanging_handlers_ends_while_redis_is_away_too() -> None:
    def give_up(_: str) -> None:
        raise StoreUnavailable("away")

    watch, ended = Hanging(4, Solitude()), list[str]()
    watch.end = lambda: ended.append("ended")
    lease = Lease(1, "c", "t", 1, 0, 0, 0, b"")
    with watch.timing(Underway(lease, "h", 0.0, give_up)), watch.timing(Underway(lease, "h", 0.0, give_up)):
        watch.look()
    assert ended == ["ended"]


def test_one_that_cannot_be_given_up_at_all_keeps_nobody_else_from_it_and_says_so_once() -> None:
    def fail(_: str) -> None:
        raise LookupError("no such field")

    watch = Hanging(9, Solitude())
    lease = Lease(1, "c", "t", 1, 0, 0, 0, b"")
    with logged() as lines, ExitStack() as handlers:
        given_up = list[str]()
        for give_up in (fail, given_up.append, fail):
            handlers.enter_context(watch.timing(Underway(lease, "h", 0.0, give_up)))
        watch.look()
        watch.look()
    assert len(given_up) == 1
    assert len(lines.saying("time is over, and it cannot be noted")) == 2


@pytest.mark.parametrize(("loops", "bearable"), [(1, 1), (2, 1), (3, 1), (4, 2), (13, 6)])
def test_half_of_the_run_loops_may_hang_but_not_the_only_one(loops: int, bearable: int) -> None:
    assert Hanging(loops, Solitude()).bearable == bearable


@pytest.mark.usefixtures("at_once")
def test_a_process_full_of_hanging_handlers_is_ended_once_and_names_them() -> None:
    watch, ended = Hanging(4, Solitude()), list[str]()
    watch.end = lambda: ended.append("ended")
    with logged() as lines, watch.timing(underway([], handler="shop.slow")):
        watch.look()
        assert ended == []
        with watch.timing(underway([], handler="shop.b")):
            watch.look()
            watch.look()
    assert ended == ["ended"]
    assert lines.saying("too many handlers hang: this process ends")[0]["handlers"] == ["shop.b", "shop.slow"]
    assert [line["handler"] for line in lines.saying("handler hangs")] == ["shop.slow", "shop.b"]


def test_one_that_is_late_has_a_moment_to_come_back_before_it_counts_as_hanging() -> None:
    watch, ended = Hanging(1, Solitude()), list[str]()
    watch.end = lambda: ended.append("ended")
    with watch.timing(underway([])):
        watch.look()
    assert ended == []


@pytest.mark.usefixtures("at_once")
def test_who_hangs_is_no_company_for_a_step_that_has_to_be_alone() -> None:
    solitude = Solitude()
    watch = Hanging(4, solitude)
    with solitude.together(within=0), watch.timing(underway([])), solitude.claiming() as claim:
        assert claim is not None
        assert not claim.alone_within(0, unless=lambda: False)
        watch.look()
        assert claim.alone_within(0, unless=lambda: False)


@pytest.mark.usefixtures("at_once")
def test_who_hangs_lets_the_others_in_again() -> None:
    solitude = Solitude()
    watch = Hanging(4, solitude)
    with solitude.claiming(), watch.timing(underway([])):
        assert not solitude.is_open()
        watch.look()
        assert solitude.is_open()


def test_a_thread_that_is_gone_is_nowhere() -> None:
    told: list[str] = []
    watch = Hanging(4, Solitude())
    with watch.timing(Underway(Lease(1, "c", "t", 1, 0, 0, 0, b""), "h", 0.0, told.append, thread=-1)):
        watch.look()
    assert told == [""]
