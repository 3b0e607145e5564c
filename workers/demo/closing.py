"""The end of the demo: the table that accounts for every delivery, the sums, what is missing, what to try next."""

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from workers.demo.reckoning import Reckoning, Row, State, Totals, quantile
from workers.demo.records import Sent
from workers.demo.screen import clock, short

#: Columns from which on the table shows the deliveries' ids, too.
_WIDE: Final = 100
#: ms that Kommo waits for an answer. https://developers.kommo.com/docs/webhooks-general
_KOMMO_WAITS: Final = "2,000"


def show(console: Console, reckoning: Reckoning) -> None:
    """Print table, sums and verdict."""
    console.print()
    console.print(_table(reckoning.rows, wide=console.width >= _WIDE))
    console.print(_sums(reckoning.totals))
    console.print()
    if not reckoning.missing:
        console.print(Text("✓ Every delivery was handled and followed up; nothing is left.", style="bold green"))
        return
    console.print(Text("✗ Not all was handled and followed up:", style="bold red"))
    for sentence in reckoning.missing:
        console.print(Text(f"  {sentence}", style="red"))


def suggest(console: Console, sandbox_url: str, *, stays: bool) -> None:
    """Say what to try next."""
    console.print()
    console.print(Text("What to try next", style="bold"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=2)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for what, how in _suggestions(sandbox_url, stays=stays):
        grid.add_row("", Text(what, style="cyan"), how)
    console.print(grid)
    if stays:
        console.print()
        console.print(Text("The demo stays up and shows what happens. Ctrl-C ends it and cleans up.", style="bold"))


def _suggestions(sandbox_url: str, *, stays: bool) -> Sequence[tuple[str, str]]:
    page = (
        (f"{sandbox_url}/", "the sandbox's control page: create a lead there, move it, and watch it come in here")
        if stays
        else ("make demo", "without --once it stays up, with a control page to create and move leads yourself")
    )
    return (
        page,
        ("examples/welcome_task.py", "a whole handler in a screenful: copy it and name your module in KOMMO_HANDLERS"),
        ("python -m sandbox", "a stand-in for Kommo to develop against: its API, its limits, its webhooks"),
        (".env.example", "the settings for an account of your own"),
        ("kommo webhooks register", "subscribe your receiver at Kommo; kommo webhooks --help tells the rest"),
        ("README.md, docs/", "how it works, and why it has this shape"),
    )


def _table(rows: Sequence[Row], *, wide: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, int(wide), 0, 0), pad_edge=False)
    table.add_column("#", justify="right", no_wrap=True)
    if wide:
        table.add_column("id", style="dim", no_wrap=True)
    table.add_column("kind", overflow="fold")
    table.add_column("sent", no_wrap=True)
    for name in ("answered", "events", "handlers", "writes"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", overflow="fold")
    for row in rows:
        ids = (short(row.delivery_id),) if wide else ()
        table.add_row(str(row.sent.number), *ids, *_cells(row, wide=wide))
    return table


def _cells(row: Row, *, wide: bool) -> tuple[RenderableType, ...]:
    sent_at, answer = _attempts(row.sent, wide=wide)
    return (
        Text.assemble(row.sent.kind, (" (own)" if row.is_echo else "", "dim")),
        Text(sent_at, style="dim"),
        answer,
        _number(row.events),
        _share(row.runs, row.expected),
        _share(row.written, row.writes),
        Text(row.state, style=_style(row.state)),
    )


def _attempts(sent: Sent, *, wide: bool) -> tuple[str, str]:
    """Write when a delivery was first sent and what the last answer was, in a narrow terminal without fractions."""
    if not sent.attempts:
        return "", ""
    last = sent.attempts[-1]
    if wide:
        return clock(sent.attempts[0].at), f"{last.status} {last.ms:5.1f} ms"
    return clock(sent.attempts[0].at)[:8], f"{last.status} {last.ms:3.0f} ms"


def _number(number: int) -> Text:
    return Text(str(number)) if number else Text("-", style="dim")


def _share(done: int, owed: int) -> Text:
    if not done and not owed:
        return Text("-", style="dim")
    return Text(f"{done} of {owed}", style="red" if done < owed else "")


def _style(state: State) -> str:
    return {State.HANDLED: "green", State.DUPLICATE: "cyan"}.get(state, "bold red")


def _sums(totals: Totals) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, what in (
        ("deliveries", _deliveries(totals)),
        ("events", f"{totals.events}, for which handlers ran {totals.runs} times"),
        ("API calls", f"{totals.calls}, which carried {totals.writes} follow-up writes; refused: {totals.refused}"),
        ("rate limit", f"at most {totals.peak} calls arrived in any one second; {totals.limit} are allowed"),
        ("answers", f"{_spread(totals.answers_ms)}; Kommo waits {_KOMMO_WAITS} ms"),
        ("to handlers", f"{_spread(totals.until_handler_ms)}, from the sending of a delivery to its handler's begin"),
    ):
        grid.add_row(name, what)
    return grid


def _deliveries(totals: Totals) -> str:
    return (
        f"{totals.sent} sent = {totals.stored} stored + {totals.duplicates} duplicate; "
        f"{totals.echoes} of them are our own writes coming back"
    )


def _spread(values: Sequence[float]) -> str:
    return f"p50 {quantile(values, 0.5):.1f} ms, p99 {quantile(values, 0.99):.1f} ms"
