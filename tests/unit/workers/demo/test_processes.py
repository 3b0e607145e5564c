"""The children: what they say is read, their death is told, and none outlives the block."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from kommo.errors import KommoError
from tests.waiting import wait_for
from workers.demo import processes
from workers.demo.processes import ChildDied, Children, Interruptions

SLEEPER = "import time; print('ready', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
TELLS_PID = f"import os; print(os.getpid(), flush=True); {SLEEPER}"


@pytest.fixture
def interruptions():
    return Interruptions()


@pytest.fixture
def children(tmp_path, interruptions):
    with Children(folder=tmp_path, environ={"PATH": os.environ["PATH"]}, interruptions=interruptions) as some:
        yield some


def said(children: Children) -> str:
    return children.lines.get(timeout=10)[1].strip()


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_what_a_child_says_is_read_with_its_name(children):
    children.start("talker", sys.executable, "-c", SLEEPER)
    assert children.lines.get(timeout=10) == ("talker", "ready\n")


def test_a_child_gets_the_environment_that_it_is_given_and_no_other(children):
    children.set({"KOMMO_X": "given"})
    children.start("teller", sys.executable, "-c", f"import os; print(sorted(os.environ)); {SLEEPER}")
    assert "KOMMO_X" in said(children)
    assert "PYTEST_CURRENT_TEST" in os.environ


def test_living_children_pass_the_check(children):
    children.start("sleeper", sys.executable, "-c", SLEEPER)
    assert said(children) == "ready"
    children.check()


def test_a_child_that_ends_is_told_of_with_the_last_it_said(children):
    children.start("faller", sys.executable, "-c", "print('first'); print('no port'); raise SystemExit(3)")
    with pytest.raises(ChildDied) as caught:
        wait_for(children.check, seconds=10)
    assert (caught.value.name, caught.value.code) == ("faller", 3)
    assert caught.value.last_lines == ("first", "no port")
    assert "no port" in str(caught.value)


def test_an_error_met_with_a_dead_child_is_told_as_its_death(children):
    children.start("faller", sys.executable, "-c", "pass")
    with pytest.raises(ChildDied, match="faller"), children.blamed():
        wait_for(lambda: children._children[0].process.poll() is not None)
        raise KommoError("connection refused")


def test_an_error_while_all_children_live_stays_what_it_is(children):
    with pytest.raises(KommoError, match="connection refused"), children.blamed():
        raise KommoError("connection refused")


def test_no_child_outlives_the_block(tmp_path, interruptions):
    with Children(folder=tmp_path, environ={}, interruptions=interruptions) as children:
        children.start("sleeper", sys.executable, "-c", TELLS_PID)
        pid = int(said(children))
        assert is_alive(pid)
    assert not is_alive(pid)


def test_a_child_that_does_not_listen_is_killed_after_the_grace(tmp_path, interruptions, monkeypatch):
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.2)
    with Children(folder=tmp_path, environ={}, interruptions=interruptions) as children:
        children.start("stubborn", sys.executable, "-c", STUBBORN)
        assert said(children) == "ready"
        process = children._children[0].process
        began = time.monotonic()
    assert process.returncode == -signal.SIGKILL
    assert time.monotonic() - began < 5


def test_a_command_is_run_to_its_end_and_its_words_are_given(children):
    assert children.run(sys.executable, "-c", "print('done')") == "done"


def test_a_command_that_fails_is_told_of_with_its_words(children):
    with pytest.raises(ChildDied, match="wrong token"):
        children.run(sys.executable, "-c", "raise SystemExit('wrong token')")


def test_a_command_that_does_not_end_is_ended(children):
    with pytest.raises(ChildDied, match=r"did not end within 0\.2 s"):
        children.run(sys.executable, "-c", SLEEPER, seconds=0.2)


@pytest.fixture
def listening(interruptions):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    interruptions.listen()
    yield interruptions
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_what_is_going_on(listening, number):
    with pytest.raises(SystemExit) as caught:
        signal.raise_signal(number)
    assert caught.value.code == 128 + number


def test_a_signal_waits_until_what_must_not_be_cut_is_through(listening):
    reached = []
    with pytest.raises(SystemExit), listening.held(), listening.held():
        signal.raise_signal(signal.SIGTERM)
        reached.append("end of the block")
    assert reached == ["end of the block"]


def test_signals_do_not_disturb_the_cleaning_up(listening):
    listening.ignore()
    signal.raise_signal(signal.SIGINT)
