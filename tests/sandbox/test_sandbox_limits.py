"""The rate limit: as a rule with given times, and over HTTP."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sandbox_surroundings import Client

from sandbox.limits import Gate, Verdict


def gate(**changes: Any) -> Gate:
    return Gate(**{"rate": 7, "block_after": 10, "block_window": 60.0, "block_seconds": 300.0, **changes})


def verdicts(judge: Gate, *times: float) -> list[Verdict]:
    return [judge.arrive(now).verdict for now in times]


def test_seven_pass_in_a_second_and_the_eighth_does_not() -> None:
    judged = verdicts(gate(), *(0.1 * number for number in range(8)))
    assert judged == [Verdict.ADMITTED] * 7 + [Verdict.LIMITED]


def test_the_second_slides_so_that_two_bursts_around_its_edge_do_not_pass() -> None:
    judged = verdicts(gate(), *[0.9] * 7, *[1.1] * 7)
    assert judged.count(Verdict.ADMITTED) == 7


def test_a_request_counts_for_exactly_one_second() -> None:
    assert verdicts(gate(rate=1), 5.0, 5.999, 6.0) == [Verdict.ADMITTED, Verdict.LIMITED, Verdict.ADMITTED]


def test_refused_requests_do_not_count_against_the_limit() -> None:
    assert verdicts(gate(rate=1), 0.0, 0.5, 1.0)[-1] is Verdict.ADMITTED


def test_after_ten_violations_everything_is_blocked_for_a_while() -> None:
    judge = gate()
    judged = verdicts(judge, *[0.0] * 17, 0.5, 299.9, 300.0)
    assert judged[7:17] == [Verdict.LIMITED] * 10
    assert judged[17:] == [Verdict.BLOCKED, Verdict.BLOCKED, Verdict.ADMITTED]


def test_violations_are_forgotten_after_their_window() -> None:
    judge = gate(rate=1, block_after=2)
    assert verdicts(judge, 0.0, 0.1, 60.1, 60.2, 60.3)[-2:] == [Verdict.LIMITED, Verdict.LIMITED]
    assert judge.arrive(60.4).verdict is Verdict.BLOCKED


@given(st.lists(st.integers(0, 3000), max_size=80), st.integers(1, 7))
def test_no_sliding_second_ever_has_more_admitted_than_the_rate(millis: list[int], rate: int) -> None:
    judge = gate(rate=rate, block_after=1000)
    times = sorted(now / 1000 for now in millis)
    passed = [now for now in times if judge.arrive(now).verdict is Verdict.ADMITTED]
    assert all(sum(end - 1.0 < now <= end for now in passed) <= rate for end in passed)
    assert judge.peak == max((sum(end - 1.0 < now <= end for now in times) for end in times), default=0)


def test_over_http_seven_pass_then_429_tells_the_wait_then_403_is_a_page(start: Any) -> None:
    client = start(rate=7, retry_after=2, block_after=3)
    answers = [client.get("/account") for _ in range(12)]
    assert [answer.status for answer in answers] == [200] * 7 + [429] * 3 + [403] * 2
    told = answers[7].json
    assert (told["title"], told["type"], told["status"], told["retry_after"]) == (
        "Too Many Requests",
        "https://httpstatus.es/429",
        429,
        2,
    )
    assert "Retry-After" not in answers[7].headers
    assert answers[10].headers["Content-Type"].startswith("text/html")
    assert "<center>nginx</center>" in answers[10].text


def test_the_limit_holds_for_requests_that_fail_too_and_not_for_the_control_page(start: Any) -> None:
    client: Client = start(rate=2)
    first = [client.ask("GET", "/api/v4/leads", token=None).status, client.ask("GET", "/api/none").status]
    assert first == [401, 404]
    assert client.get("/leads").status == 429
    assert client.ask("GET", "/").status == 200


def test_the_journal_tells_every_request_with_its_place_in_the_second(start: Any) -> None:
    client: Client = start(rate=2)
    client.post("/leads", [{"name": "secret name", "price": 1}])
    client.get("/leads?limit=5")
    client.get("/leads")
    told = client.ask("GET", "/_sandbox/requests?since=1").json
    assert [
        (one["number"], one["method"], one["path"], one["query"], one["status"], one["in_second"])
        for one in told["requests"]
    ] == [
        (2, "GET", "/api/v4/leads", "limit=5", 200, 2),
        (3, "GET", "/api/v4/leads", "", 429, 3),
    ]
    assert (told["peak"], told["by_status"], told["last"]) == (3, {"200": 2, "429": 1}, 3)
    first = client.box.requests()[0]
    assert first["body"] == {"bytes": 37, "items": 1, "ids": [], "fields": ["name", "price"]}
    assert "secret" not in str(first)
