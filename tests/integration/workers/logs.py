"""Read the log lines of a test, and leave logging as it was."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from kommo import log


class Lines:
    """What was logged so far."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def saying(self, message: str) -> list[dict[str, Any]]:
        """The lines with this sentence."""
        return [line for line in self.all if line["message"] == message]


@contextmanager
def logged(level: str = "INFO") -> Iterator[Lines]:
    """Send the process's logs here for as long as the block lasts."""
    lines = Lines()
    with logging_restored():
        log.configure(level=level, stream=lines.stream, json=True)
        yield lines


@contextmanager
def logging_restored() -> Iterator[None]:
    """Undo what a block does to logging: configuring it replaces the root logger's handlers, pytest's included."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    # So that `force=True` has nothing to close that is not its own.
    root.handlers = []
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
        root.handlers, root.level = handlers, level
        logging.getLogger("py.warnings").handlers.clear()
