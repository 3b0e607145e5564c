"""The ledger: what was sent, stored, run and called so far, and which of it belongs together. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from kommo.hooks.events import Event
from workers.demo.lines import LogLine, call_in, run_in, steps_in, written_in
from workers.demo.records import Call, Run, Sent, Stored


class Ledger:
    """Keeps the books of one demo. A stored delivery belongs to the sent one with the same bytes, in order."""

    def __init__(self) -> None:
        self._sent: dict[int, Sent] = {}
        self._numbers: dict[str, list[int]] = defaultdict(list)
        self._stored: dict[str, Stored] = {}
        self._ids: dict[str, list[str]] = defaultdict(list)
        self._number_of: dict[str, int] = {}
        self._tasks: dict[int, int] = {}
        self.steps: dict[str, int] = {}
        self.runs: list[Run] = []
        self.calls: list[Call] = []
        #: Writes that are done, by the event and the handler that asked for them.
        self.written: Counter[tuple[str, str]] = Counter()

    @property
    def sent(self) -> list[Sent]:
        """Everything that was sent, by number."""
        return [self._sent[number] for number in sorted(self._sent)]

    @property
    def stored(self) -> list[Stored]:
        """Everything that is stored, in the order of the inbox."""
        return list(self._stored.values())

    @property
    def unsettled_from(self) -> int:
        """The number after which deliveries have to be looked at again: some there may still be on their way."""
        pending = (number - 1 for number, sent in self._sent.items() if sent.state == "pending")
        return min(pending, default=max(self._sent, default=0))

    def add_sent(self, deliveries: Iterable[Sent]) -> None:
        """Write down deliveries; a newer state of a known one replaces the older."""
        for sent in deliveries:
            if sent.number not in self._sent:
                self._numbers[sent.sha256].append(sent.number)
            self._sent[sent.number] = sent
            self._match(sent.sha256)

    def add_stored(self, deliveries: Iterable[Stored]) -> None:
        """Write down what lies in the inbox, and the tasks that our own handlers made."""
        for stored in deliveries:
            self._stored[stored.delivery_id] = stored
            self._ids[stored.sha256].append(stored.delivery_id)
            self._match(stored.sha256)
            if stored.is_echo:
                self._tasks.update(tasks_made_in(stored.events))

    def add_line(self, line: LogLine) -> None:
        """Write down what a log line reports, if it is of a kind that counts."""
        self.written.update(written_in(line))
        if (run := run_in(line)) is not None:
            self.runs.append(run)
        elif (call := call_in(line)) is not None:
            self.calls.append(call)
        elif (drained := steps_in(line)) is not None:
            self.steps.update([drained])

    def sent_as(self, delivery_id: str) -> Sent | None:
        """Find what a stored delivery was sent as."""
        return self._sent.get(self._number_of.get(delivery_id, 0))

    def stored_as(self, delivery_id: str) -> Stored | None:
        """Find a stored delivery."""
        return self._stored.get(delivery_id)

    def repeats(self) -> list[Sent]:
        """List the deliveries whose bytes were stored already under another number."""
        return [
            self._sent[number]
            for sha256, numbers in self._numbers.items()
            if self._ids[sha256]
            for number in numbers[len(self._ids[sha256]) :]
        ]

    def task_on(self, lead_id: int) -> int | None:
        """Find the task that a handler made on a lead, once Kommo has told of it."""
        return self._tasks.get(lead_id)

    def _match(self, sha256: str) -> None:
        self._number_of.update(zip(self._ids[sha256], self._numbers[sha256], strict=False))


def tasks_made_in(events: Iterable[Event]) -> Mapping[int, int]:
    """Give the leads that events put tasks on, and the tasks."""
    found = ((event.parent, event.entity_id) for event in events if event.type == "task.added")
    return {
        int(parent[1]): task_id
        for parent, task_id in found
        if parent is not None and parent[0] == "lead" and isinstance(task_id, int)
    }


def is_echo(event: Event, writer_id: int) -> bool:
    """Say whether an event tells of what this user wrote: for our own writes the token's user, the only hint there is.

    https://developers.kommo.com/docs/webhooks-general
    """
    if event.task is not None and event.type == "task.added":
        return event.task.created_user_id == writer_id
    names = ("modified_user_id", "modified_by")
    return any(getattr(event.entity, name, None) == writer_id for name in names)
