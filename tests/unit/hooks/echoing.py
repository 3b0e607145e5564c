"""An account that is written to by us and by others, told by the sandbox's own webhooks, and a ledger in memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from kommo.hooks.echoes import Entry, Pending, case_of, expectations, judge
from kommo.hooks.events import Event
from kommo.hooks.normalise import normalise
from sandbox import changes, noting
from sandbox.notices import Notice
from sandbox.payloads.envelope import envelope
from sandbox.payloads.form import CONTENT_TYPE, encode
from sandbox.state import Json, Record, State

ACCOUNT = 60_708_090
NOW = 1_795_300_000
US, SOMEBODY = 0, 7_100_001


@dataclass
class Account:
    """The account, and Redis's ledger of what was written to it."""

    now: int = NOW
    stored: dict[str, dict[str, str]] = field(default_factory=dict)
    _requests: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.state = State(account_id=ACCOUNT, subdomain="ovens", clock=lambda: self.now)

    def expect(self, method: str, path: str, json: object) -> None:
        """Note a request, as it is done before it is sent."""
        for one in expectations(method, path, json):
            number = next(self._requests)
            # Redis tells two requests of one second apart by its microseconds.
            sent = Pending(self.now * 1000 + number / 100, one.fields)
            self.stored.setdefault(one.subject, {})[f"w{number}"] = f"{sent.at_ms} {sent.to_text()}"

    def write(self, record: Record, patch: Json) -> list[Notice]:
        """Change an entity ourselves."""
        self.expect("PATCH", f"/api/v4/{record.kind}/{record.id}", patch)
        return changes.update(self.state, record, patch, by=US)

    def change(self, record: Record, patch: Json) -> list[Notice]:
        """Let somebody else change an entity."""
        return changes.update(self.state, record, patch, by=SOMEBODY)

    def create(self, kind: str, item: Json) -> list[Notice]:
        """Create an entity ourselves."""
        self.expect("POST", f"/api/v4/{kind}", [item])
        return changes.create(self.state, kind, item, by=US)[1]

    def annotate(self, kind: str, item: Json, *, by: int = US) -> list[Notice]:
        """Put a note on an entity."""
        if by == US:
            self.expect("POST", f"/api/v4/{kind}/{item['entity_id']}/notes", [item])
        return noting.add(self.state, kind, item, by=by)[1]

    def deliver(self, notices: Iterable[Notice], *, received: int | None = None) -> list[Event]:
        """Tell of changes in one delivery; return its events as they were judged."""
        return self.receive(envelope(self.state, list(notices)), received=received)

    def receive(self, body: dict[str, Any], *, received: int | None = None) -> list[Event]:
        """Take in a body; everything passes through the form in which it is stored."""
        at = (self.now if received is None else received) * 1000 + 200
        events = normalise(encode(body), content_type=CONTENT_TYPE, account_id=ACCOUNT, delivery_id=f"d{at}")
        return [self._judged(event, at) for event in events]

    def _judged(self, event: Event, received_ms: int) -> Event:
        case = case_of(event)
        if case is None:
            return event
        ledger = {subject: Entry.load(self.stored.get(subject, {})) for subject in case.subjects}
        judged = judge(ledger, case, received_ms)
        for subject, entry in ledger.items():
            gone, written = entry.changes()
            kept = {name: text for name, text in self.stored.get(subject, {}).items() if name not in gone}
            self.stored[subject] = {**kept, **written}
        return judged


def an_account(kind: str = "leads", **fields: Any) -> tuple[Account, Record]:
    """Make an account with one entity, of which no webhook has told yet."""
    account = Account()
    defaults: Json = {"tasks": {"text": "Call", "complete_till": NOW + 9000, "entity_type": "leads", "entity_id": 5}}
    given = {**defaults.get(kind, {"name": "Oven"}), "responsible_user_id": SOMEBODY, **fields}
    record, _ = changes.create(account.state, kind, given, by=SOMEBODY)
    account.now += 10
    return account, record


def verdicts(events: Iterable[Event]) -> dict[str, bool]:
    """Return for each type of event whether it is an echo."""
    return {event.type: event.is_echo for event in events}
