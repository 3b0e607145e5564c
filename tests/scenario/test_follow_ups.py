"""Follow-up calls when things go wrong: what was asked for arrives, once, within the limit, and causes no loop."""

import json
from collections.abc import Iterator

import pytest

from bench.filling import fill
from kommo.api.later import Later
from kommo.hooks.signature import webhook_url
from sandbox import Sandbox
from tests.scenario.calling import call, command
from tests.scenario.fleet import ACCOUNT, CLIENT, SECRET, Program
from tests.waiting import wait_for

pytestmark = pytest.mark.scenario

HANDLERS = {"KOMMO_HANDLERS": "tests.scenario.answering"}


@pytest.fixture
def kommo() -> Iterator[Sandbox]:
    with Sandbox(account_id=ACCOUNT, subdomain="scenario", tokens=("scenario-token",), retry_after=1) as box:
        yield box


def _program(box: Sandbox, **environ: str) -> Program:
    return Program(KOMMO_API_BASE=box.url, **{**HANDLERS, **environ})


def _register(program: Program, box: Sandbox, *events: str) -> None:
    box.register(webhook_url(f"http://127.0.0.1:{program.port}", SECRET, CLIENT, ACCOUNT), *events)


def _statuses(box: Sandbox) -> set[int]:
    return {request["status"] for request in box.requests()}


def test_a_fleet_of_four_stays_within_the_limit_though_the_network_delays_its_calls(kommo: Sandbox) -> None:
    def ask(later: Later, number: int) -> None:
        later.leads.update(number + 1, price=1, _embedded={"tags": []})

    with _program(kommo) as program:
        fill(program.redis, ACCOUNT, 60, ask)
        kommo.latency(0.0, 0.1)
        for name in ("one", "two", "three", "four"):
            program.worker(name)
        wait_for(program.settled, seconds=40, what=program.log("one"))
    assert kommo.peak <= 7
    assert 429 not in _statuses(kommo)
    assert len(kommo.requests(method="PATCH")) == 60


def test_what_many_handlers_ask_for_travels_together(kommo: Sandbox) -> None:
    with _program(kommo) as program:
        program.web()
        _register(program, kommo, "add_lead")
        for number in range(20):
            command(kommo, "lead.create", name=f"L{number}")
        assert kommo.settled(20)
        program.worker("one")
        wait_for(lambda: len(kommo.world.state.records["tasks"]) == 20, seconds=20, what=program.log("one"))
        wait_for(program.settled, seconds=20)
    assert len(kommo.requests(method="POST", path="/api/v4/tasks")) <= 10


def test_a_handler_that_writes_on_every_update_does_not_run_on_its_own_writes(kommo: Sandbox) -> None:
    with _program(kommo) as program:
        program.web()
        program.worker("one")
        lead = command(kommo, "lead.create", name="Door", price=10)["id"]
        _register(program, kommo, "update_lead")

        command(kommo, "lead.update", id=lead, price=20)
        wait_for(lambda: program.ran("watched") == ["20", "21"], seconds=20, what=program.log("one"))
        command(kommo, "lead.update", id=lead, name="Gate")
        wait_for(lambda: program.ran("watched") == ["20", "21", "21", "22"], seconds=20, what=program.log("one"))
        assert kommo.settled(20)
        wait_for(program.settled, seconds=20)
        assert program.ran("repriced") == ["20", "21"]
    assert kommo.world.state.records["leads"][lead].fields["price"] == 22


@pytest.mark.parametrize("kind", ["hang", "close_after"])
def test_a_task_whose_answer_was_lost_is_not_made_twice(kommo: Sandbox, kind: str) -> None:
    with _program(kommo) as program:
        program.web()
        program.worker("one")
        _register(program, kommo, "add_lead")
        kommo.fault(method="POST", path="/api/v4/tasks", kind=kind, after_work=True, times=1)
        command(kommo, "lead.create", name="Door")
        wait_for(lambda: kommo.world.state.records["tasks"], seconds=20, what=program.log("one"))
        if kind == "hang":
            # It dies between sending and recording.
            program.kill("one")
            program.worker("two")
        wait_for(program.settled, seconds=30, what=json.dumps(kommo.requests()))
        assert [task.fields["text"] for task in kommo.world.state.records["tasks"].values()] == ["Call about Door"]
    assert kommo.requests(method="GET", path="/api/v4/tasks"), "it was looked for"


def test_one_bad_item_costs_the_others_of_its_request_nothing(kommo: Sandbox) -> None:
    def ask(later: Later, number: int) -> None:
        later.leads.update(leads[number], price="a lot" if number == 3 else number)

    leads = [command(kommo, "lead.create", name=f"L{number}")["id"] for number in range(10)]
    with _program(kommo) as program:
        fill(program.redis, ACCOUNT, 10, ask)
        program.worker("one")
        wait_for(program.settled, seconds=20, what=program.log("one"))
        assert program.redis.hlen(f"kommo:{{0}}:dead:{ACCOUNT}") == 1
    prices = [call(kommo, "GET", f"/api/v4/leads/{lead}")["price"] for lead in leads]
    assert prices == [0, 1, 2, prices[3], 4, 5, 6, 7, 8, 9]
    assert len(kommo.requests(method="PATCH")) <= 3
