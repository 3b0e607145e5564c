"""The way to Kommo of one account: its slots, its parking, and what an answer means for everybody."""

from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from kommo.api.calls import NO_TURN
from kommo.api.turnstile import AccountTurnstile, HeldSlot
from kommo.errors import (
    AccessEnded,
    ApiError,
    Blocked,
    NeedsAttention,
    PaymentRequired,
    RateLimited,
    Unauthorized,
)
from kommo.store.brakes import FIRST_BLOCK_MS, Brakes
from kommo.store.connection import connect
from kommo.store.keys import Keys
from kommo.store.limiter import Limiter, Scope, Slot, Wait
from kommo.store.parking import Parked, Parking
from kommo.store.server import PrivateServer

ACCOUNT = 77
INTEGRATION, OWN, ADDRESS = Scope("integration:c:77", 7), Scope("account:77", 50), Scope("ip:default", 7)
SCOPES = (INTEGRATION, OWN, ADDRESS)


@pytest.fixture
def turnstile(redis: Redis, keys: Keys) -> AccountTurnstile:
    return of(redis, keys)


def of(redis: Redis, keys: Keys, *, by_address: bool = True, urgent: bool = True) -> AccountTurnstile:
    parts = Limiter(redis), Brakes(redis), Parking(redis, keys)
    return AccountTurnstile(ACCOUNT, SCOPES, *parts, blocked_by_address=by_address, urgent=urgent)


def said(kind: type[ApiError], after: float | None = None) -> ApiError:
    return kind("no", method="PATCH", path="/api/v4/leads", after=after)


def pass_time(turnstile: AccountTurnstile) -> None:
    """Let the next call of a parked account try."""
    turnstile.parking.try_next(ACCOUNT)


class TestSlots:
    def test_a_slot_counts_in_every_scope(self, turnstile: AccountTurnstile) -> None:
        slot = turnstile.acquire(1)
        assert slot is not None
        assert [turnstile.brakes.state(scope).taken for scope in SCOPES] == [1, 1, 1]
        turnstile.release(slot)
        assert turnstile.brakes.state(OWN).taken == 1, "for the second in which Kommo counts it"

    def test_there_is_none_when_others_have_them_all(self, turnstile: AccountTurnstile) -> None:
        assert all(turnstile.acquire(1) for _ in range(7))
        assert turnstile.acquire(0) is None

    def test_a_call_of_a_handler_comes_before_what_waits_for_less_than_its_head_start(
        self, redis: Redis, keys: Keys
    ) -> None:
        live = of(redis, keys)
        slots = [live.acquire(1) for _ in range(7)]
        live.limiter.try_acquire(SCOPES, ticket="a write for later")
        assert slots[0] is not None
        live.limiter.release(slots[0], used=False)
        assert isinstance(live.acquire(0), Slot)
        assert not isinstance(live.limiter.try_acquire(SCOPES, ticket="a write for later"), Slot)

    def test_writes_for_later_leave_where_their_own_account_has_no_slot_free(self, redis: Redis, keys: Keys) -> None:
        later = of(redis, keys, urgent=False)
        slots = [of(redis, keys).acquire(1) for _ in range(7)]
        answer = later.acquire_or_leave(20)
        assert isinstance(answer, Wait)
        assert answer.short == INTEGRATION
        assert slots[0] is not None
        later.limiter.release(slots[0], used=False)
        assert isinstance(later.limiter.try_acquire(SCOPES, ticket="next"), Slot), "who has left holds up nobody"

    def test_a_long_pause_is_told_at_once(self, turnstile: AccountTurnstile) -> None:
        turnstile.heed(said(RateLimited, after=300), "GET")
        with pytest.raises(RateLimited, match="another 300 s, nothing was sent") as caught:
            turnstile.acquire(20)
        assert caught.value.code == NO_TURN
        assert caught.value.after == pytest.approx(300, abs=1)


