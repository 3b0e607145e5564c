"""The children: started in process groups of their own, their output read, ended by their ids."""

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Final, Self

from kommo.errors import KommoError

#: Seconds that children have to end by themselves.
GRACE_SECONDS: Final = 10.0
#: Seconds between the end of a process's connections and its own.
_DYING_SECONDS: Final = 0.3
#: Lines kept of each child, to be shown when it dies.
_KEPT: Final = 15
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ChildDied(KommoError):
    """A process ended that should not have; `last_lines` is the end of what it said."""

    def __init__(self, name: str, code: int, last_lines: Sequence[str]) -> None:
        self.name = name
        self.code = code
        self.last_lines = tuple(last_lines)
        said = "\n".join(f"  {line}" for line in last_lines) or "  nothing"
        super().__init__(f"{name} ended with code {code}; the last it said:\n{said}")


class Interruptions:
    """Turns Ctrl-C, SIGTERM and SIGHUP into SystemExit, but not while something is being started or cleaned up."""

    def __init__(self) -> None:
        self._held = 0
        self._arrived: int | None = None

    def listen(self) -> None:
        """Take the signals over; only the main thread can."""
        for number in _SIGNALS:
            signal.signal(number, self._arrive)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep signals waiting until the block is through."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self._arrived is not None and not self._held:
            raise SystemExit(128 + self._arrived)

    def ignore(self) -> None:
        """Take no notice any more: the end has begun."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _arrive(self, number: int, _frame: FrameType | None) -> None:
        if self._held:
            self._arrived = number
        else:
            raise SystemExit(128 + number)


@dataclass(frozen=True)
class Child:
    """A process, the thread that reads what it says, and the last of that."""

    name: str
    process: subprocess.Popen[str]
    reader: threading.Thread
    last_lines: deque[str]


class Children:
    """All processes of the demo; `lines` is what they say, as (name, line)."""

    def __init__(self, *, folder: Path, environ: Mapping[str, str], interruptions: Interruptions) -> None:
        self.lines: SimpleQueue[tuple[str, str]] = SimpleQueue()
        self._folder = folder
        self._environ = dict(environ)
        self._interruptions = interruptions
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def set(self, variables: Mapping[str, str]) -> None:
        """Give variables to the processes that are started from now on."""
        self._environ.update(variables)

    def start(self, name: str, *command: str) -> None:
        """Start a process that lives until the end."""
        with self._interruptions.held():
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                # Its own group: a Ctrl-C in the terminal is for us, and we end the children in order.
                start_new_session=True,
            )
            last_lines: deque[str] = deque(maxlen=_KEPT)
            reader = threading.Thread(target=self._read, args=(name, process, last_lines), daemon=True)
            reader.start()
            self._children.append(Child(name, process, reader, last_lines))

    def run(self, *command: str, seconds: float = 20.0) -> str:
        """Run a command to its end and give what it printed; raises ChildDied when it fails."""
        name = " ".join([Path(command[0]).name, *command[1:]])
        try:
            done = subprocess.run(
                command,
                cwd=self._folder,
                env=self._environ,
                capture_output=True,
                encoding="utf-8",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ChildDied(name, -signal.SIGKILL, [f"it did not end within {seconds:g} s"]) from error
        if done.returncode:
            raise ChildDied(name, done.returncode, (done.stdout + done.stderr).splitlines()[-_KEPT:])
        return done.stdout.strip()

    def check(self) -> None:
        """Raise ChildDied when a process has ended."""
        for child in self._children:
            code = child.process.poll()
            if code is not None:
                child.reader.join(timeout=1)
                raise ChildDied(child.name, code, child.last_lines)

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Tell of a child that died rather than of the error that whoever spoke to it has met."""
        try:
            yield
        except ChildDied:
            raise
        except KommoError:
            # It may still be dying when its connection is closed already.
            time.sleep(_DYING_SECONDS)
            self.check()
            raise

    def stop(self) -> None:
        """Ask all to end, and end those that do not within the grace."""
        for child in self._children:
            if child.process.poll() is None:
                child.process.terminate()
        ends = time.monotonic() + GRACE_SECONDS
        for child in self._children:
            _end(child, max(0.0, ends - time.monotonic()))
        self._children.clear()

    def _read(self, name: str, process: subprocess.Popen[str], last_lines: deque[str]) -> None:
        if process.stdout is not None:
            for line in process.stdout:
                last_lines.append(line.rstrip("\n"))
                self.lines.put((name, line))


def _end(child: Child, seconds: float) -> None:
    try:
        child.process.wait(seconds)
    except subprocess.TimeoutExpired:
        # The group holds the child and what it has started, and nothing else.
        os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()
    child.reader.join(timeout=1)
    if child.process.stdout is not None:
        child.process.stdout.close()
