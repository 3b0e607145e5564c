"""Handlers over their time: given up once, counted when they do not come back, and the end when they are too many."""

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


def test_a_thread_that_is_gone_is_nowhere() -> None:
    told: list[str] = []
    watch = Hanging(4, Solitude())
    with watch.timing(Underway(Lease(1, "c", "t", 1, 0, 0, 0, b""), "h", 0.0, told.append, thread=-1)):
        watch.look()
    assert told == [""]
