"""Leaving: what is done first and last, when it ends, and with which code."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from tests.integration.workers.logs import logged
from tests.waiting import wait_for
from workers import leaving
from workers.guard import Guard, Orphan
from workers.leaving import Leaving


class Process:
    """What a process does when it leaves, in order, by a clock that stands still until it is set."""

    def __init__(self, *, idle: bool = False, last: Callable[[], None] | None = None) -> None:
        self.did: list[str] = []
        self.idle = idle
        self.now = 100.0
        self.leaving = Leaving(
            first=lambda: self.did.append("stops taking"),
            last=last or (lambda: self.did.append("hands back")),
            is_idle=lambda: self.idle,
            end=lambda code: self.did.append(f"ends {code}"),
            clock=lambda: self.now,
        )

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds
        self.leaving.look()


def test_nothing_happens_before_it_is_told_to_leave() -> None:
    process = Process(idle=True)
    process.leaving.look()
    process.pass_seconds(1000)
    assert process.did == []


def test_it_stops_taking_at_once_and_hands_back_and_ends_after_eight_seconds() -> None:
    process = Process()
    process.leaving.begin()
    process.leaving.look()
    process.pass_seconds(7.9)
    assert process.did == ["stops taking"]
    process.pass_seconds(0.2)
    assert process.did == ["stops taking", "hands back", "ends 0"]


def test_told_again_it_does_not_stay_longer_and_told_to_hurry_it_does() -> None:
    process = Process()
    process.leaving.begin()
    process.leaving.look()
    process.pass_seconds(5)
    process.leaving.begin()
    process.pass_seconds(3.1)
    assert process.did[-1] == "ends 0"

    hasty = Process()
    hasty.leaving.begin()
    hasty.leaving.look()
    hasty.leaving.begin(at_once=True)
    hasty.leaving.look()
    assert hasty.did == ["stops taking"] * 2, "children are told again"
    hasty.pass_seconds(0.6)
    assert hasty.did[-1] == "ends 0"


def test_one_that_ends_of_itself_says_so_by_its_code_whoever_tells_it_as_well() -> None:
    process = Process()
    process.leaving.begin(code=1)
    process.leaving.begin()
    process.leaving.look()
    process.pass_seconds(9)
    assert process.did[-1] == "ends 1"


def test_it_ends_even_if_nothing_can_be_handed_back() -> None:
    def fail() -> None:
        raise OSError

    process = Process(last=fail)
    process.leaving.begin(at_once=True)
    process.leaving.look()
    with logged() as lines:
        process.pass_seconds(1)
    assert process.did[-1] == "ends 0"
    assert lines.saying("left without a word")


def test_it_ends_even_if_redis_hangs_while_it_hands_back() -> None:
    answer = threading.Event()
    process = Process(last=lambda: assert_set(answer))
    process.leaving.begin()
    process.leaving.look()
    began = time.monotonic()
    with logged() as lines:
        process.pass_seconds(9)
    assert time.monotonic() - began < leaving.FAREWELL_SECONDS + 1
    assert process.did[-1] == "ends 0"
    assert lines.saying("left without a word")
    answer.set()


def assert_set(answer: threading.Event) -> None:
    assert answer.wait(30)


def test_every_way_to_leave_is_over_within_its_time() -> None:
    look_seconds = 0.1
    for seconds, allowed in (
        (leaving.PATIENCE_SECONDS, 10),
        (leaving.PARENT_SECONDS, 10),
        (leaving.AT_ONCE_SECONDS, 2),
        (leaving.PARENT_AT_ONCE_SECONDS, 2),
    ):
        assert seconds + look_seconds + leaving.FAREWELL_SECONDS <= allowed
    between = look_seconds * 2 + leaving.FAREWELL_SECONDS
    assert leaving.PATIENCE_SECONDS + between < leaving.PARENT_SECONDS, "children have gone before their parent"
    assert leaving.AT_ONCE_SECONDS + between < leaving.PARENT_AT_ONCE_SECONDS


def test_a_child_with_nothing_to_do_ends_at_the_second_look_that_finds_it_idle() -> None:
    process = Process()
    process.leaving.begin()
    process.leaving.look()
    process.idle = True
    process.leaving.look()
    process.idle = False
    process.leaving.look()
    process.idle = True
    process.leaving.look()
    assert process.did == ["stops taking"]
    process.leaving.look()
    assert process.did == ["stops taking", "ends 0"]


def test_a_duty_that_fails_does_not_keep_the_others_from_being_done() -> None:
    done: list[int] = []

    def faulty() -> None:
        raise ZeroDivisionError

    guard = Guard(faulty, lambda: done.append(1))
    guard.start()
    try:
        wait_for(lambda: len(done) > 2, what="the other duty goes on")
    finally:
        guard.stop()


def test_a_child_whose_parent_is_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    orphan = Orphan(ended.append)
    orphan.look()
    assert ended == []
    monkeypatch.setattr(os, "getppid", lambda: 1)
    orphan.look()
    assert ended == [1]


def test_a_process_in_which_nothing_can_run_is_ended_and_says_what_it_did() -> None:
    code = (
        "import re, threading; from workers import guard; guard.STUCK_SECONDS = 0.5; guard.Deadman().look();"
        "re.match('(a+)+$', 'a' * 40 + 'b')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "in match" in done.stderr
