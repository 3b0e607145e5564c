"""gunicorn's own lines, sent the way of all the others: structured and masked."""

import logging
import re
import time
from collections.abc import Callable
from typing import Any, Final

from gunicorn.glogging import Logger

from kommo import log
from receiver.buckets import Buckets
from receiver.strangers import LINES, LINES_A_SECOND

#: What gunicorn says of a request that it cannot parse. It quotes the place, and after a wrong length that is the rest
#: of somebody's body.
_PARSING: Final = (
    "Invalid request from",
    "Ignored premature client disconnection",
    # A client that takes no answer.
    "Socket error processing request",
)
_QUOTE: Final = re.compile(r"\s*b?['\"].*", re.DOTALL)


def _without_quote(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    if message.startswith(_PARSING):
        record.msg, record.args = _QUOTE.sub("", message), ()
    return True


class Sparing:
    """Lets so many lines about broken requests through as there may be about refusals: a stranger can make any number.

    The next line says how many were left out.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = Buckets(burst=LINES, per_second=LINES_A_SECOND, names=1, clock=clock)
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a line is to be written."""
        if not record.getMessage().startswith(_PARSING):
            return True
        if not self._lines.take(""):
            self._left_out += 1
            return False
        if self._left_out:
            record.msg, record.args = f"{record.getMessage()} ({self._left_out} like it were left out)", ()
            self._left_out = 0
        return True


class StructuredLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Leaves gunicorn's loggers to the root logger; there is no access log, the doors log what happened."""

    def setup(self, cfg: Any) -> None:
        for logger in (self.error_log, self.access_log):
            # gunicorn has cut them off, since it gives them handlers of their own.
            logger.propagate = True
        self.error_log.addFilter(_without_quote)
        self.error_log.addFilter(Sparing())
        log.configure(level=cfg.loglevel.upper())
