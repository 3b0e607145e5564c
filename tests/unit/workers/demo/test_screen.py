"""What is shown: each line of a delivery's way, the table, and that it is plain where no terminal is."""

import io
import re

import pytest
from rich.console import Console

from tests.unit.workers.demo.books import balanced, run, sent, with_, write
from workers.demo import closing
from workers.demo.lines import LogLine
from workers.demo.reckoning import reckon
from workers.demo.screen import Screen, clock, short, slots_bar


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=120, highlight=False)


@pytest.fixture
def screen(console):
    return Screen(console)


def shown(console: Console) -> str:
    return console.file.getvalue()


def test_the_clock_shows_the_time_of_day_to_the_ms():
    assert re.fullmatch(r"\d\d:\d\d:07\.250", clock(1772600767.25))


def test_a_delivery_is_called_by_the_random_end_of_its_id():
    assert short("019cb7a1f3c2" + "0" * 14 + "3fa9c1") == "3fa9c1"


@pytest.mark.parametrize(("used", "drawn"), [(0, "□□□□□□□ 0/7"), (3, "■■■□□□□ 3/7"), (7, "■■■■■■■ 7/7")])
def test_the_bar_shows_the_slots_in_use(used, drawn):
    assert slots_bar(used, 7).plain == drawn


def test_the_way_of_a_delivery_is_one_line_a_step_with_number_and_id(console, screen):
    one, delivery_id = sent(12, "ann"), "0" * 26 + "3fa9c1"
    screen.arrived(1.0, one, delivery_id, is_echo=False)
    screen.drained(1.1, one, delivery_id, ["lead.added"], 1)
    screen.ran(1.2, one, run(delivery_id, "e", handler="examples.welcome_task.welcome"))
    screen.called(1.3, one, write(delivery_id, "e"), 2, 7)
    lines = shown(console).splitlines()
    assert all("#12" in line and "3fa9c1" in line for line in lines)
    assert [line.split()[3] for line in lines] == ["in", "events", "handler", "call"]
    assert "leads.add" in lines[0]
    assert "200 in 4 ms" in lines[0]
    assert "lead.added" in lines[1]
    assert "welcome_task.welcome" in lines[2]
    assert "asks for 1 write" in lines[2]
    assert "POST /tasks" in lines[3]
    assert "2/7" in lines[3]


def test_columns_stand_under_one_another(console, screen):
    screen.arrived(1.0, sent(1, "a"), "d" * 32, is_echo=False)
    screen.arrived(1.0, sent(987, "a", kind="leads.status"), "e" * 32, is_echo=True)
    first, second = shown(console).splitlines()
    assert first.index("leads.add") == second.index("leads.status")
    assert first.index("200 in") == second.index("200 in")


def test_an_echo_of_our_own_write_says_so(console, screen):
    screen.arrived(1.0, sent(1, "a"), "d", is_echo=True)
    assert "our own write comes back" in shown(console)


def test_a_repeat_says_that_it_was_not_stored_twice(console, screen):
    screen.repeated(1.0, sent(9, "a"))
    assert "#9" in shown(console)
    assert "same bytes, not stored again" in shown(console)


def test_equal_events_are_counted_and_unwanted_ones_said_to_be(console, screen):
    screen.drained(1.0, None, "d", ["lead.added"] * 3, 3)
    screen.drained(1.0, None, "d", ["lead.updated", "lead.status_changed"], 0)
    screen.drained(1.0, None, "d", [], 0)
    first, second, third = shown(console).splitlines()
    assert "3 × lead.added" in first
    assert "lead.updated, lead.status_changed" in second
    assert "no handler wants it" in second
    assert "none" in third


def test_trouble_names_the_process_and_the_reason(console, screen):
    screen.trouble(LogLine("worker-2", 1.0, "error", "write given up", {"error": "BadRequest: no such lead"}))
    assert "worker-2: write given up" in shown(console)
    assert "BadRequest: no such lead" in shown(console)


def test_a_narrow_terminal_has_each_step_on_one_line_too():
    console = Console(file=io.StringIO(), width=80)
    screen, one, delivery_id = Screen(console), sent(112, "ann", kind="leads.responsible"), "0" * 32
    screen.arrived(1.0, one, delivery_id, is_echo=True)
    screen.drained(1.1, one, delivery_id, ["lead.updated", "lead.status_changed"], 0)
    screen.ran(1.2, one, run(delivery_id, "e", handler="examples.stage_on_task_done.advance"))
    screen.called(1.3, one, write(delivery_id, "e"), 7, 7)
    assert len(shown(console).splitlines()) == 4


def test_markup_in_what_is_shown_is_shown_and_not_obeyed(console, screen):
    screen.tell(1.0, "A lead called [red]bike[/red]")
    assert "[red]bike[/red]" in shown(console)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_mentions_every_delivery_and_what_became_of_it(width):
    console = Console(file=io.StringIO(), width=width)
    closing.show(console, reckon(balanced()))
    rows = [line.split() for line in shown(console).splitlines() if re.match(r" *\d+ ", line)]
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    assert [row[-1] for row in rows] == ["handled", "handled", "duplicate", "handled"]
    assert "Every delivery was handled and followed up" in shown(console)


def test_what_is_missing_stands_below_the_table(console):
    closing.show(console, reckon(with_(runs=[])))
    assert "handler missing" in shown(console)
    assert "#1 leads.add: 0 of 1 handler runs" in shown(console)
    assert "Every delivery was handled" not in shown(console)


def test_the_sums_are_there_to_be_read(console):
    closing.show(console, reckon(balanced()))
    assert "4 sent = 3 stored + 1 duplicate" in shown(console)
    assert "at most 2 calls arrived in any one second; 7 are allowed" in shown(console)


def test_without_a_terminal_nothing_is_coloured(console, screen):
    screen.title("A day")
    screen.arrived(1.0, sent(1, "a"), "d", is_echo=True)
    closing.show(console, reckon(with_(runs=[])))
    assert "\x1b" not in shown(console)


def test_on_a_terminal_it_is(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="standard")
    Screen(console).arrived(1.0, sent(1, "a"), "d", is_echo=False)
    assert "\x1b[36min" in shown(console)


def test_the_control_page_is_suggested_only_while_it_is_there(console):
    closing.suggest(console, "http://127.0.0.1:7301", stays=False)
    assert "7301" not in shown(console)
    closing.suggest(console, "http://127.0.0.1:7301", stays=True)
    assert "http://127.0.0.1:7301/" in shown(console)
    assert "Ctrl-C" in shown(console)
