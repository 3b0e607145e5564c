"""Wake the fleet from a command."""

from collections.abc import Iterator
from contextlib import contextmanager

from kommo.queue import Waker, publisher
from kommo.settings import Settings


@contextmanager
def hints(settings: Settings) -> Iterator[Waker]:
    """Give what wakes loops; what was asked for has been sent, or given up, when the block ends."""
    waker = Waker(app := publisher(settings.broker))
    try:
        yield waker
    finally:
        waker.close()
        app.close()