class TestAWarning:
    def test_slows_down_everything_from_the_address(self, turnstile: AccountTurnstile) -> None:
        turnstile.heed(said(RateLimited, after=60), "PATCH")
        paused = [turnstile.brakes.state(scope).paused_seconds > 0 for scope in SCOPES]
        assert paused == [False, False, True]
        assert turnstile.brakes.state(ADDRESS).allowed == 6

    def test_of_amocrm_slows_down_the_integration_and_the_account(self, redis: Redis, keys: Keys) -> None:
        turnstile = of(redis, keys, by_address=False)
        turnstile.heed(said(RateLimited, after=60), "PATCH")
        assert [turnstile.brakes.state(scope).allowed for scope in SCOPES] == [6, 49, 7]


class TestABlock:
    def test_stops_everything_from_the_address(self, turnstile: AccountTurnstile) -> None:
        turnstile.heed(said(Blocked), "GET")
        assert [turnstile.brakes.state(scope).blocked for scope in SCOPES] == [False, False, True]
        with pytest.raises(RateLimited) as caught:
            turnstile.acquire(20)
        assert caught.value.after == pytest.approx(FIRST_BLOCK_MS / 1000, abs=1)

    def test_of_amocrm_stops_the_account(self, redis: Redis, keys: Keys) -> None:
        turnstile = of(redis, keys, by_address=False)
        turnstile.heed(said(Blocked), "GET")
        assert [turnstile.brakes.state(scope).blocked for scope in SCOPES] == [False, True, False]


class TestParking:
    def test_an_account_that_is_not_parked_may_call(self, turnstile: AccountTurnstile) -> None:
        assert turnstile.admit("PATCH", "/api/v4/leads") is False
        assert turnstile.admit("GET", "/api/v4/leads") is False

    def test_a_subscription_that_has_ended_stops_writes_and_lets_reads_go_on(self, turnstile: AccountTurnstile) -> None:
        turnstile.heed(said(PaymentRequired), "PATCH")
        with pytest.raises(PaymentRequired, match="nothing was sent") as caught:
            turnstile.admit("PATCH", "/api/v4/leads")
        assert caught.value.after == pytest.approx(3600, abs=1)
        assert turnstile.admit("GET", "/api/v4/leads") is False

    def test_a_read_that_is_refused_stops_reads_too(self, turnstile: AccountTurnstile) -> None:
        turnstile.heed(said(PaymentRequired), "GET")
        with pytest.raises(PaymentRequired):
            turnstile.admit("GET", "/api/v4/leads")

    @pytest.mark.parametrize("kind", [Unauthorized, AccessEnded, NeedsAttention])
    def test_a_token_that_is_refused_for_good_stops_everything_for_ten_minutes(
        self, turnstile: AccountTurnstile, kind: type[ApiError]
    ) -> None:
        turnstile.heed(said(kind), "PATCH")
        for method in ("PATCH", "GET"):
            with pytest.raises(AccessEnded) as caught:
                turnstile.admit(method, "/api/v4/leads")
            assert caught.value.after == pytest.approx(600, abs=1)

    def test_one_call_tries_and_the_next_ones_wait_again(self, turnstile: AccountTurnstile) -> None:
        turnstile.heed(said(PaymentRequired), "PATCH")
        pass_time(turnstile)
        assert turnstile.admit("PATCH", "/api/v4/leads") is True
        with pytest.raises(PaymentRequired):
            turnstile.admit("PATCH", "/api/v4/leads")

    def test_a_write_that_works_ends_it(self, turnstile: AccountTurnstile) -> None:
        turnstile.heed(said(PaymentRequired), "GET")
        turnstile.worked("PATCH")
        assert turnstile.parking.state(ACCOUNT) is None

    def test_a_read_that_works_lets_reads_go_on_and_says_nothing_of_writes(self, turnstile: AccountTurnstile) -> None:
        turnstile.heed(said(PaymentRequired), "GET")
        turnstile.worked("GET")
        assert turnstile.admit("GET", "/api/v4/leads") is False
        with pytest.raises(PaymentRequired):
            turnstile.admit("PATCH", "/api/v4/leads")

    def test_a_read_that_works_with_a_token_that_was_refused_ends_it(self, turnstile: AccountTurnstile) -> None:
        turnstile.heed(said(AccessEnded), "PATCH")
        turnstile.worked("GET")
        assert turnstile.parking.state(ACCOUNT) is None

    def test_a_try_that_found_out_nothing_leaves_it_to_the_next_call(self, turnstile: AccountTurnstile) -> None:
        turnstile.heed(said(PaymentRequired), "PATCH")
        pass_time(turnstile)
        turnstile.admit("PATCH", "/api/v4/leads")
        turnstile.untried()
        assert turnstile.admit("PATCH", "/api/v4/leads") is True

    def test_disconnected_says_so(self, turnstile: AccountTurnstile) -> None:
        turnstile.parking.park(ACCOUNT, "disconnected")
        with pytest.raises(AccessEnded, match="disconnected in Kommo"):
            turnstile.admit("POST", "/api/v4/leads")

    def test_another_answer_changes_nothing(self, turnstile: AccountTurnstile) -> None:
        turnstile.heed(said(ApiError), "PATCH")
        assert turnstile.parking.state(ACCOUNT) is None
        assert not any(turnstile.brakes.state(scope).paused_seconds for scope in SCOPES)


