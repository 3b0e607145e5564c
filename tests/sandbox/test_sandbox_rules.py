"""What the service refuses by itself: batches that are too large, an unpaid subscription, a blocked address."""

from collections.abc import Callable
from typing import Any

import pytest
from sandbox_surroundings import Client


def test_an_ended_subscription_refuses_writes_and_reads_only_when_asked(client: Client) -> None:
    client.add("leads", name="a")
    client.ask("POST", "/_sandbox/subscription", {"ended": True})
    refused = client.post("/leads", [{}])
    assert (refused.status, refused.json["title"]) == (402, "Payment Required")
    assert client.get("/leads").status == 200
    client.ask("POST", "/_sandbox/subscription", {"ended": True, "reads_refused": True})
    assert client.get("/leads").status == 402
    client.ask("POST", "/_sandbox/subscription", {"ended": False})
    assert (client.get("/leads").status, client.post("/leads", [{}]).status) == (200, 200)
    client.box.subscription(ended=True)
    assert (client.get("/leads").status, client.post("/leads", [{}]).status) == (200, 402)


def test_batches_above_a_size_time_out_at_the_front_and_do_nothing(start: Callable[..., Client]) -> None:
    client = start(timeout_above=3)
    answer = client.post("/leads", [{}] * 4)
    assert (answer.status, answer.headers["Content-Type"]) == (504, "text/html")
    assert client.get("/leads").status == 204
    assert client.post("/leads", [{}] * 3).status == 200
    assert client.ask("POST", "/_sandbox/limits", {"timeout_above": None}).json["timeout_above"] is None
    assert client.post("/leads", [{}] * 4).status == 200


def test_the_limits_can_be_changed_while_it_runs(start: Callable[..., Client]) -> None:
    client = start(rate=1)
    told = client.ask("POST", "/_sandbox/limits", {"rate": 3, "retry_after": 9, "limited_page": "too_many_header"})
    assert told.json["rate"] == 3
    answers = [client.get("/account") for _ in range(4)]
    assert [one.status for one in answers] == [200, 200, 200, 429]
    assert (answers[3].json["retry_after"], answers[3].headers["Retry-After"]) == (9, "9")
    client.ask("POST", "/_sandbox/limits", {"limited_page": "too_many_html"})
    assert client.get("/account").headers["Content-Type"] == "text/html"
    assert client.ask("GET", "/_sandbox/limits").json["retry_after"] == 9


@pytest.mark.parametrize(
    "limits",
    [{"rate": 0}, {"rate": "7"}, {"speed": 5}, {"limited_page": "rude"}, {"block_seconds": "long"}, {"rate": None}],
)
def test_a_limit_that_makes_no_sense_is_refused(client: Client, limits: dict[str, Any]) -> None:
    before = client.ask("GET", "/_sandbox/limits").json
    assert client.ask("POST", "/_sandbox/limits", limits).status == 400
    assert client.ask("GET", "/_sandbox/limits").json == before


def test_a_header_with_the_wait_can_be_asked_for_at_the_start(start: Callable[..., Client]) -> None:
    client = start(rate=1, retry_after_header=True, retry_after=4)
    assert [client.get("/account").headers.get("Retry-After") for _ in range(2)] == [None, "4"]


def test_an_address_is_blocked_and_let_in_again_on_request(client: Client) -> None:
    client.ask("POST", "/_sandbox/block", {"seconds": 60})
    blocked = client.get("/account")
    assert (blocked.status, "nginx" in blocked.text) == (403, True)
    client.ask("POST", "/_sandbox/unblock", {})
    assert client.get("/account").status == 200
    client.box.block(60)
    assert client.get("/account").status == 403
    client.box.block(0)
    assert client.get("/account").status == 200


def test_the_log_is_asked_by_method_path_status_and_number(client: Client) -> None:
    client.get("/leads")
    client.post("/leads", [{"name": "a"}, {"name": "b"}])
    client.post("/contacts", [{"name": 5}])

    def asked(query: str) -> list[int]:
        rows = client.ask("GET", f"/_sandbox/requests?{query}").json["requests"]
        return [row["number"] for row in rows]

    assert asked("method=post") == [2, 3]
    assert asked("path=/api/v4/leads") == [1, 2]
    assert asked("path=*contacts") == [3]
    assert asked("status=400") == [3]
    assert asked("since=1&method=POST&status=200") == [2]
    assert client.ask("GET", "/_sandbox/requests?status=bad").status == 400


def test_the_log_tells_items_account_and_bodies_without_secrets(client: Client) -> None:
    client.post("/leads", [{"name": "a"}, {"name": "b", "code": "c-o-d-e"}])
    client.ask("POST", "/api/v4/leads", "{broken")
    rows = client.ask("GET", "/_sandbox/requests?bodies=1").json["requests"]
    assert [(row["items"], row["account"], row["json"]) for row in rows] == [
        (2, client.box.account_id, [{"name": "a"}, {"name": "b", "code": "***"}]),
        (0, client.box.account_id, None),
    ]
    assert "json" not in client.box.requests()[0]
    assert client.box.requests(bodies=True)[0]["json"][0] == {"name": "a"}
