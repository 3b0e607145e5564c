"""Flushing for an account whose token has ended: no slot is held meanwhile, nobody else waits, nothing spins."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from redis import Redis

from kommo.router import Router
from kommo.store.account import Account
from kommo.store.accounts import Accounts
from kommo.variables import Secret
from sandbox import Sandbox
from tests.integration.workers.flushing import flush_out, made, put, used
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker
from workers.flush import flush

CLIENT, SECRET = "flush-client", "flush-secret"


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(account_id=ACCOUNT, rate=10_000, client_id=CLIENT, client_secret=SECRET) as box:
        yield box


@pytest.fixture
def here(worker: MakeWorker, box: Sandbox) -> Worker:
    """A worker with five writes for a stored account."""
    return _working(worker, box)


def _working(worker: MakeWorker, box: Sandbox, **given: Any) -> Worker:
    settings: dict[str, Any] = {
        "client_id": CLIENT,
        "client_secret": Secret(SECRET),
        "account_id": None,
        "access_token": Secret(),
        "api_base": box.url,
        "token_keys": (Secret(Fernet.generate_key().decode()),),
        "redirect_uri": box.options.redirect_uri,
        **given,
    }
    here = worker(Router(), **settings)
    leads = [made(box, "leads", name=f"L{number}") for number in range(5)]
    put(here, ACCOUNT, lambda later: [later.leads.update(lead, price=7) for lead in leads])
    return here


def _store(here: Worker, box: Sandbox, *, ended: bool) -> Account:
    """Store the account with a pair of the sandbox, as if it had been installed a day ago."""
    clients, accounts = here.runtime.clients, here.runtime.accounts
    assert isinstance(accounts, Accounts)
    settings = here.runtime.settings
    pair = clients.oauth.exchange(box.code(), "sandbox.kommo.com", CLIENT, SECRET, settings.redirect)
    account = Account(
        account_id=ACCOUNT,
        subdomain="sandbox",
        access_token=pair.access_token,
        refresh_token=pair.refresh_token,
        expires_at=1 if ended else 4_000_000_000,
    )
    return accounts.save(replace(account, client_id=CLIENT, client_secret=Secret(SECRET)))


def test_a_token_that_has_ended_is_renewed_and_the_writes_go(here: Worker, box: Sandbox) -> None:
    _store(here, box, ended=True)
    flush_out(here)
    assert box.token_calls["refresh_token"] == {"asked": 1, "granted": 1}
    assert [one["items"] for one in box.requests(method="PATCH")] == [5]


def test_while_it_cannot_be_renewed_no_slot_is_held_and_nothing_is_sent(here: Worker, box: Sandbox) -> None:
    _store(here, box, ended=True)
    box.fault(path="/oauth2/access_token", times=None, status=500)
    flush(here.runtime)
    assert box.requests(method="PATCH") == []
    assert used(here)[0] <= len(box.requests(path="/oauth2/access_token")), "only token calls have taken slots"
    assert here.stats().get("writes_failed") is None


def test_a_refusal_that_this_process_cannot_mend_is_not_asked_for_again_at_once(
    worker: MakeWorker, box: Sandbox, redis: Redis
) -> None:
    here = _working(worker, box)
    _store(here, box, ended=False)
    box.fault(path="/api/v4/leads", times=None, page="unauthorized")
    box.fault(path="/oauth2/access_token", times=None, page="client_unknown")
    flush(here.runtime)
    flush(here.runtime)
    assert len(box.requests(method="PATCH")) == 1
    assert not redis.exists(here.runtime.keys.dead(ACCOUNT)[0])
