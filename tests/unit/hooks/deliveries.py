"""The recorded deliveries: `tests/fixtures/deliveries/<case>/body` and the events that it has to give."""

import json
from pathlib import Path
from typing import Any

from kommo.hooks.events import Event
from kommo.hooks.normalise import normalise

#: The account that the bodies name, where they name one.
ACCOUNT = 40507010
FOLDER = Path(__file__).parents[2] / "fixtures" / "deliveries"
CASES = sorted(path.name for path in FOLDER.iterdir())


def body_of(case: str) -> bytes:
    return (FOLDER / case / "body").read_bytes()


def expected_of(case: str) -> list[dict[str, Any]]:
    expected: list[dict[str, Any]] = json.loads((FOLDER / case / "expected.json").read_text())
    return expected


def events_in(body: bytes | str, *, content_type: str | None = None, delivery_id: str = "d-1") -> list[Event]:
    raw = body.encode() if isinstance(body, str) else body
    return normalise(raw, content_type=content_type, account_id=ACCOUNT, delivery_id=delivery_id)


def json_events(delivery: Any, *, delivery_id: str = "d-1") -> list[Event]:
    return events_in(json.dumps(delivery), content_type="application/json", delivery_id=delivery_id)


def types_in(body: bytes | str) -> list[str]:
    return [event.type for event in events_in(body)]
