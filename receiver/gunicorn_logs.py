"""gunicorn's own lines, sent the way of all the others: structured and masked."""

import logging
import re
from typing import Any, Final

from gunicorn.glogging import Logger

from kommo import log

#: What gunicorn says of a request that it cannot parse. It quotes the place, and after a wrong length that is the rest
#: of somebody's body.
_PARSING: Final = ("Invalid request from", "Ignored premature client disconnection")
_QUOTE: Final = re.compile(r"\s*b?['\"].*", re.DOTALL)


def _without_quote(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    if message.startswith(_PARSING):
        record.msg, record.args = _QUOTE.sub("", message), ()
    return True


class StructuredLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Leaves gunicorn's loggers to the root logger; there is no access log, the doors log what happened."""

    def setup(self, cfg: Any) -> None:
        for logger in (self.error_log, self.access_log):
            # gunicorn has cut them off, since it gives them handlers of their own.
            logger.propagate = True
        self.error_log.addFilter(_without_quote)
        log.configure(level=cfg.loglevel.upper())
