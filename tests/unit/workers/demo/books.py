"""Small books to reckon: deliveries with their events, runs and calls, as if all had gone well."""

from collections import Counter
from dataclasses import replace

from kommo.hooks.events import Event
from workers.demo.reckoning import Books
from workers.demo.records import Asked, Attempt, Call, Left, Run, Sent, Stored


def event(id_: str, type_: str = "lead.added", **raw: str) -> Event:
    entity = type_.partition(".")[0]
    return Event(id_, type_, 77, entity, int(raw.get("id", 1)), None, raw, "")


def sent(number: int, body: str, *, kind: str = "leads.add", state: str = "delivered", ms: float = 4.0) -> Sent:
    attempts = [Attempt(1_000.0 + number, 200, ms)] if state == "delivered" else []
    return Sent(number, kind, f"sha of {body}", 100, state, attempts)


def stored(delivery_id: str, body: str, *events: Event, is_echo: bool = False) -> Stored:
    return Stored(delivery_id, f"sha of {body}", 1_000.0, events, is_echo)


def run(delivery_id: str, event_id: str, *, handler: str = "shop.welcome", writes: int = 1, at: float = 1_001.5) -> Run:
    return Run(delivery_id, event_id, handler, ended_at=at, ms=10, writes=writes)


def write(delivery_id: str, event_id: str, *, handler: str = "shop.welcome", status: int | None = 200) -> Call:
    return Call(delivery_id, event_id, handler, "POST", "/api/v4/tasks", status)


def balanced() -> Books:
    """Two leads came in, one of them twice; a task followed each, and one task came back."""
    return Books(
        sent=[sent(1, "ann"), sent(2, "bob"), sent(3, "ann"), sent(4, "task", kind="task.add")],
        stored=[
            stored("d-ann", "ann", event("e-ann")),
            stored("d-bob", "bob", event("e-bob")),
            stored("d-task", "task", event("e-task", "task.added"), is_echo=True),
        ],
        steps={"d-ann": 1, "d-bob": 1, "d-task": 0},
        steps_added=2,
        runs=[run("d-ann", "e-ann"), run("d-bob", "e-bob", at=1_002.51)],
        calls=[write("d-ann", "e-ann"), write("d-bob", "e-bob")],
        written=Counter([("e-ann", "shop.welcome"), ("e-bob", "shop.welcome")]),
        asked=[Asked(1, "POST", "/api/v4/tasks", 200), Asked(2, "POST", "/api/v4/tasks", 200)],
        left=Left(),
        peak=2,
        limit=7,
    )


def with_(**changes: object) -> Books:
    return replace(balanced(), **changes)
