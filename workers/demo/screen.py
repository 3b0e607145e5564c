"""What the terminal shows: the story, and the way of each delivery, a line for each step of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kommo.cli.screen import console as console_of_width
from workers.demo.lines import LogLine
from workers.demo.records import Call, Run, Sent

#: Columns where there is no terminal to ask.
_PIPED_COLUMNS: Final = 130
#: Columns from which on a line has room for ids and aligned details.
_WIDE: Final = 110
#: Where the details of a line begin, counted from the beginning of its text: in a wide terminal, and in a narrow one.
_DETAILS_AT: Final = 36
_DETAILS_AT_NARROW: Final = 24
#: The steps of a delivery's way and their colours.
_STYLES: Final = {"in": "cyan", "events": "blue", "handler": "magenta", "call": "green", "trouble": "bold red"}
_LEGEND: Final = (
    ("in", "Kommo delivers, the receiver stores and answers"),
    ("events", "a worker drains the inbox: what the delivery tells"),
    ("handler", "your code runs, and asks for writes"),
    ("call", "the writes go to Kommo's API; the squares are the slots of the rate limit in use"),
)


class Screen:
    """Prints line by line: coloured on a terminal, plain elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or console_of_width(wide=_PIPED_COLUMNS)
        self._wide = self.console.width >= _WIDE

    def title(self, text: str) -> None:
        """Begin."""
        self.console.print(Text(text, style="bold"))
        self.console.print()

    def started(self, name: str, what: str) -> None:
        """Say that a part runs."""
        grid = _grid(2, 9)
        grid.add_row(Text("✓", style="green"), Text(name, style="bold"), what)
        self.console.print(grid)

    def legend(self) -> None:
        """Explain the lines that follow."""
        self.console.print()
        for step, meaning in _LEGEND:
            grid = _grid(2, 9)
            grid.add_row("", Text(step, style=_STYLES[step]), Text(meaning, style="dim"))
            self.console.print(grid)

    def heading(self, text: str) -> None:
        """Begin a part of the story."""
        self.console.print()
        self.console.rule(Text(text, style="bold"), align="left", style="dim")

    def tell(self, at: float, sentence: str) -> None:
        """Say what happens at the shop."""
        grid = _grid(12)
        grid.add_row(Text(clock(at), style="dim"), Text(sentence, style="bold"))
        self.console.print(grid)

    def arrived(self, at: float, sent: Sent | None, delivery_id: str, *, is_echo: bool) -> None:
        """Show a delivery that was stored."""
        self._line(at, sent, delivery_id, "in", sent.kind if sent else "?", _answer(sent), self._echo(is_echo=is_echo))

    def repeated(self, at: float, sent: Sent) -> None:
        """Show a delivery that was known already."""
        self._line(at, sent, "", "in", sent.kind, _answer(sent), "same bytes, not stored again")

    def drained(self, at: float, sent: Sent | None, delivery_id: str, events: Sequence[str], steps: int) -> None:
        """Show what a delivery told."""
        wanted = "" if steps else "no handler wants it" if self._wide else "no handler"
        shown = ", ".join(events) if len(set(events)) == len(events) else f"{len(events)} × {events[0]}"
        self._line(at, sent, delivery_id, "events", shown or "none", wanted)

    def ran(self, at: float, sent: Sent | None, run: Run) -> None:
        """Show a handler's run."""
        asked = {0: "asks for nothing", 1: "asks for 1 write"}.get(run.writes, f"asks for {run.writes} writes")
        name = run.handler.removeprefix("examples.")
        again = f"attempt {run.attempt}" if run.attempt > 1 else ""
        self._line(at, sent, run.delivery_id, "handler", name, f"{run.ms:.0f} ms", asked, again)

    def called(self, at: float, sent: Sent | None, call: Call, slots: int, limit: int) -> None:
        """Show a call to the API and the use of the rate limit at this moment."""
        what = f"{call.method} {call.path.removeprefix('/api/v4')}"
        if call.entities > 1:
            what += f" × {call.entities}"
        waited = f"after {call.waited_ms:.0f} ms for a slot" if call.waited_ms >= 1 else ""
        answer = Text(f"{call.status or 'no answer'} in {call.ms:.0f} ms", style="" if call.is_done else "red")
        self._line(at, sent, call.delivery_id, "call", what, answer, slots_bar(slots, limit), waited)

    def trouble(self, line: LogLine) -> None:
        """Show a warning or an error of one of the processes."""
        reason = str(line.about.get("error") or line.about.get("reason") or "")
        delivery_id = str(line.about.get("delivery") or "")
        self._line(line.at, None, delivery_id, "trouble", f"{line.source}: {line.message}", reason)

    def failed(self, sentence: str) -> None:
        """Say why the demo does not go on."""
        self.console.print(Text(sentence, style=_STYLES["trouble"]))

    def goodbye(self) -> None:
        """Say that the end has come."""
        self.console.print()
        self.console.print(Text("Ending: the processes, Redis, the folder with its data.", style="dim"))

    def _line(self, at: float, sent: Sent | None, delivery_id: str, step: str, what: str, *details: str | Text) -> None:
        text = Text(what)
        text.pad_right(max((_DETAILS_AT if self._wide else _DETAILS_AT_NARROW) - len(what), 2))
        for detail in details:
            text.append_text(detail if isinstance(detail, Text) else Text(detail, style="dim"))
            text.append("  " if detail else "")
        text.rstrip()
        number = f"#{sent.number}" if sent else ""
        grid = _grid(12, 4, 6, 7) if self._wide else _grid(12, 4, 7)
        grid.columns[1].justify = "right"
        ids = [Text(short(delivery_id), style="dim")] if self._wide else []
        grid.add_row(Text(clock(at), style="dim"), number, *ids, Text(step, _STYLES[step]), text)
        self.console.print(grid)

    def _echo(self, *, is_echo: bool) -> str:
        if not is_echo:
            return ""
        return "our own write comes back" if self._wide else "our own write"


def clock(at: float) -> str:
    """Write a moment (epoch seconds) as the local time of day, to the ms."""
    return datetime.fromtimestamp(at).strftime("%H:%M:%S.%f")[:-3]  # noqa: DTZ006 - for the eyes of whoever sits here


def short(delivery_id: str) -> str:
    """Shorten a delivery's id to its random end: its beginning is the time."""
    return delivery_id[-6:]


def slots_bar(used: int, limit: int) -> Text:
    """Draw how many slots of the rate limit are taken."""
    style = "red" if used >= limit else "yellow" if used > limit // 2 else "green"
    return Text.assemble(("■" * used, style), ("□" * (limit - used), "dim"), f" {used}/{limit}")


def _answer(sent: Sent | None) -> str:
    if sent is None or not sent.attempts:
        return "stored"
    last = sent.attempts[-1]
    return f"{last.status} in {last.ms:.0f} ms"


def _grid(*widths: int) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for width in widths:
        grid.add_column(width=width, no_wrap=True)
    grid.add_column(overflow="fold")
    return grid
