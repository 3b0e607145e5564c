"""Faults on demand: which requests they hit, what is answered, and whether the work was done."""

import time
from collections.abc import Callable
from http.client import IncompleteRead, RemoteDisconnected
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_surroundings import Answer, Client

from sandbox import Sandbox, pages
from sandbox.faults import Faults, matches_path
from sandbox.problems import ApiError
from tests.waiting import wait_for


def statuses(client: Client, *paths: str) -> list[int]:
    return [client.get(path).status for path in paths]


def inject(client: Client, **fault: Any) -> Answer:
    return client.ask("POST", "/_sandbox/faults", fault)


def leads(client: Client) -> int:
    client.connection.close()
    answer = client.get("/leads")
    return len(answer.json["_embedded"]["leads"]) if answer.status == 200 else 0


def test_a_fault_hits_as_often_as_it_says_and_then_never_again(client: Client) -> None:
    assert inject(client, path="/api/v4/leads", status=504, times=2).json["id"] == 1
    assert statuses(client, "/leads", "/account", "/leads", "/leads") == [504, 200, 504, 204]
    assert client.ask("GET", "/_sandbox/faults").json["faults"][0]["hits"] == 2


def test_a_fault_without_an_end_lasts_until_it_is_cleared(client: Client) -> None:
    for clear in (("DELETE", "/_sandbox/faults"), ("POST", "/_sandbox/faults/clear")):
        inject(client, status=500, times=None)
        assert statuses(client, *["/account"] * 5) == [500] * 5
        client.ask(*clear)
        assert client.get("/account").status == 200


def test_the_first_fault_that_fits_is_the_one_that_hits(client: Client) -> None:
    client.box.fault(method="POST", status=502)
    client.box.fault(status=503)
    client.box.fault(status=500)
    assert statuses(client, "/account", "/account", "/account") == [503, 500, 200]
    assert client.post("/leads", [{}]).status == 502


def test_a_fault_can_wait_for_batches_above_a_size(client: Client) -> None:
    client.box.fault(method="post", path="/api/v4/leads", status=504, larger_than=2, times=None)
    assert [client.post("/leads", [{}] * number).status for number in (3, 2, 4, 1)] == [504, 200, 504, 200]
    assert leads(client) == 3


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        (None, "/anything", True),
        ("/api/v4/leads", "/api/v4/leads/7/notes", True),
        ("/api/v4/leads", "/api/v4/contacts", False),
        ("/api/v4/*/7/notes", "/api/v4/leads/7/notes", True),
        ("/api/v4/leads/?", "/api/v4/leads/77", False),
        ("*/access_token", "/oauth2/access_token", True),
    ],
)
def test_a_path_is_a_beginning_or_a_pattern_with_wildcards(pattern: str | None, path: str, fits: bool) -> None:
    assert matches_path(pattern, path) is fits


@given(st.lists(st.integers(0, 5), max_size=20), st.integers(0, 5), st.integers(1, 4))
def test_a_fault_never_hits_more_often_than_it_says(sizes: list[int], larger_than: int, times: int) -> None:
    faults = Faults()
    faults.add({"larger_than": larger_than, "times": times, "status": 500})
    struck = [size for size in sizes if faults.strike("POST", "/", size) is not None]
    assert struck == [size for size in sizes if size > larger_than][:times]


@pytest.mark.parametrize("name", pages.NAMES)
def test_every_page_is_answered_by_its_name(client: Client, name: str) -> None:
    listed = {one["name"]: one for one in client.ask("GET", "/_sandbox/pages").json["pages"]}[name]
    client.box.fault(page=name)
    answer = client.get("/account")
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (
        listed["status"],
        listed["content_type"],
    )
    assert name == "internal_error" or answer.text == listed["body"]


@pytest.mark.parametrize(
    ("status", "sign"),
    [
        (400, "validation-errors"),
        (401, "hint"),
        (402, "Payment Required"),
        (403, "<center><h1>403 Forbidden</h1></center>"),
        (422, "Limit 250 per page"),
        (429, "retry_after"),
        (500, "trace_id"),
        (502, "<center>nginx</center>"),
        (504, "504 Gateway Time-out"),
        (418, "https://httpstatus.es/418"),
    ],
)
def test_a_status_without_a_body_is_answered_as_the_service_does(client: Client, status: int, sign: str) -> None:
    client.box.fault(status=status)
    answer = client.get("/account")
    assert answer.status == status
    assert sign in answer.text


def test_the_three_meanings_of_403_can_be_told_apart(client: Client) -> None:
    seen = []
    for name in ("forbidden_html", "forbidden_scope", "forbidden_right"):
        client.box.fault(page=name)
        seen.append(client.get("/account"))
    assert [one.status for one in seen] == [403] * 3
    assert "nginx" in seen[0].text
    assert (seen[1].json["title"], seen[1].json["detail"]) == ("Forbidden", "Invalid scope")
    assert seen[2].json["detail"] != seen[1].json["detail"]


