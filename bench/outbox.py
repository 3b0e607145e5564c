"""Benchmarks of the outbox: use of the limit, bulk, merging, fairness."""

import time
from collections.abc import Iterator
from typing import Final

from bench.filling import fill
from bench.results import Result
from bench.surroundings import ACCOUNT, CLIENT, Surroundings
from kommo.api.later import Later
from kommo.settings import Settings
from kommo.store.accounts import Account, Accounts
from kommo.store.keys import Keys
from kommo.variables import Secret

_WORKERS: Final = 4
_LATENCY_MS: Final = 50


def limit() -> Iterator[Result]:
    """7 requests a second and never more, over 60 s, by 4 processes, with 0, 20 and 100 ms jitter on the way."""
    for jitter in (0, 20, 100):
        with Surroundings(latency_ms=_LATENCY_MS, jitter_ms=jitter) as here:
            # One patch a request: what replaces a whole list goes alone.
            fill(here.redis, ACCOUNT, 560, lambda later, n: later.leads.update(n + 1, price=n, _embedded={"tags": []}))
            here.workers(_WORKERS)
            here.wait(lambda: here.counted()["requests"] > 0, seconds=30, what="the first request arrives")
            time.sleep(60)
            got = here.counted()
        name = f"limit, {jitter} ms jitter, 50 ms latency, {_WORKERS} processes, {got['seconds']:.0f} s"
        yield Result(f"{name}: most arrivals in a second", got["peak"], at_most=7)
        yield Result(f"{name}: answers 429", got["refused"], at_most=0)
        used = (got["requests"] - 1) / got["seconds"] / 7
        yield Result(f"{name}: use of the limit", used, at_least=0.93 if jitter == 0 else None)


def bulk() -> Iterator[Result]:
    """10,000 patches to 10,000 leads of one account."""
    got = _patches(leads=10_000)
    yield Result("10,000 patches to 10,000 leads: entities a second", got["entities"] / got["seconds"], at_least=300)
    yield Result("10,000 patches to 10,000 leads: most arrivals in a second", got["peak"], at_most=7)


def merge() -> Iterator[Result]:
    """10,000 patches to 100 leads of one account."""
    got = _patches(leads=100)
    yield Result("10,000 patches to 100 leads: requests", got["requests"], at_most=60)


def _patches(*, leads: int) -> dict[str, float]:
    with Surroundings(latency_ms=_LATENCY_MS) as here:
        fill(here.redis, ACCOUNT, 10_000, lambda later, n: later.leads.update(1 + n % leads, price=n))
        here.workers(_WORKERS)
        here.wait(here.is_settled, seconds=120, what="the outbox is empty")
        return here.counted()


def fairness() -> Iterator[Result]:
    """20 accounts, one of which has 5,000 writes waiting: how soon a new single write of another one is on the wire."""
    accounts = [ACCOUNT + number for number in range(20)]
    with Surroundings(latency_ms=_LATENCY_MS) as here:
        store = Accounts(Settings.from_environ(here.environ), here.redis, Keys())
        for account in accounts[1:]:
            store.save(_account(account))
        fill(here.redis, ACCOUNT, 5_000, lambda later, n: later.leads.update(1 + n, price=n))
        here.workers(_WORKERS)
        waits = [_until_on_the_wire(here, account, 90_000_000 + number) for number, account in enumerate(accounts[1:])]
        still = here.redis.exists(f"kommo:{{0}}:outbox:due:{ACCOUNT}")
        yield Result("a new write of another account: longest wait in s", max(waits), at_most=1 + _LATENCY_MS / 1000)
        yield Result("(the large account still had writes waiting: 1 yes)", still, at_least=1)
        here.wait(here.is_settled, seconds=120, what="the outboxes are empty")
        yield Result("20 accounts: most arrivals in a second", here.counted()["peak"], at_most=7)


def _until_on_the_wire(here: Surroundings, account_id: int, lead_id: int) -> float:
    """Ask for one write, and say after how many seconds it has arrived at the server."""

    def ask(later: Later, _number: int) -> None:
        later.leads.update(lead_id, price=1)

    fill(here.redis, account_id, 1, ask)
    asked = time.time()
    here.wait(lambda: str(lead_id) in here.seen(), seconds=30, what="the write is on the wire")
    return here.seen()[str(lead_id)] - asked


def _account(account_id: int) -> Account:
    return Account(
        account_id=account_id,
        subdomain="bench",
        client_id=CLIENT,
        client_secret=Secret("bench-secret"),
        access_token=Secret("bench-token"),
    )
