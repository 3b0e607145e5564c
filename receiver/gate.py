"""Two locks in the spool's folder, between all processes that share it. Who dies lets go of them.

Many write at once, each in a file of its own; whoever ends the use of the spool has to be alone for a moment. Without
the turnstile before the gate that moment would never come under load: the kernel lets one writer in after another
while somebody waits to be alone.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

#: Seconds for which a writer waits while another process is alone in the folder; that takes milliseconds, and half a
#: second when Redis stalls meanwhile. And for which one waits to be alone.
_WRITER_SECONDS: Final = 1.2
_ALONE_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.001


class Gate:
    """Who may be in the folder."""

    def __init__(self, folder: Path) -> None:
        self._turnstile = folder / "turnstile.lock"
        self._gate = folder / "gate.lock"
        self._drain = folder / "drain.lock"

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Be in the folder together with other writers.

        Raises:
            TimeoutError: somebody was alone in it for too long.
            OSError: the folder cannot be used.
        """
        with ExitStack() as stack:
            ends = time.monotonic() + _WRITER_SECONDS
            with ExitStack() as turn:
                _lock(turn, self._turnstile, fcntl.LOCK_SH, ends)
                _lock(stack, self._gate, fcntl.LOCK_SH, ends)
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be in the folder while nobody writes; raises like `shared`."""
        with ExitStack() as stack:
            ends = time.monotonic() + _ALONE_SECONDS
            _lock(stack, self._turnstile, fcntl.LOCK_EX, ends)
            _lock(stack, self._gate, fcntl.LOCK_EX, ends)
            yield

    @contextmanager
    def draining(self) -> Iterator[bool]:
        """Be the one process that drains; False when another one is."""
        with ExitStack() as stack:
            yield _tried(_opened(stack, self._drain), fcntl.LOCK_EX)


@contextmanager
def exclusive(path: Path, *, seconds: float) -> Iterator[None]:
    """Hold the lock that a file stands for; raises TimeoutError when somebody else does for so long."""
    with ExitStack() as stack:
        _lock(stack, path, fcntl.LOCK_EX, time.monotonic() + seconds)
        yield


def _lock(stack: ExitStack, path: Path, how: int, ends: float) -> None:
    # Opened each time: a lock belongs to the open file, and one that was open at a fork would be shared by both.
    file = _opened(stack, path)
    while not _tried(file, how):
        if time.monotonic() >= ends:
            raise TimeoutError(f"another process holds {path.name}")
        time.sleep(_POLL_SECONDS)


def _opened(stack: ExitStack, path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    close: Callable[[int], None] = os.close
    stack.callback(close, file)
    return file


def _tried(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
