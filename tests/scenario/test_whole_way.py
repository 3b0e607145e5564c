"""From a change in Kommo to the follow-up calls that arrive there, through every process."""

import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from kommo.hooks.signature import webhook_url
from sandbox import Sandbox
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


def _call(box: Sandbox, method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 - our own sandbox on loopback
        f"{box.url}{path}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Content-Type": "application/json", "Authorization": "Bearer scenario-token"},
    )
    return wait_for(lambda: _answer(request), every=0.3, what=f"{path} is answered")


def _answer(request: urllib.request.Request) -> Any:
    """Give the answer; None while the limit, which the program's own calls fill too, lets nobody in."""
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 429:
            raise
        return None


def _command(box: Sandbox, command: str, **arguments: Any) -> Any:
    return _call(box, "POST", f"/_sandbox/{command}", arguments)


def test_a_new_lead_is_followed_up_in_kommo_with_references_between_the_writes(kommo: Sandbox) -> None:
    with _program(kommo) as program:
        program.web()
        program.worker("one")
        _register(program, kommo)
        lead = _call(kommo, "POST", "/api/v4/leads", [{"name": "Door", "price": 10}])["_embedded"]["leads"][0]["id"]

        wait_for(lambda: program.ran("looked_up"), seconds=20, what=program.log("one"))
        wait_for(program.settled, seconds=20)
        changed = _call(kommo, "GET", f"/api/v4/leads/{lead}")
        assert (changed["price"], [tag["name"] for tag in changed["_embedded"]["tags"]]) == (11, ["seen"])
        (contact,) = _call(kommo, "GET", "/api/v4/contacts")["_embedded"]["contacts"]
        assert contact["name"] == "Contact of Door"
        (note,) = _call(kommo, "GET", f"/api/v4/contacts/{contact['id']}/notes")["_embedded"]["notes"]
        assert note["params"]["text"] == "made together"
        assert program.ran("looked_up") == ["Contact of Door"]


def test_a_burst_of_follow_ups_over_two_workers_stays_within_kommos_limit(kommo: Sandbox) -> None:
    with _program(kommo) as program:
        program.web()
        program.worker("one")
        program.worker("two")
        kommo.register(webhook_url(f"http://127.0.0.1:{program.port}", SECRET, CLIENT, ACCOUNT), "add_lead")
        before = len(kommo.requests())
        for number in range(8):
            _command(kommo, "lead.create", name=f"L{number}")
        wait_for(
            lambda: program.settled() and len(kommo.requests()) - before >= 24, seconds=30, what=program.log("one")
        )
        requests = kommo.requests()[before:]
        assert len(requests) == 24
        assert {request["status"] for request in requests} == {200}
        assert kommo.peak <= 7


def test_a_stopped_worker_ends_within_ten_seconds_and_another_takes_over(kommo: Sandbox) -> None:
    with _program(kommo) as program:
        program.web()
        program.worker("one")
        _register(program, kommo)
        assert program.terminate("one", seconds=10) == 0
        _command(kommo, "lead.create", name="while nobody works")
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
        _command(kommo, "lead.create", name="Forked")
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
