"""Read the log lines that the children write: one JSON object a line. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from workers.demo.records import Call, Run


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: who wrote it, when (epoch seconds), how grave it is, what it says, and what it is about."""

    source: str
    at: float
    level: str
    message: str
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_trouble(self) -> bool:
        return self.level in {"warning", "error", "critical"}


def parse(source: str, text: str) -> LogLine | None:
    """Read a line; None for anything that is not one of our structured lines, such as a banner."""
    try:
        found = json.loads(text)
        at = datetime.fromisoformat(found["timestamp"]).timestamp()
        return LogLine(source, at, str(found["level"]), str(found["message"]), found)
    except (ValueError, KeyError, TypeError):
        return None


def run_in(line: LogLine) -> Run | None:
    """Read the end of a handler's run; None for another line."""
    if line.message != "handled":
        return None
    about = line.about
    return Run(
        delivery_id=_text(about, "delivery"),
        event_id=_text(about, "event"),
        handler=_text(about, "handler"),
        ended_at=line.at,
        ms=float(about.get("ms", 0)),
        writes=int(about.get("writes", 0)),
        attempt=int(about.get("attempt", 1)),
    )


def call_in(line: LogLine) -> Call | None:
    """Read a call to the API; None for another line."""
    if line.message != "api call":
        return None
    about = line.about
    status = about.get("status")
    return Call(
        delivery_id=_text(about, "delivery"),
        event_id=_text(about, "event"),
        handler=_text(about, "handler"),
        method=_text(about, "method"),
        path=_text(about, "path"),
        status=status if isinstance(status, int) else None,
        ended_at=line.at,
        ms=float(about.get("ms", 0)),
        waited_ms=float(about.get("waited_ms", 0)),
        entities=int(about.get("entities", 0)),
    )


def written_in(line: LogLine) -> Mapping[tuple[str, str], int]:
    """Read how many writes a request has carried out, by the event and the handler; none for another line."""
    if line.message != "written":
        return {}
    return {(str(event), str(handler)): int(writes) for _, event, handler, writes in line.about.get("by", [])}


def steps_in(line: LogLine) -> tuple[str, int] | None:
    """Read how many steps a drained delivery gave, with its id; None for another line."""
    return (_text(line.about, "delivery"), int(line.about.get("steps", 0))) if line.message == "drained" else None


def place_of(line: LogLine, *, longest: float) -> float:
    """Say where in time a line belongs (epoch seconds): runs and calls, told at their end, where they began.

    What took longer than `longest` seconds stays at its end: the lines after its begin are shown already.
    """
    told = run_in(line) or call_in(line)
    return told.began_at if told and told.ms <= longest * 1000 else line.at


def _text(about: Mapping[str, Any], name: str) -> str:
    return str(about.get(name) or "")
