"""The table of treatments, row by row, from a handler's write to what the sandbox was asked: errors.TREATMENTS."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox import Sandbox
from tests.integration.workers.flushing import Asking, flush_out, is_empty, kept, made
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker
from workers.flush import flush
from workers.probing import probe

ADDRESS = "ip:default"


@dataclass(frozen=True)
class Row:
    """An answer, and what a write of the outbox does then: `gone`, or `kept` and why the account waits."""

    fault: dict[str, Any]
    gone: bool = False
    parked: str = ""
    blocked: bool = False
    paused: bool = False

    def __str__(self) -> str:
        return str(self.fault.get("page") or self.fault.get("status") or self.fault.get("kind"))


def page(name: str, **row: Any) -> Row:
    return Row({"page": name}, **row)


ROWS = [
    # Taken out, or given up: the same call will never work.
    page("validation", gone=True),
    page("forbidden_scope", gone=True),
    page("forbidden_right", gone=True),
    page("not_found", gone=True),
    page("method_not_allowed", gone=True),
    page("over_limit", gone=True),
    Row({"status": 410}, gone=True),
    # Parked: a person has to help.
    page("unauthorized", parked="token"),
    page("unauthorized_bare", parked="token"),
    page("token_revoked", parked="token"),
    page("captcha", parked="token"),
    page("user_off", parked="token"),
    page("address_refused", parked="token"),
    page("payment_required", parked="payment"),
    # Stopped, slowed down.
    page("forbidden_html", blocked=True),
    page("too_many", paused=True),
    page("too_many_header", paused=True),
    # Repeated.
    page("conflict"),
    page("internal_error"),
    page("bad_gateway"),
    page("unavailable"),
    page("gateway_timeout"),
    Row({"status": 408}),
    Row({"status": 425}),
    Row({"status": 200, "body": "<html>", "content_type": "text/html"}),
    Row({"kind": "close_before"}),
    Row({"kind": "close_after"}),
    Row({"kind": "truncate"}),
]


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(account_id=ACCOUNT, rate=10_000, retry_after=30) as box:
        yield box


@pytest.fixture
def here(worker: MakeWorker, box: Sandbox) -> Worker:
    """A worker with one write in its outbox."""
    lead = made(box, "leads", name="old")
    return Asking(worker, box)(lambda kommo: kommo.later.leads.update(lead, price=7))


def _help(worker: Worker) -> None:
    """Do what a person, or time, does: pay, install again, let pauses and waits be over."""
    shared = worker.runtime.shared
    shared.brakes.release(ADDRESS)
    shared.parking.resume(ACCOUNT)
    worker.pass_time("outbox")


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_write_is_treated_as_the_table_says_and_arrives_once_it_can(row: Row, here: Worker, box: Sandbox) -> None:
    box.fault(method="PATCH", times=None, **row.fault)
    flush(here.runtime)

    assert len(box.requests(method="PATCH")) == 1, "no treatment repeats a call at once"
    assert [letter.reason for letter in here.dead()] == (["refused"] if row.gone else [])
    assert is_empty(here) == row.gone
    parked = here.runtime.shared.parking.state(ACCOUNT)
    assert (parked.reason if parked else "") == row.parked
    state = here.runtime.shared.brakes.state(here.runtime.clients.turnstile(ACCOUNT).scopes[-1])
    assert state.blocked == row.blocked
    assert (state.paused_seconds > 0) == (row.blocked or row.paused)

    here.pass_time("outbox")
    flush(here.runtime)
    waits = row.parked or row.blocked or row.paused or row.gone
    assert len(box.requests(method="PATCH")) == (1 if waits else 2), "who has to wait asks nothing meanwhile"

    if not row.gone:
        box.clear_faults()
        _help(here)
        flush_out(here)
        assert kept(box, "leads")[0]["price"] == 7
        assert here.dead() == []


def test_a_429_that_does_not_say_how_long_is_waited_out_longer_each_time(here: Worker, box: Sandbox) -> None:
    box.fault(method="PATCH", times=2, page="too_many_html")
    flush_out(here)
    assert [one["status"] for one in box.requests()] == [429, 429, 200]
    first, second, third = (one["at"] for one in box.requests())
    assert 1 <= second - first < third - second
    state = here.runtime.shared.brakes.state(here.runtime.clients.turnstile(ACCOUNT).scopes[-1])
    assert state.allowed == state.scope.per_second - 2


@pytest.mark.parametrize("page", ["unauthorized", "payment_required", "internal_error"])
def test_any_answer_that_is_no_block_opens_the_scope_again(here: Worker, box: Sandbox, page: str) -> None:
    runtime = here.runtime
    box.fault(times=1, page="forbidden_html")
    flush(runtime)
    box.fault(times=1, page=page)
    runtime.redis.zadd("kommo:{limits}:blocks", {ADDRESS: 1})
    assert probe(runtime)
    assert not runtime.shared.brakes.state(runtime.clients.turnstile(ACCOUNT).scopes[-1]).blocked
    assert runtime.shared.parking.state(ACCOUNT) is None, "a careful call parks nobody"


def test_a_429_to_the_careful_call_opens_the_scope_and_is_waited_out(here: Worker, box: Sandbox) -> None:
    runtime = here.runtime
    box.fault(times=1, page="forbidden_html")
    flush(runtime)
    box.fault(times=1, page="too_many")
    runtime.redis.zadd("kommo:{limits}:blocks", {ADDRESS: 1})
    assert probe(runtime)
    state = runtime.shared.brakes.state(runtime.clients.turnstile(ACCOUNT).scopes[-1])
    assert (state.blocked, state.paused_seconds > 25) == (False, True)


def test_a_block_does_not_outlive_the_account_that_met_it(here: Worker, box: Sandbox) -> None:
    runtime = here.runtime
    box.fault(times=1, page="forbidden_html")
    flush(runtime)
    runtime.redis.hset(f"kommo:{{limits}}:block:{ADDRESS}", "account", 999)
    runtime.redis.zadd("kommo:{limits}:blocks", {ADDRESS: 1})
    assert probe(runtime)
    assert [one["path"] for one in box.requests()][-1] == "/api/v4/account", "another account was asked for"
    assert not runtime.shared.brakes.state(runtime.clients.turnstile(ACCOUNT).scopes[-1]).blocked


def test_an_account_to_which_nothing_comes_through_rests(worker: MakeWorker, box: Sandbox) -> None:
    leads = [made(box, "leads", name=f"L{number}") for number in range(30)]
    embedded: dict[str, Any] = {"_embedded": {"tags": []}}
    here = Asking(worker, box)(lambda kommo: [kommo.later.leads.update(lead, **embedded) for lead in leads])
    box.fault(method="PATCH", times=None, status=500)
    flush(here.runtime)
    # As many as may be under way when it is noticed come on top.
    assert 8 <= len(box.requests(method="PATCH")) <= 16
    box.clear_faults()
    here.pass_time("outbox")
    flush_out(here)
    assert here.dead() == []


def test_after_a_block_one_careful_call_opens_the_scope_again(here: Worker, box: Sandbox) -> None:
    runtime = here.runtime
    box.fault(method=None, times=2, page="forbidden_html")
    flush(runtime)
    assert not probe(runtime), "not before five minutes have passed"

    def let_it_be_due() -> None:
        runtime.redis.zadd("kommo:{limits}:blocks", {ADDRESS: 1})

    let_it_be_due()
    assert probe(runtime)
    assert runtime.shared.brakes.state(runtime.clients.turnstile(ACCOUNT).scopes[-1]).paused_seconds > 590, "doubled"
    let_it_be_due()
    assert probe(runtime)
    here.pass_time("outbox")
    flush_out(here)
    assert [(one["method"], one["status"]) for one in box.requests()] == [
        ("PATCH", 403),
        ("GET", 403),
        ("GET", 200),
        ("PATCH", 200),
    ]
