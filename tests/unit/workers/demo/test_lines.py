"""Reading the children's log lines."""

import io
import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from kommo import log
from workers.demo.lines import LogLine, call_in, parse, place_of, run_in, steps_in, written_in

STAMP = "2026-03-04T05:06:07.250000Z"
SECONDS = 1772600767.25


def line(message: str, **about: object) -> LogLine:
    found = parse("worker-1", json.dumps({"message": message, "level": "info", "timestamp": STAMP, **about}))
    assert found is not None
    return found


def test_a_line_tells_who_when_and_what():
    found = line("drained", delivery="d1")
    assert (found.source, found.at, found.level, found.message) == ("worker-1", SECONDS, "info", "drained")
    assert found.about["delivery"] == "d1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " -------------- celery@demo v5",
        "[2026-03-04 05:06:07] INFO",
        "[1, 2]",
        '"text"',
        "{}",
        '{"message": "m", "level": "info", "timestamp": 5}',
        '{"message": "m", "level": "info", "timestamp": "yesterday"}',
        '{"message": "m", "timestamp": "2026-03-04T05:06:07Z"}',
    ],
)
def test_what_is_not_a_structured_line_is_passed_over(text):
    assert parse("beat", text) is None


@given(st.text())
def test_no_output_of_a_child_can_break_the_reading(text):
    assert parse("beat", text) is None


@pytest.mark.parametrize(("level", "trouble"), [("info", False), ("warning", True), ("error", True)])
def test_warnings_and_errors_are_trouble(level, trouble):
    assert LogLine("w", 0, level, "m").is_trouble is trouble


def test_the_end_of_a_run_is_read():
    run = run_in(line("handled", delivery="d1", event="e1", handler="shop.won", attempt=2, ms=250.0, writes=3))
    assert run is not None
    assert (run.delivery_id, run.event_id, run.handler) == ("d1", "e1", "shop.won")
    assert (run.attempt, run.ms, run.writes) == (2, 250.0, 3)
    assert run.began_at == SECONDS - 0.25


def test_a_call_is_read_with_who_asked_for_it():
    call = call_in(
        line(
            "api call",
            delivery="d1",
            event="e1",
            handler="shop.won",
            method="PATCH",
            path="/p",
            status=200,
            ms=50,
            entities=3,
        )
    )
    assert call is not None
    assert (call.delivery_id, call.event_id, call.handler) == ("d1", "e1", "shop.won")
    assert (call.method, call.path, call.is_done, call.entities) == ("PATCH", "/p", True, 3)
    assert call.began_at == pytest.approx(SECONDS - 0.05)


def test_a_call_without_an_answer_is_not_done():
    call = call_in(line("api call", method="POST", path="/p", status=None))
    assert call is not None
    assert (call.status, call.is_done, call.delivery_id) == (None, False, "")


def test_a_request_tells_whose_writes_it_carried():
    found = line("written", writes=3, by=[["d1", "e1", "shop.won", 2], ["d2", "e2", "shop.lost", 1]])
    assert written_in(found) == {("e1", "shop.won"): 2, ("e2", "shop.lost"): 1}
    assert written_in(line("handled", writes=3)) == {}


def test_the_steps_of_a_drained_delivery_are_read():
    assert steps_in(line("drained", delivery="d1", steps=2, events=["lead.added"])) == ("d1", 2)


def test_other_lines_are_none_of_these():
    other = line("delivery", delivery="d1")
    assert (run_in(other), call_in(other), steps_in(other)) == (None, None, None)


def test_runs_and_calls_are_placed_where_they_began_and_other_lines_where_they_are():
    assert place_of(line("handled", ms=250), longest=1) == SECONDS - 0.25
    assert place_of(line("api call", ms=500), longest=1) == SECONDS - 0.5
    assert place_of(line("drained", ms=500), longest=1) == SECONDS


def test_what_took_long_stays_where_it_ended():
    assert place_of(line("handled", ms=1001), longest=1) == SECONDS


@pytest.fixture
def logged():
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    log.configure(stream=stream, json=True)
    yield stream
    structlog.configure(**before)
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_what_our_own_logging_writes_can_be_read(logged):
    with log.about(delivery="d1", event="e1", handler="shop.won"):
        structlog.get_logger("workers.run").info("handled", ms=1.5, writes=1)
    found = parse("worker-2", logged.getvalue())
    assert found is not None
    run = run_in(found)
    assert run is not None
    assert (run.delivery_id, run.event_id, run.handler, run.writes) == ("d1", "e1", "shop.won", 1)
