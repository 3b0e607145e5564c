"""The pages about running and mending, compared with the code: lines of the log, reasons, chores."""

import ast
import functools
import re
from collections.abc import Iterator
from typing import get_args

import pytest
from flask import Flask

from kommo.errors import DecodeError
from kommo.store.connection import connect
from kommo.store.fleet import Fleet
from kommo.store.keys import Keys
from kommo.store.limiter import SPACING
from kommo.store.parking import Reason
from kommo.store.server import PrivateServer
from receiver.health import Health, blueprint
from tests.unit.pages import ROOT, code_in, page, rows

SOURCES = "\n".join(
    path.read_text("utf-8") for room in ("kommo", "receiver", "workers") for path in sorted((ROOT / room).rglob("*.py"))
)


def _reasons() -> set[str]:
    """Every reason that the page of troubleshooting explains, whatever it is a reason for."""
    found = rows("docs/troubleshooting.md", "reason", "what to do")
    letters = rows("docs/troubleshooting.md", "kind", "reason", "what it means")
    return {
        reason for cell in [cell for cell, _ in found] + [cell for _, cell, _ in letters] for reason in code_in(cell)
    }


#: The lines of the log that the page explains.
MESSAGES = [code for cell, *_ in rows("docs/run-a-fleet.md", "`message`", "who", "when") for code in code_in(cell)]
_LOGGING = frozenset({"debug", "info", "warning", "error", "critical", "exception", "log"})


@functools.cache
def _logged() -> set[str]:
    """Every sentence that is logged, as a pattern: what is put in while the program runs may be anything.

    The demo's are left out: nobody runs it for long.
    """
    files = [path for room in ("kommo", "receiver", "workers") for path in (ROOT / room).rglob("*.py")]
    calls = (
        node
        for path in files
        if "demo" not in path.parts
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _LOGGING
    )
    return {sentence for call in calls if "log" in ast.unparse(call.func) for sentence in _sentences(call.args)}


def _sentences(arguments: list[ast.expr]) -> Iterator[str]:
    for argument in arguments:
        parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
        texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
        if any(isinstance(text, str) for text in texts):
            yield "".join(re.escape(text) if isinstance(text, str) else ".+" for text in texts)


@pytest.mark.parametrize("message", MESSAGES)
def test_every_line_of_the_log_that_is_named_is_written(message: str) -> None:
    assert any(re.fullmatch(sentence, message) for sentence in _logged())


def test_every_line_of_the_log_that_is_written_is_explained() -> None:
    assert {sentence for sentence in _logged() if not any(re.fullmatch(sentence, said) for said in MESSAGES)} == set()


def test_every_reason_for_which_an_account_is_parked_is_explained() -> None:
    shown = {
        code for cell, *_ in rows("docs/run-a-fleet.md", "", "what happens", "how it ends") for code in code_in(cell)
    }
    assert shown == set(get_args(Reason))


def test_every_chore_of_beat_is_explained_and_no_other() -> None:
    shown = {code for cell, *_ in rows("docs/run-a-fleet.md", "chore", "every", "what") for code in code_in(cell)}
    assert shown == set(re.findall(r'task\(name="(workers\.chores[\w.]*)"', SOURCES))


def test_every_reason_that_is_explained_is_given_somewhere() -> None:
    numbered = {reason for reason in _reasons() if re.search(r"=[0-9]", reason)}
    assert {reason for reason in _reasons() - numbered if f'"{reason}"' not in SOURCES} == set()


def test_every_reason_of_a_delivery_that_cannot_be_decoded_is_explained() -> None:
    kinds: list[type[DecodeError]] = [DecodeError, *DecodeError.__subclasses__()]
    assert {kind.reason for kind in kinds} <= _reasons()


def test_every_reason_for_degraded_is_explained() -> None:
    with PrivateServer() as server:
        redis = connect(server.url)
        for name, value in {"appendonly": "no", "maxmemory": "1gb", "maxmemory-policy": "allkeys-lru"}.items():
            redis.config_set(name, value)
        redis.zadd(Keys().queue("lanes", 0).ready, {"1": 1})
        fleet = Fleet(redis)
        app = Flask(__name__)
        app.register_blueprint(blueprint(Health(redis, fleet, Keys())))
        without_workers = app.test_client().get("/health/ready").get_json()["reasons"]
        fleet.check_shards(4)
        fleet.announce("worker", {}, [], sweep_ms=1000)
        with_one = app.test_client().get("/health/ready").get_json()["reasons"]
        redis.close()
    assert len({*without_workers, *with_one}) == 5
    assert {*without_workers, *with_one} <= _reasons()


def test_the_decision_about_slots_names_the_share_that_is_used() -> None:
    outcome = page("docs/adr/0004-slots-spread-over-the-second.md").partition("## Outcome")[2]
    assert f"with a share of {SPACING:g} (`SPACING`" in outcome
