"""The way through the limits: that of an account, and that of one which is not known yet."""

import pytest
from redis import Redis

from kommo.api.ways import Ways
from kommo.errors import ApiError, Blocked, PaymentRequired, RateLimited, Unauthorized
from kommo.settings import Settings
from kommo.store.accounts import Accounts, Credentials
from kommo.store.brakes import Brakes
from kommo.store.keys import Keys
from kommo.store.limiter import Limiter, Slot
from kommo.store.parking import Parking
from kommo.variables import Secret


@pytest.fixture
def ways(redis: Redis) -> Ways:
    return Ways(Accounts(Settings()), Limiter(redis), Brakes(redis), Parking(redis, Keys()))


def error(kind: type[ApiError], after: float | None = None) -> ApiError:
    return kind("no", method="GET", path="/x", status=403, after=after)


def of(account_id: int, subdomain: str = "acme") -> Credentials:
    return Credentials(account_id, "c", subdomain, Secret("t"))


def test_an_account_passes_through_all_its_limits(ways: Ways) -> None:
    turnstile = ways(of(7))
    assert [scope.name for scope in turnstile.scopes] == ["integration:c:7", "account:7", "ip:default"]
    slot = turnstile.acquire(1.0)
    assert isinstance(slot, Slot)
    turnstile.release(slot)


@pytest.mark.parametrize(
    ("subdomain", "by_address"), [("acme", True), ("acme.kommo.com", True), ("acme.amocrm.ru", False)]
)
def test_kommo_blocks_the_address_and_amocrm_the_account(ways: Ways, subdomain: str, by_address: bool) -> None:
    assert ways(of(7, subdomain)).blocked_by_address is by_address


def test_a_block_of_a_known_account_stops_its_scope_until_a_careful_call(ways: Ways) -> None:
    turnstile = ways(of(7))
    turnstile.heed(error(Blocked), "GET")
    assert ways.brakes.state(turnstile.scopes[-1]).blocked


@pytest.mark.parametrize("kind", [Blocked, RateLimited])
def test_for_an_unknown_one_nobody_could_make_the_careful_call_so_it_is_a_pause(
    ways: Ways, kind: type[ApiError]
) -> None:
    turnstile = ways(of(0))
    turnstile.heed(error(kind, after=40), "GET")
    state = ways.brakes.state(turnstile.scopes[-1])
    assert (state.blocked, 30 < state.paused_seconds <= 40) == (False, True)


def test_at_amocrm_it_is_the_account_that_pauses_and_not_the_address_of_all_others(ways: Ways) -> None:
    turnstile = ways.unparked(of(7, "acme.amocrm.ru"))
    turnstile.heed(error(Blocked), "GET")
    paused = [ways.brakes.state(scope).paused_seconds > 290 for scope in turnstile.scopes]
    assert paused == [False, True, False]


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_past_the_parking_a_call_is_neither_refused_nor_does_it_change_anything(ways: Ways, method: str) -> None:
    ways.parking.park(7, "token", reads_refused=True)
    before = ways.parking.state(7)
    turnstile = ways.unparked(of(7))
    assert turnstile.admit(method, "/api/v4/account") is False
    turnstile.worked(method)
    turnstile.heed(error(PaymentRequired), method)
    after = ways.parking.state(7)
    assert before is not None
    assert after is not None
    assert (after.reason, after.reads_refused) == (before.reason, before.reads_refused)


def test_it_counts_in_all_limits_all_the_same_and_is_in_front_of_nobody(ways: Ways) -> None:
    assert ways.unparked(of(7)).scopes == ways(of(7)).scopes
    assert (ways.unparked(of(7)).urgent, ways(of(7)).urgent, ways(of(0)).urgent) == (False, True, True)


def test_an_unknown_account_cannot_be_parked(ways: Ways) -> None:
    turnstile = ways(of(0))
    turnstile.heed(error(Unauthorized), "GET")
    assert turnstile.admit("GET", "/api/v4/account") is False
    assert ways.parking.state(0) is None
