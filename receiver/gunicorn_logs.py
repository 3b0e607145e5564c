"""gunicorn's own lines, sent the way of all the others: structured and masked."""

import logging
from typing import Any

from gunicorn.glogging import Logger

from kommo import log


class StructuredLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Leaves gunicorn's loggers to the root logger; there is no access log, the doors log what happened."""

    def setup(self, cfg: Any) -> None:
        self.error_log = logging.getLogger("gunicorn.error")
        self.access_log = logging.getLogger("gunicorn.access")
        log.configure(level=cfg.loglevel.upper())
