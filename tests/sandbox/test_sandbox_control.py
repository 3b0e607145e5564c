"""The control page and commands, and the sandbox as a process of its own."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from http.client import HTTPConnection
from urllib.parse import urlencode

import pytest
from sandbox_surroundings import Client, Receiver

from sandbox import Sandbox
from sandbox.control.commands import COMMANDS


def form(client: Client, path: str, **fields: object) -> tuple[int, str | None]:
    """Post as a browser does."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    client.connection.request("POST", path, urlencode(fields), headers)
    response = client.connection.getresponse()
    response.read()
    return response.status, response.headers["Location"]


def test_the_page_shows_what_there_is_and_hides_the_secret_of_an_address(client: Client, receiver: Receiver) -> None:
    client.box.register(receiver.url("/webhooks/31/topsecret/"), "add_lead")
    for command in ("lead.create", "contact.create", "company.create"):
        client.run(command, name=f"<b>{command}</b>")
    lead = client.get("/leads").json["_embedded"]["leads"][0]["id"]
    client.run("task.create", entity_id=lead)
    client.run("message.receive", lead_id=lead)
    client.run("unsorted.add")
    assert client.box.settled()
    page = client.ask("GET", "/")
    assert page.status == 200
    assert "&lt;b&gt;lead.create&lt;/b&gt;" in page.text
    assert "topsecret" not in page.text
    for button in ("Move", "Complete", "Accept", "Message in", "Close", "Again", "Delete"):
        assert f"<button>{button}</button>" in page.text
    assert "prefers-color-scheme: dark" in page.text


def test_a_form_does_what_a_button_says_and_leads_back_to_the_page(client: Client) -> None:
    assert form(client, "/_sandbox/lead.create", name="From the page", price="90") == (303, "/")
    lead = client.get("/leads").json["_embedded"]["leads"][0]
    assert (lead["name"], lead["price"]) == ("From the page", 90)
    assert form(client, "/_sandbox/lead.move", id=lead["id"], status_id="142") == (303, "/")
    assert client.get(f"/leads/{lead['id']}").json["status_id"] == 142


def test_every_command_is_known_and_an_unknown_one_is_told_the_names(client: Client) -> None:
    assert client.ask("GET", "/_sandbox/commands").json["commands"] == sorted(COMMANDS)
    answer = client.ask("POST", "/_sandbox/lead.sing", {})
    assert answer.status == 404
    assert "lead.create" in answer.json["detail"]


@pytest.mark.parametrize(
    ("command", "arguments", "status"),
    [
        ("lead.move", {}, 400),
        ("lead.move", {"id": "x"}, 400),
        ("lead.move", {"id": 5}, 404),
        ("lead.create", {"price": "much"}, 400),
        ("message.send", {"lead_id": 5}, 404),
        ("talk.close", {"id": 5}, 404),
        ("unsorted.accept", {"uid": "none"}, 404),
        ("catalog_element.update", {"id": 5}, 404),
        ("redeliver", {"id": 5}, 404),
        ("webhooks/enable", {"destination": "http://none.example/"}, 404),
        ("batch", {"changes": "all"}, 400),
    ],
)
def test_a_command_that_makes_no_sense_says_so(
    client: Client, command: str, arguments: dict[str, object], status: int
) -> None:
    assert client.ask("POST", f"/_sandbox/{command}", arguments).status == status


def test_a_pipeline_hook_needs_an_address_and_a_known_action(client: Client) -> None:
    lead = client.add("leads", name="a")
    for wrong in ({"url": "nowhere"}, {"url": "http://h.example/", "action": "sing"}):
        assert client.ask("POST", "/_sandbox/pipeline.hook", {"id": lead, **wrong}).status == 400


def test_a_batch_is_one_delivery_with_several_items_actions_and_entities(client: Client, receiver: Receiver) -> None:
    client.box.register(receiver.url(), "add_lead", "add_contact", "status_lead")
    lead = client.add("leads", name="before")
    assert client.box.settled()
    told = client.run(
        "batch",
        changes=[
            {"command": "lead.create", "args": {"name": "one"}},
            {"command": "lead.create", "args": {"name": "two"}},
            {"command": "lead.move", "args": {"id": lead, "status_id": 142}},
            {"command": "contact.create", "args": {"name": "three"}},
            {"command": "company.create", "args": {"name": "not subscribed"}},
        ],
    )
    values = receiver.wait_for(2)[1].values
    assert (values["leads[add][0][name]"], values["leads[add][1][name]"]) == ("one", "two")
    assert values["leads[status][0][id]"] == str(lead)
    assert values["contacts[add][0][name]"] == "three"
    assert "contacts[add][1][name]" not in values
    assert len(told["results"]) == 5
    assert len(told["deliveries"]) == 1
    assert client.box.settled()
    assert client.box.deliveries()[-1]["kind"] == "leads.add+leads.status+contacts.add"


def test_a_redelivery_has_the_same_bytes_and_its_own_place_in_the_log(client: Client, receiver: Receiver) -> None:
    client.box.register(receiver.url(), "add_lead")
    client.add("leads", name="a")
    assert client.box.settled()
    told = client.run("redeliver", id=1)
    first, second = receiver.wait_for(2)
    assert first.body == second.body
    assert client.box.settled()
    log = client.ask("GET", f"/_sandbox/deliveries?since={told['deliveries'][0] - 1}").json
    assert [one["sha256"] for one in log["deliveries"]] == [hashlib.sha256(first.body).hexdigest()]
    assert log["by_state"] == {"pending": 0, "delivered": 2, "failed": 0, "dropped": 0}


