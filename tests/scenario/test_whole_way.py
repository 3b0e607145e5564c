"""From a change in Kommo to the follow-up calls that arrive there, through every process."""

import signal
from collections.abc import Iterator

import pytest

from kommo.hooks.signature import webhook_url
from sandbox import Sandbox
from tests.scenario.calling import call, command
from tests.scenario.fleet import ACCOUNT, CLIENT, ROOT, SECRET, Program
from tests.waiting import wait_for

pytestmark = pytest.mark.scenario


@pytest.fixture
def kommo() -> Iterator[Sandbox]:
    with Sandbox(account_id=ACCOUNT, subdomain="scenario", tokens=("scenario-token",), retry_after=1) as box:
        yield box


def _program(box: Sandbox, **environ: str) -> Program:
    return Program(KOMMO_API_BASE=box.url, **environ)


def _register(program: Program, box: Sandbox) -> None:
    box.register(
        webhook_url(f"http://127.0.0.1:{program.port}", SECRET, CLIENT, ACCOUNT),
        "add_lead",
        "update_lead",
        "add_contact",
    )


def _items(box: Sandbox, path: str) -> int:
    return sum(request["items"] for request in box.requests(method="POST", path=path))


def test_a_new_lead_is_followed_up_in_kommo_with_references_between_the_writes(kommo: Sandbox) -> None:
    with _program(kommo) as program:
        program.web()
        program.worker("one")
        _register(program, kommo)
        lead = call(kommo, "POST", "/api/v4/leads", [{"name": "Door", "price": 10}])["_embedded"]["leads"][0]["id"]

        wait_for(lambda: program.ran("looked_up"), seconds=20, what=program.log("one"))
        wait_for(program.settled, seconds=20)
        changed = call(kommo, "GET", f"/api/v4/leads/{lead}")
        assert (changed["price"], [tag["name"] for tag in changed["_embedded"]["tags"]]) == (11, ["seen"])
        (contact,) = call(kommo, "GET", "/api/v4/contacts")["_embedded"]["contacts"]
        assert contact["name"] == "Contact of Door"
        (note,) = call(kommo, "GET", f"/api/v4/contacts/{contact['id']}/notes")["_embedded"]["notes"]
        assert note["params"]["text"] == "made together"
        assert program.ran("looked_up") == ["Contact of Door"]


def test_a_burst_of_follow_ups_over_two_workers_stays_within_kommos_limit(kommo: Sandbox) -> None:
    with _program(kommo) as program:
        program.web()
        program.worker("one")
        program.worker("two")
        kommo.register(webhook_url(f"http://127.0.0.1:{program.port}", SECRET, CLIENT, ACCOUNT), "add_lead")
        for number in range(8):
            command(kommo, "lead.create", name=f"L{number}")
        wait_for(lambda: _items(kommo, "/api/v4/contacts/notes") == 8, seconds=30, what=program.log("one"))
        wait_for(program.settled, seconds=30, what=program.log("one"))
        requests = kommo.requests()
        assert {request["status"] for request in requests} == {200}
        assert len(requests) < 24, "what the handlers ask for travels together"
        assert kommo.peak <= 7


def test_a_stopped_worker_ends_within_ten_seconds_and_another_takes_over(kommo: Sandbox) -> None:
    with _program(kommo) as program:
        program.web()
        program.worker("one")
        _register(program, kommo)
        assert program.terminate("one", seconds=10) == 0
        command(kommo, "lead.create", name="while nobody works")
        wait_for(lambda: kommo.settled(5), what="the delivery was answered")
        assert not program.ran("looked_up")
        program.worker("two")
        wait_for(lambda: program.ran("looked_up"), seconds=20, what=program.log("two"))


@pytest.mark.parametrize("lead", [811, 812, 813])
def test_a_slow_handler_holds_up_no_other_lead(lead: int) -> None:
    with Program() as program:
        program.web()
        program.worker("one")
        program.post("leads[restore][0][id]=801&leads[restore][0][updated_at]=1700000000")
        wait_for(lambda: program.ran("begun"), what=program.log("one"))
        program.post(f"leads[update][0][id]={lead}&leads[update][0][price]=1&leads[update][0][updated_at]=1700000000")
        wait_for(lambda: program.ran(f"lead:{lead}"), seconds=2.5, what="the other lead is handled meanwhile")


def test_prefork_works_too(kommo: Sandbox) -> None:
    with _program(kommo) as program:
        program.web()
        program.worker("runs", "-P", "prefork", "-c", "2", "-Q", "run")
        program.worker("sends", "-P", "prefork", "-c", "2", "-Q", "drain,flush")
        _register(program, kommo)
        command(kommo, "lead.create", name="Forked")
        wait_for(lambda: program.ran("looked_up") == ["Contact of Forked"], seconds=30, what=program.log("runs"))
        assert program.terminate("runs") == 0


def test_beat_starts_and_stops_and_leaves_no_file() -> None:
    before = set(ROOT.iterdir())
    with Program() as program:
        beat = program.start("beat", "celery", "-A", "workers.app", "beat")
        wait_for(lambda: "beat: Starting" in program.log("beat"), what="beat runs")
        beat.send_signal(signal.SIGTERM)
        assert beat.wait(10) == 0
    assert set(ROOT.iterdir()) == before