class TestAHeldSlot:
    @pytest.fixture
    def held(self, turnstile: AccountTurnstile) -> HeldSlot:
        return self.take(turnstile)

    def take(self, turnstile: AccountTurnstile, *, tries: bool = False) -> HeldSlot:
        slot = turnstile.acquire(1)
        assert slot is not None
        return HeldSlot(turnstile, slot, tries=tries)

    def taken(self, turnstile: AccountTurnstile) -> int:
        return turnstile.brakes.state(OWN).taken

    def test_is_spent_by_the_first_call_and_the_next_one_takes_another(
        self, turnstile: AccountTurnstile, held: HeldSlot
    ) -> None:
        first = held.acquire(0)
        assert self.taken(turnstile) == 1
        second = held.acquire(1)
        assert self.taken(turnstile) == 2
        assert first is not None
        assert second is not None
        assert first.id != second.id

    def test_that_no_call_has_spent_is_free_at_once(self, turnstile: AccountTurnstile, held: HeldSlot) -> None:
        held.give_back()
        held.give_back()
        assert self.taken(turnstile) == 0

    def test_that_a_call_has_spent_is_the_calls_to_release(self, turnstile: AccountTurnstile, held: HeldSlot) -> None:
        held.acquire(0)
        held.give_back()
        assert self.taken(turnstile) == 1

    def test_of_a_call_that_tries_leaves_it_to_the_next_call_when_nothing_was_sent(
        self, turnstile: AccountTurnstile
    ) -> None:
        turnstile.heed(said(PaymentRequired), "PATCH")
        held = self.take(turnstile, tries=True)
        assert held.admit("PATCH", "/api/v4/leads") is True
        held.give_back()
        assert turnstile.admit("PATCH", "/api/v4/leads") is True

    def test_draws_the_same_consequences(self, turnstile: AccountTurnstile, held: HeldSlot) -> None:
        assert held.admit("PATCH", "/api/v4/leads") is False, "it was asked before the slot was taken"
        held.heed(said(PaymentRequired), "PATCH")
        parked = turnstile.parking.state(ACCOUNT)
        assert isinstance(parked, Parked)
        assert parked.reason == "payment"
        held.worked("PATCH")
        assert turnstile.parking.state(ACCOUNT) is None
        slot = held.acquire(0)
        assert slot is not None
        held.release(slot)
        assert turnstile.brakes.state(OWN).taken == 1


class TestWithoutARedis:
    @pytest.fixture
    def away(self, keys: Keys) -> Iterator[Callable[[], AccountTurnstile]]:
        """One whose Redis goes away when it is asked for."""
        with PrivateServer(fsync="no") as server, connect(server.url) as redis:

            def make() -> AccountTurnstile:
                server.kill()
                return of(redis, keys)

            yield make

    def test_what_kommo_has_answered_counts_all_the_same(self, away: Callable[[], AccountTurnstile]) -> None:
        turnstile = away()
        turnstile.worked("PATCH")
        turnstile.worked("GET")
        turnstile.untried()
        for kind in (PaymentRequired, AccessEnded, RateLimited, Blocked):
            turnstile.heed(said(kind), "PATCH")
