"""Show on the command line what handlers would do with past deliveries."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import click

from kommo.cli.moments import milliseconds, shown
from kommo.hooks.events import Event
from kommo.router import Handler
from workers.cli.letters import printable
from workers.rehearsing import Ending, NotedCall, Reads, Rehearsed, rehearse
from workers.replaying import Asked, Chosen, Replaying

_CALLS: Final = {"read": "read ", "now": "now  ", "later": "later"}
_ENDINGS: Final[dict[Ending, str]] = {
    "done": "",
    "stopped": "not seen to its end: ",
    "failed": "raised, and would be tried again; what it asked for later is not kept: ",
    "retry": "asks to run again later: ",
    "reject": "gives up, which makes a dead letter: ",
}
_SUMMARY: Final[dict[Ending, str]] = {
    "done": "ran to its end",
    "stopped": "not seen to its end",
    "failed": "raised",
    "retry": "again later",
    "reject": "gives up",
}


@dataclass
class Rehearsal:
    """Runs the handlers of a replay here, and shows it event by event. `reads` makes the way to read from Kommo."""

    replaying: Replaying
    reads: Callable[[int], Reads] | None
    #: How the runs ended, by handler, and how many calls there were of a kind.
    endings: Counter[tuple[str, Ending]] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)

    def perform(self, asked: Asked) -> None:
        """Go through all that was asked for; an error of a handler is shown, and the next event follows."""
        for account_id in asked.accounts:
            reads = self.reads(account_id) if self.reads else None
            for chosen in self.replaying.chosen(asked, account_id):
                self._delivery(chosen, reads)
        self._summary()

    def _delivery(self, chosen: Chosen, reads: Reads | None) -> None:
        if chosen.problem:
            click.echo(f"delivery {chosen.entry.delivery.id} cannot be read: {printable(chosen.problem)}")
        for event, handlers in chosen.events:
            if handlers:
                click.echo(_headline(event))
            for handler in handlers:
                self._handler(event, handler, reads)

    def _handler(self, event: Event, handler: Handler, reads: Reads | None) -> None:
        run = rehearse(event, handler, reads)
        self.endings[run.handler, run.ending] += 1
        self.calls.update(noted.kind for noted in run.calls)
        for line in _lines(run):
            click.echo(line)

    def _summary(self) -> None:
        click.echo("\nNothing was sent that changes anything." if self.endings else "Nothing to do.")
        for (handler, ending), number in sorted(self.endings.items()):
            click.echo(f"{number:>7}  {handler}: {_SUMMARY[ending]}")
        if self.calls:
            click.echo(
                f"Calls: {self.calls['later']} for later, {self.calls['now']} at once, {self.calls['read']} that read."
            )


def _headline(event: Event) -> str:
    at = f" of {shown(milliseconds(event.occurred_at))}" if event.occurred_at else ""
    whose = f"{event.entity_type} {'' if event.entity_id is None else event.entity_id}".rstrip()
    return printable(
        f"\n{event.type}{at}: {whose}, account {event.account_id}, delivery {event.delivery_id}, event {event.id}"
    )


def _lines(run: Rehearsed) -> list[str]:
    calls = [f"    {_line(noted)}" for noted in run.calls]
    note = f"    {_ENDINGS[run.ending]}{printable(run.note)}".rstrip().rstrip(":")
    ended = [note] if run.ending != "done" else [] if calls else ["    asks for nothing"]
    return [f"  {run.handler}", *calls, *ended]


def _line(noted: NotedCall) -> str:
    call = noted.call
    body = "" if call.body is None else f" {json.dumps(call.body, ensure_ascii=False)}"
    return printable(f"{_CALLS[noted.kind]}  {call.method} {call.path}{body}")
