"""Logs: structured, JSON for machines and plain lines on a terminal, and never a secret in them.

Bind what a line is about with `about(delivery=…, account=…, event=…, handler=…, attempt=…)`. Lines of libraries
(gunicorn, Celery) take the same way, so that the masks below hold for them too.
"""

import logging
import os
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

#: Doors whose paths and queries carry proofs. Kommo's API has paths of such names too: of them only the query goes.
_DOORS: Final = re.compile(r"(/api/v[0-9]+(?:/[a-z_]+)?)?/(webhooks|oauth|chats)\b([^\s\"'?]*)(\?[^\s\"']*)?")
#: user:password@ in a URL.
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]*:[^/@\s]*(?=@)")
#: Bearer tokens and 64-digit signatures, wherever they turn up.
_PROOFS: Final = re.compile(r"(?i)\bbearer\s+\S+|\b[0-9a-f]{64}\b|\beyJ[\w-]+\.[\w-]+\.[\w-]+")
#: What any of them has in it; most texts are none of them, and every value of every line is looked at.
_SUSPECT: Final = re.compile(r"/|[0-9A-Fa-f]{64}|eyJ|(?i:bearer)")
_EVENT: Final = "_event"
#: Libraries that tell more than anybody wants to read: a line for every hint, for instance.
_QUIET: Final = ("celery.worker.strategy", "celery.app.trace")
_SECRET_NAMES: Final = frozenset(
    {"token", "access_token", "refresh_token", "client_secret", "secret", "signature", "body"}
)


def about(*, event: str | None = None, **names: object) -> AbstractContextManager[object]:
    """Bind names to every line logged within the block, by whichever module."""
    # structlog calls a line's sentence `event`; here that is the name of what Kommo reports.
    bound = names if event is None else {**names, _EVENT: event}
    return structlog.contextvars.bound_contextvars(**bound)


def mask(text: str) -> str:
    """Take out of a text what may be a proof or a password."""
    if not _SUSPECT.search(text):
        return text
    text = _CREDENTIALS.sub("***", text)
    text = _DOORS.sub(_masked_door, text)
    return _PROOFS.sub("***", text)


def _masked_door(found: re.Match[str]) -> str:
    api, door, rest, query = found.groups()
    if api is None:
        return f"/{door}/***"
    return f"{api}/{door}{rest}{'?***' if query else ''}"


def _masked(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: _masked_value(name, value) for name, value in event.items()}


def _masked_value(name: object, value: Any) -> Any:
    if name in _SECRET_NAMES:
        return "***"
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {inner: _masked_value(inner, item) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked_value(None, item) for item in value]
    return mask(value if isinstance(value, str) else repr(value))


class _Output:
    """Where the lines of this process go and how they are written; loggers that were used before look here as well."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.level = logging.INFO
        self.stream: TextIO = sys.stderr
        self.renderer: Processor = structlog.processors.JSONRenderer(ensure_ascii=False)

    def write(self, line: str) -> None:
        """Write a line; what cannot be written is lost, since nothing may fail for want of a log."""
        with self.lock, suppress(OSError, ValueError):
            try:
                self.stream.write(f"{line}\n")
            except UnicodeEncodeError:
                self.stream.write(f"{line.encode('ascii', 'backslashreplace').decode()}\n")
            self.stream.flush()

    def renew(self) -> None:
        """Forget a lock that some thread held while this process was forked off."""
        self.lock = threading.Lock()


_OUTPUT: Final = _Output()
os.register_at_fork(after_in_child=_OUTPUT.renew)


class _Writer:
    """What a logger of ours ends in: a whole line, without the detour that the lines of libraries take."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        _OUTPUT.write(line)

    log = debug = info = warning = error = critical = exception = msg


def _wanted(_logger: _Writer, method: str, event: EventDict) -> EventDict:
    if structlog.processors.NAME_TO_LEVEL[method] < _OUTPUT.level:
        raise structlog.DropEvent
    return event


def _named(logger: _Writer, _method: str, event: EventDict) -> EventDict:
    event["logger"] = logger.name
    return event


def _rendered(logger: WrappedLogger, method: str, event: EventDict) -> Any:
    return _OUTPUT.renderer(logger, method, event)


_FIRST: Final[Sequence[Processor]] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
)
_LAST: Final[Sequence[Processor]] = (
    structlog.processors.format_exc_info,
    structlog.processors.EventRenamer("message", replace_by=_EVENT),
    _masked,
    _rendered,
)


def is_wanted(level: int) -> bool:
    """Say whether a line of this level would be written; for where making one costs too much."""
    return level >= _OUTPUT.level


def configure(*, level: str = "INFO", stream: TextIO | None = None, json: bool | None = None) -> None:
    """Send all logs of this process to `stream` (standard error): JSON unless it is a terminal."""
    out = stream or sys.stderr
    as_json = not out.isatty() if json is None else json
    _OUTPUT.level = logging.getLevelNamesMapping()[level]
    _OUTPUT.stream = out
    _OUTPUT.renderer = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=out.isatty(), event_key="message")
    )
    structlog.configure(
        processors=[_wanted, *_FIRST, _named, *_LAST],
        logger_factory=_Writer,
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        cache_logger_on_first_use=True,
    )
    _configure_libraries(level, out)


def _configure_libraries(level: str, out: TextIO) -> None:
    """Give what is logged with the standard library the same form and the same masks."""
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=(*_FIRST, structlog.stdlib.add_logger_name),
            processors=(structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_LAST),
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(capture=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
