"""The demo as it is run: a whole day in a process of its own, with everything that it starts."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from kommo.store.connection import connect
from kommo.store.server import PrivateServer
from tests.waiting import wait_for

pytestmark = pytest.mark.scenario
KOMMO = Path(sys.executable).with_name("kommo")


class Process(NamedTuple):
    """A process, told from a later one with the same id by when it started."""

    pid: int
    started: str


def processes() -> Iterator[tuple[Process, int]]:
    """Give every process of this machine with its parent's id."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        yield Process(int(entry.name), fields[19]), int(fields[1])


def descendants(pid: int) -> set[Process]:
    known = list(processes())
    found: set[Process] = set()
    parents = {pid}
    while parents:
        born = {process for process, parent in known if parent in parents}
        found |= born
        parents = {process.pid for process in born}
    return found


def still_alive(those: set[Process]) -> set[Process]:
    return {process for process, _ in processes()} & those


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files. Its path is short, because a Redis socket lies below it."""
    folder = Path(tempfile.mkdtemp(prefix="kd-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def environ(temporary: Path) -> dict[str, str]:
    """A caller's environment with settings that would break the demo if it took them over."""
    others = {"KOMMO_HANDLERS": "no.such.module", "KOMMO_SHARDS": "5", "KOMMO_API_BASE": "https://kommo.invalid"}
    kept = {name: value for name, value in os.environ.items() if name not in {"REDIS_URL", "COLUMNS"}}
    return {**kept, **others, "PORT": "1", "TMPDIR": str(temporary)}


@pytest.fixture
def database() -> Iterator[str]:
    """An empty Redis that somebody else has started, by its URL."""
    with PrivateServer(fsync="everysec") as server:
        yield server.url


@pytest.fixture
def running(environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The demo, without an end of its own."""
    demo = start(environ, "--speed", "10")
    yield demo
    if demo.poll() is None:
        demo.send_signal(signal.SIGTERM)
    demo.communicate(timeout=30)


def start(environ: dict[str, str], *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(KOMMO), "demo", *options],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    )


def play(environ: dict[str, str], *options: str) -> tuple[int, str]:
    demo = start(environ, *options)
    output, _ = demo.communicate(timeout=80)
    return demo.returncode, output


def read_until(stream: IO[str] | None, words: str) -> str:
    """Read on until a line has these words; the test's own timeout ends a wait that is in vain."""
    assert stream is not None
    read = []
    for line in stream:
        read.append(line)
        if words in line:
            return "".join(read)
    raise AssertionError(f"no {words!r} in:\n{''.join(read)}")


def keys_in(url: str) -> list[bytes]:
    client = connect(url)
    try:
        return list(client.scan_iter())
    finally:
        client.close()


def test_a_day_is_played_and_every_delivery_accounted_for(environ, temporary):
    code, output = play(environ, "--once", "--speed", "5")
    assert code == 0, output
    table = output.partition("answered")[2]
    sent = re.search(r"(\d+) sent = (\d+) stored \+ 1 duplicate", table)
    assert sent, output
    rows = [line.split() for line in table.splitlines() if re.match(r" *\d+  ", line)]
    assert [int(row[0]) for row in rows] == list(range(1, int(sent[1]) + 1))
    assert [row[-1] for row in rows if row[-1] != "handled"] == ["duplicate"]
    assert "Every delivery was handled and followed up" in table
    for handler in ("welcome_task.welcome", "stage_on_task_done.advance", "handover_note.note_handover"):
        assert re.search(rf"{handler} .*asks for 1 write", output), output
    assert re.search(r"PATCH /leads/\d+ +200 in", output), output
    assert "\x1b" not in output
    assert not re.search(r"[0-9a-f]{64}", output)
    assert list(temporary.iterdir()) == []


def test_ctrl_c_in_the_middle_leaves_no_process_and_no_folder(running, temporary):
    read_until(running.stdout, "Noon")
    children = descendants(running.pid)
    assert len(children) >= 6  # Redis, sandbox, receiver with its own, two workers, beat
    assert list(temporary.iterdir())
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 128 + signal.SIGINT
    wait_for(lambda: not still_alive(children), seconds=5, what="the children's end")
    assert list(temporary.iterdir()) == []


def test_it_stays_up_to_be_played_with_until_it_is_told_to_end(environ, temporary, database):
    demo = start({**environ, "REDIS_URL": database}, "--speed", "10")
    output = read_until(demo.stdout, "The demo stays up")
    assert "the database that REDIS_URL names" in output
    assert re.search(r"http://127\.0\.0\.1:\d+/ ", output)
    children = descendants(demo.pid)
    demo.send_signal(signal.SIGTERM)
    demo.communicate(timeout=30)
    assert demo.returncode == 0
    assert not still_alive(children)
    assert list(temporary.iterdir()) == []
    assert keys_in(database) == []


def test_a_process_that_dies_ends_the_demo_with_its_name(running, temporary):
    read_until(running.stdout, "Morning")
    children = descendants(running.pid)
    victim = next(child for child in children if b"sandbox" in Path(f"/proc/{child.pid}/cmdline").read_bytes())
    os.kill(victim.pid, signal.SIGKILL)
    assert running.stdout is not None
    assert "kommo: sandbox ended with code -9" in running.stdout.read()
    assert running.wait(30) == 1
    assert not still_alive(children)
    assert list(temporary.iterdir()) == []


def test_a_database_that_holds_something_is_refused_and_left_alone(environ, temporary, database):
    client = connect(database)
    client.set("somebody", "else")
    client.close()
    code, output = play({**environ, "REDIS_URL": database}, "--once")
    assert code == 1
    assert "kommo: the database that REDIS_URL names is not empty" in output
    assert keys_in(database) == [b"somebody"]
    assert list(temporary.iterdir()) == []
