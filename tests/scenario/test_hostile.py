"""What strangers and forged deliveries can make the whole program do: nothing."""

import http.client
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from cryptography.fernet import Fernet

from kommo.hooks.signature import url_signature
from sandbox import Sandbox
from tests.scenario.calling import call
from tests.scenario.fleet import ACCOUNT, CLIENT, SECRET, Program
from tests.waiting import wait_for

pytestmark = pytest.mark.scenario


@pytest.fixture
def kommo() -> Iterator[Sandbox]:
    with Sandbox(account_id=ACCOUNT, subdomain="scenario", tokens=("scenario-token",), retry_after=1) as box:
        yield box


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A port at which nobody has any business."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        listener.settimeout(0.5)
        yield listener


def _hosts(trap: socket.socket) -> list[str]:
    host = f"127.0.0.1:{trap.getsockname()[1]}"
    return [host, f"http://{host}/", f"http://{host}/api/v4", f"acme.kommo.com@{host}", f"{host}#.kommo.com"]


def _was_called(trap: socket.socket) -> bool:
    try:
        connection, _ = trap.accept()
    except TimeoutError:
        return False
    connection.close()
    return True


def _get(program: Program, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_no_host_that_a_payload_or_a_visitor_names_is_ever_called(kommo: Sandbox, trap: socket.socket) -> None:
    environ = {
        "KOMMO_API_BASE": kommo.url,
        "KOMMO_PUBLIC_URL": "http://127.0.0.1:1",
        "KOMMO_TOKEN_KEYS": Fernet.generate_key().decode(),
    }
    with Program(**environ) as program:
        program.web()
        program.worker("one")
        for number, host in enumerate(_hosts(trap)):
            lead = call(kommo, "POST", "/api/v4/leads", [{"name": f"Lead {number}", "price": 10}])
            fields = {
                "account[id]": str(ACCOUNT),
                "account[subdomain]": host,
                "account[_links][self]": f"http://{host}",
                "leads[add][0][id]": str(lead["_embedded"]["leads"][0]["id"]),
                "leads[add][0][name]": f"Lead {number}",
                "leads[add][0][price]": "10",
                "leads[add][0][created_at]": str(1_795_000_000 + number),
                "leads[add][0][_links][self][href]": f"http://{host}/api/v4/leads/1",
            }
            assert program.post("&".join(f"{quote(name)}={quote(value)}" for name, value in fields.items())) == 200
            for door in (
                f"/oauth/callback?code=def502&client_id={CLIENT}&from_widget=1&referer={quote(host, safe='')}",
                f"/oauth/callback?code=def502&client_id={CLIENT}&state=none&referer={quote(host, safe='')}",
                f"/oauth/start?client_id={quote(host, safe='')}",
            ):
                assert _get(program, door, Host=host, Referer=f"http://{host}/") in range(300, 500)
        wait_for(
            lambda: len(kommo.requests(method="POST", path="/api/v4/contacts")) and program.settled(),
            seconds=30,
            what=program.log("one"),
        )
        leads = call(kommo, "GET", "/api/v4/leads")["_embedded"]["leads"]
        # All follow-ups went where the account of the settings lives.
        assert [lead["price"] for lead in leads] == [11] * len(_hosts(trap))
        assert not _was_called(trap)


def test_a_disconnect_call_by_somebody_who_has_seen_the_webhooks_address_ends_nothing(kommo: Sandbox) -> None:
    with Program(KOMMO_API_BASE=kommo.url) as program:
        program.web()
        program.worker("one")
        signature = url_signature(SECRET, CLIENT, ACCOUNT)
        path = f"/oauth/disconnect?account_id={ACCOUNT}&client_uuid={CLIENT}&signature={signature}"
        assert _get(program, path) == 200
        wait_for(lambda: kommo.requests(method="GET", path="/api/v4/account"), seconds=20, what="Kommo is asked")
        lead = call(kommo, "POST", "/api/v4/leads", [{"name": "Door", "price": 10}])["_embedded"]["leads"][0]["id"]
        assert program.post(f"leads[add][0][id]={lead}&leads[add][0][name]=Door&leads[add][0][price]=10") == 200
        wait_for(
            lambda: call(kommo, "GET", f"/api/v4/leads/{lead}")["price"] == 11, seconds=20, what=program.log("one")
        )


def test_a_captured_delivery_that_is_sent_again_and_again_is_handled_once(kommo: Sandbox) -> None:
    body = "leads[update][0][id]=5&leads[update][0][price]=1&leads[update][0][updated_at]=1795000000"
    with Program(KOMMO_API_BASE=kommo.url) as program:
        program.web()
        program.worker("one")
        assert [program.post(body) for _ in range(20)] == [200] * 20
        # The same change, in other bytes.
        assert [program.post(f"{body}&x={number}") for number in range(5)] == [200] * 5
        program.post("leads[update][0][id]=5&leads[update][0][price]=2&leads[update][0][updated_at]=1795000001")
        wait_for(lambda: "2" in program.ran("lead:5"), seconds=20, what=program.log("one"))
        assert program.ran("lead:5") == ["1", "2"]
