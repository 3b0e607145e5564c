"""An account that is installed by a person in a browser: its tokens renew themselves, it goes and comes back."""

import http.cookiejar
import urllib.request
from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet

from sandbox import Sandbox
from tests.ports import free_port
from tests.scenario.calling import command
from tests.scenario.fleet import ACCOUNT, CLIENT, SECRET, Program
from tests.waiting import wait_for

pytestmark = pytest.mark.scenario


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def kommo(port: int) -> Iterator[Sandbox]:
    """An account whose access tokens live for a few seconds."""
    with Sandbox(
        account_id=ACCOUNT,
        subdomain="scenario",
        client_id=CLIENT,
        client_secret=SECRET,
        redirect_uri=f"http://127.0.0.1:{port}/oauth/callback",
        access_seconds=4,
        retry_after=1,
    ) as box:
        yield box


@pytest.fixture
def program(kommo: Sandbox, port: int) -> Iterator[Program]:
    environ = {
        "PORT": str(port),
        "KOMMO_HANDLERS": "tests.scenario.answering",
        "KOMMO_API_BASE": kommo.url,
        "KOMMO_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "KOMMO_TOKEN_KEYS": Fernet.generate_key().decode(),
        "KOMMO_ACCESS_TOKEN": "",
        "KOMMO_ACCOUNT_ID": "",
        "KOMMO_SUBDOMAIN": "",
    }
    with Program(**environ) as program:
        program.port = port
        program.web()
        program.worker("one")
        program.worker("two")
        yield program


def _install(port: int) -> str:
    """Do as a browser does: start, agree, come back."""
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    with urllib.request.build_opener(cookies).open(f"http://127.0.0.1:{port}/oauth/start", timeout=15) as answer:
        return str(answer.read().decode())


def test_tokens_renew_themselves_one_process_at_a_time_while_a_fleet_works(
    kommo: Sandbox, program: Program, port: int
) -> None:
    _install(port)
    wait_for(kommo.world.webhooks.all, seconds=10, what=program.log("web"))
    names: list[str] = []

    def one_more_and_renewed_thrice() -> bool:
        names.append(f"Contact {len(names)}")
        command(kommo, "contact.create", name=names[-1])
        wait_for(lambda: names[-1] in program.ran("read"), seconds=20, what=program.log("one"))
        return kommo.token_calls.get("refresh_token", {}).get("granted", 0) >= 3

    wait_for(one_more_and_renewed_thrice, seconds=40, every=0.3, what="tokens are renewed")
    assert program.ran("read") == names
    calls = kommo.token_calls["refresh_token"]
    assert calls["asked"] == calls["granted"], "no token was sent twice"


def test_a_disconnected_account_is_noticed_and_goes_on_when_it_is_installed_again(
    kommo: Sandbox, program: Program, port: int
) -> None:
    _install(port)
    wait_for(kommo.world.webhooks.all, seconds=10, what=program.log("web"))
    command(kommo, "oauth/disconnect")
    wait_for(lambda: program.ran("disconnected") == [str(ACCOUNT)], seconds=20, what=program.log("web"))

    # Kommo would tell nothing any more; what it still had on its way is kept, and handlers run.
    command(kommo, "lead.create", name="Door")
    wait_for(lambda: program.redis.exists(f"kommo:{{0}}:outbox:due:{ACCOUNT}"), seconds=20, what=program.log("one"))
    assert not kommo.world.state.records["tasks"]

    _install(port)
    wait_for(lambda: kommo.world.state.records["tasks"], seconds=20, what=program.log("one"))
    wait_for(program.settled, seconds=20)
    assert [task.fields["text"] for task in kommo.world.state.records["tasks"].values()] == ["Call about Door"]