def test_a_message_opens_a_talk_once_and_an_answer_is_told_apart(client: Client, receiver: Receiver) -> None:
    lead = client.add("leads", name="a")
    client.box.register(receiver.url(), "add_message", "add_outgoing_message", "add_talk", "update_talk")
    talk = client.run("message.receive", lead_id=lead)["talk_id"]
    client.run("message.send", lead_id=lead, text="Good day")
    client.run("talk.close", id=talk)
    assert client.box.settled()
    assert [one["kind"] for one in client.box.deliveries()] == [
        "message.add",
        "talk.add",
        "outgoing_message.add",
        "talk.update",
    ]
    assert receiver.received[2].values["outgoing_message[add][0][type]"] == "outgoing"
    assert receiver.received[3].values["talk[update][0][is_in_work]"] == "0"


def test_an_accepted_incoming_lead_moves_on_and_a_declined_one_is_gone(client: Client) -> None:
    kept, refused = client.run("unsorted.add"), client.run("unsorted.add")
    assert client.get(f"/leads/{kept['lead_id']}").json["status_id"] == 61_000_001
    client.run("unsorted.accept", uid=kept["uid"])
    client.run("unsorted.decline", uid=refused["uid"])
    assert client.get(f"/leads/{kept['lead_id']}").json["status_id"] == 61_000_002
    assert client.get(f"/leads/{refused['lead_id']}").status == 204


def test_an_element_of_a_list_can_be_changed(client: Client, receiver: Receiver) -> None:
    client.box.register(receiver.url(), "update_catalog")
    element = client.run("catalog_element.create", name="Bell")["id"]
    client.run("catalog_element.update", id=element, name="Horn")
    assert receiver.wait_for(1)[0].values["catalogs[update][0][name]"] == "Horn"


def test_a_connection_is_kept_and_answers_come_fast(client: Client) -> None:
    client.get("/account")
    kept = client.connection.sock
    took = []
    for _ in range(50):
        started = time.perf_counter()
        client.get("/account")
        took.append(time.perf_counter() - started)
    assert client.connection.sock is kept
    assert sorted(took)[25] < 0.02, "a delayed acknowledgement would cost 0.04 s"


def test_a_body_that_is_not_measured_is_refused(client: Client) -> None:
    client.connection.putrequest("POST", "/api/v4/leads")
    client.connection.putheader("Transfer-Encoding", "chunked")
    client.connection.endheaders()
    response = client.connection.getresponse()
    response.read()
    assert response.status == 411
    client.connection.close()


def test_a_sandbox_ends_at_once_though_connections_are_open_and_a_receiver_hangs(receiver: Receiver) -> None:
    receiver.answers = [None]
    with Sandbox(port=0) as box:
        box.register(receiver.url(), "add_lead")
        idle = HTTPConnection("127.0.0.1", box.port)
        headers = {"Authorization": f"Bearer {box.token}"}
        idle.request("POST", "/api/v4/leads", "[{}]", headers)
        idle.getresponse().read()
        receiver.wait_for(1)
        started = time.monotonic()
    assert time.monotonic() - started < 1.0
    idle.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_where_it_is_and_ends_at_once_on_a_signal(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--token", "t1", "--token", "t2", "--account-id", "77"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            url = line.split()[2]
            with urllib.request.urlopen(f"{url}/_sandbox/health") as answer:  # noqa: S310 - our own loopback address
                assert json.load(answer)["account_id"] == 77
            assert "account 77 (sandbox)" in line
            assert "token t1" in line
            assert f"control page {url}/" in line
            started = time.monotonic()
            process.send_signal(number)
            assert process.wait(5) == 0
            assert time.monotonic() - started < 1.5
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_the_command_takes_the_lives_of_tokens_and_the_limits_of_batches() -> None:
    options = [
        "--access-seconds",
        "2",
        "--timeout-above",
        "5",
        "--client-id",
        "c1",
        "--redirect-uri",
        "http://r.example/",
    ]
    command = [sys.executable, "-m", "sandbox", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().split()[2]
            with urllib.request.urlopen(f"{url}/_sandbox/limits") as answer:  # noqa: S310 - our own loopback address
                assert json.load(answer)["timeout_above"] == 5
            code = urllib.request.urlopen(f"{url}/_sandbox/oauth/install", b"{}")  # noqa: S310 - the same
            with code:
                asked = {"grant_type": "authorization_code", "code": json.load(code)["code"], "client_id": "c1"}
            asked |= {"client_secret": "made-up-secret-of-the-sandbox", "redirect_uri": "http://r.example/"}
            body = json.dumps(asked).encode()
            with urllib.request.urlopen(f"{url}/oauth2/access_token", body) as answer:  # noqa: S310 - the same
                assert json.load(answer)["expires_in"] == 2
        finally:
            process.terminate()


def test_help_teaches_the_first_steps_and_a_taken_port_is_said_plainly(client: Client) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sandbox", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env={**os.environ})

    shown = run("--help").stdout
    for wanted in ("--time-scale", "/_sandbox/lead.create", "/api/v4/webhooks"):
        assert wanted in shown
    taken = run("--port", str(client.box.port))
    assert taken.returncode == 1
    assert "cannot listen there" in taken.stderr
    assert "Traceback" not in taken.stderr