def test_body_type_and_headers_can_be_chosen_and_success_too(client: Client) -> None:
    client.box.fault(status=200, body={"a": [1]}, headers={"X-Mark": "1"}, content_type="application/json")
    client.box.fault(status=200, body="{not json")
    client.box.fault(status=204)
    first, second, third = client.get("/account"), client.get("/account"), client.get("/account")
    assert (first.json, first.headers["X-Mark"], first.headers["Content-Type"]) == ({"a": [1]}, "1", "application/json")
    assert (second.status, second.text) == (200, "{not json")
    assert (third.status, third.text) == (204, "")


def test_the_work_is_done_before_the_answer_is_lost_only_if_asked_for(client: Client) -> None:
    client.box.fault(method="POST", status=504)
    client.box.fault(method="POST", status=504, after_work=True)
    assert [client.post("/leads", [{"name": "a"}]).status for _ in range(2)] == [504, 504]
    assert leads(client) == 1


@pytest.mark.parametrize(("kind", "after_work", "done"), [("close_before", False, 0), ("close_after", False, 1)])
def test_a_closed_connection_leaves_no_answer(client: Client, kind: str, after_work: bool, done: int) -> None:
    client.box.fault(method="POST", kind=kind)
    with pytest.raises(RemoteDisconnected):
        client.post("/leads", [{"name": "a"}])
    assert leads(client) == done
    assert client.box.requests(method="POST")[0]["status"] == 0


def test_a_truncated_answer_ends_before_its_length(client: Client) -> None:
    client.box.fault(method="POST", kind="truncate")
    with pytest.raises(IncompleteRead) as caught:
        client.post("/leads", [{"name": "a"}])
    assert b'"_embedded"' in caught.value.partial
    assert leads(client) == 1
    client.box.fault(kind="truncate", status=502)
    with pytest.raises(IncompleteRead) as caught:
        client.get("/leads")
    assert b"nginx" in caught.value.partial
    client.connection.close()
    client.box.fault(kind="truncate", status=204)
    with pytest.raises(RemoteDisconnected):
        client.get("/leads")


def test_a_hanging_answer_never_comes_and_a_client_may_give_up(client: Client) -> None:
    client.get("/account")
    client.box.fault(method="POST", kind="hang", after_work=True)
    assert client.connection.sock is not None
    client.connection.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.post("/leads", [{"name": "a"}])
    assert leads(client) == 1


def test_a_sandbox_ends_though_answers_hang_and_wait() -> None:
    with Sandbox(port=0) as box:
        box.fault(kind="hang")
        box.fault(delay=60)
        clients = [Client(box) for _ in range(2)]
        threads = [Thread(target=_expect_the_end, args=(one,)) for one in clients]
        for thread in threads:
            thread.start()
        wait_for(lambda: sum(rule["hits"] for rule in box.world.faults.all()) == 2, what="both requests are in")
        started = time.monotonic()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 2
    for one in clients:
        one.connection.close()


def _expect_the_end(client: Client) -> None:
    try:
        client.get("/account")
    except (RemoteDisconnected, ConnectionError):
        return


def test_a_delay_alone_holds_the_real_answer_back(client: Client) -> None:
    client.box.fault(path="/api/v4/account", delay=0.15)
    started = time.monotonic()
    assert client.get("/account").json["id"] == client.box.account_id
    assert time.monotonic() - started >= 0.15


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "explode"},
        {"page": "none"},
        {"status": 99},
        {"status": "504"},
        {"times": True},
        {"delay": "1"},
        {"metod": "GET"},
        {"headers": []},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(client: Client, fault: dict[str, Any]) -> None:
    assert inject(client, **fault).status == 400
    with pytest.raises(ApiError):
        Faults().add(fault)
    assert client.get("/account").status == 200


def test_latency_holds_every_answer_back_until_it_is_taken_away(client: Client) -> None:
    def took(path: str) -> float:
        started = time.monotonic()
        client.ask("GET", path)
        return time.monotonic() - started

    assert client.ask("POST", "/_sandbox/latency", {"min": 0.05, "max": 0.08}).json["max"] == 0.08
    assert 0.05 <= took("/api/v4/account") < 0.5
    assert took("/_sandbox/health") < 0.05
    client.box.latency(0.0)
    assert took("/api/v4/account") < 0.05
    assert client.ask("POST", "/_sandbox/latency", {"min": "slow"}).status == 400
    assert client.ask("POST", "/_sandbox/latency", {"min": -1}).status == 400


def test_a_refused_request_spends_no_fault(start: Callable[..., Client]) -> None:
    client = start(rate=1)
    client.box.fault(status=500, times=1)
    assert statuses(client, "/account", "/account") == [500, 429]
    assert client.box.peak == 2
