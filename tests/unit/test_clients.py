"""Callers and clients of accounts: who may be called, where, and through which limits. No call leaves here."""

from typing import Any

import pytest

from kommo.api.clients import AccountTurnstile, Clients, HeldSlot, check_address
from kommo.api.later import Later
from kommo.api.later import Step as AskedBy
from kommo.api.protocol import Request, Response
from kommo.errors import RequestError, SettingsError, Unauthorized
from kommo.settings import Settings
from kommo.store.accounts import Accounts
from kommo.store.limiter import Scope, Slot
from kommo.variables import Secret

SCOPES = (Scope("integration:c:101", 7), Scope("account:101", 50))


class FakeLimiter:
    """Writes down what is asked of it; there is always a slot."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def acquire(self, scopes: tuple[Scope, ...], *, seconds: float) -> Slot:
        self.asked.append(("acquire", scopes, seconds))
        return Slot("s1", scopes)

    def release(self, slot: Slot, *, used: bool = True) -> None:
        self.asked.append(("release", slot, used))

    def pause(self, scope: Scope, *, seconds: float) -> None:
        self.asked.append(("pause", scope, seconds))


class FakeTransport:
    """Answers everything with an empty object."""

    def __init__(self) -> None:
        self.sent: list[Request] = []
        self.closed = False

    def send(self, request: Request) -> Response:
        self.sent.append(request)
        return Response(200, {"content-type": "application/json"}, b'{"id": 101}')

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def limiter() -> FakeLimiter:
    return FakeLimiter()


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def clients(limiter: FakeLimiter, transport: FakeTransport) -> Clients:
    return make(limiter, transport)


def make(limiter: FakeLimiter, transport: FakeTransport, **given: Any) -> Clients:
    known = {"client_id": "c", "subdomain": "acme", "account_id": 101, "access_token": Secret("t-1"), **given}
    settings = Settings(**known)
    return Clients(Accounts(settings), limiter, settings.api_base, transport)  # type: ignore[arg-type]  # a double


def test_a_call_goes_to_the_accounts_own_host_with_its_token_through_all_its_limits(
    clients: Clients, limiter: FakeLimiter, transport: FakeTransport
) -> None:
    assert clients.client(101).account() == {"id": 101}
    (request,) = transport.sent
    assert request.url == "https://acme.kommo.com/api/v4/account"
    assert ("Authorization", "Bearer t-1") in request.headers
    (acquired, released) = limiter.asked
    assert [scope.name for scope in acquired[1]] == ["integration:c:101", "account:101", "ip:default"]
    assert released == ("release", Slot("s1", acquired[1]), True)


def test_another_base_replaces_the_host(limiter: FakeLimiter, transport: FakeTransport) -> None:
    make(limiter, transport, api_base="http://127.0.0.1:7300").client(101).account()
    assert transport.sent[0].url == "http://127.0.0.1:7300/api/v4/account"


@pytest.mark.parametrize(
    "given",
    [{"access_token": Secret()}, {"account_id": 102}, {"account_id": None}],
    ids=["no token", "not ours", "of nobody"],
)
class TestAnAccountWithoutAToken:
    def test_it_has_a_client_whose_calls_say_what_to_set(
        self, limiter: FakeLimiter, transport: FakeTransport, given: dict[str, Any]
    ) -> None:
        client = make(limiter, transport, **given).client(101)
        with pytest.raises(Unauthorized, match="KOMMO_ACCOUNT_ID and KOMMO_ACCESS_TOKEN"):
            client.account()
        assert (limiter.asked, transport.sent) == ([], [])

    def test_it_has_no_way_through_the_limiter(
        self, limiter: FakeLimiter, transport: FakeTransport, given: dict[str, Any]
    ) -> None:
        for ask in (make(limiter, transport, **given).turnstile, make(limiter, transport, **given).caller):
            with pytest.raises(Unauthorized):
                ask(101)


def test_a_client_has_later_only_where_a_handler_runs(clients: Clients) -> None:
    later = Later(AskedBy(101, "e", "h"))
    assert clients.client(101, later).later is later
    with pytest.raises(RequestError, match="in handlers only"):
        _ = clients.client(101).later


def test_a_turnstile_acquires_in_all_scopes_and_pauses_the_integrations(limiter: FakeLimiter) -> None:
    turnstile = AccountTurnstile(limiter, SCOPES)  # type: ignore[arg-type]  # a double
    slot = turnstile.acquire(3.0)
    assert slot is not None
    turnstile.release(slot)
    turnstile.pause(9.0)
    assert limiter.asked == [("acquire", SCOPES, 3.0), ("release", slot, True), ("pause", SCOPES[0], 9.0)]


def test_a_held_slot_is_there_already_and_goes_back_where_it_came_from(limiter: FakeLimiter) -> None:
    slot = Slot("held", SCOPES)
    held = HeldSlot(AccountTurnstile(limiter, SCOPES), slot)  # type: ignore[arg-type]  # a double
    assert held.acquire(0.0) is slot
    held.release(slot)
    held.pause(2.0)
    assert limiter.asked == [("release", slot, True), ("pause", SCOPES[0], 2.0)]


def test_a_held_slot_that_no_call_has_spent_is_given_back_at_once_and_only_once(limiter: FakeLimiter) -> None:
    slot = Slot("held", SCOPES)
    held = HeldSlot(AccountTurnstile(limiter, SCOPES), slot)  # type: ignore[arg-type]  # a double
    held.give_back()
    held.give_back()
    assert limiter.asked == [("release", slot, False)]


def test_one_that_a_call_has_spent_is_the_calls_to_release(limiter: FakeLimiter) -> None:
    held = HeldSlot(AccountTurnstile(limiter, SCOPES), Slot("held", SCOPES))  # type: ignore[arg-type]  # a double
    held.acquire(1.0)
    held.give_back()
    assert limiter.asked == []


def test_closing_lets_go_of_the_connections(clients: Clients, transport: FakeTransport) -> None:
    clients.close()
    assert transport.closed


class TestTheAddress:
    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"subdomain": "www"},
            {"access_token": Secret("t"), "account_id": 101, "subdomain": "acme"},
            {"access_token": Secret("t"), "account_id": 101, "subdomain": "acme.amocrm.ru"},
            {"access_token": Secret("t"), "account_id": 101, "api_base": "http://127.0.0.1:7300"},
        ],
        ids=str,
    )
    def test_one_that_can_be_right_or_is_not_needed_passes(self, given: dict[str, Any]) -> None:
        check_address(Settings(**given))

    @pytest.mark.parametrize(
        ("given", "variable"),
        [
            ({}, "KOMMO_SUBDOMAIN is not set"),
            ({"subdomain": "acme", "account_id": None}, "KOMMO_ACCOUNT_ID is not set"),
            ({"subdomain": "www.kommo.com"}, "KOMMO_SUBDOMAIN: "),
            ({"subdomain": "acme.example.org"}, "KOMMO_SUBDOMAIN: "),
            ({"api_base": "http://acme.example.org"}, "KOMMO_API_BASE: "),
            ({"subdomain": "acme", "api_base": "https://kommo.com"}, "KOMMO_API_BASE: "),
        ],
    )
    def test_one_that_cannot_is_refused_by_its_variable(self, given: dict[str, Any], variable: str) -> None:
        with pytest.raises(SettingsError) as caught:
            check_address(Settings(**{"access_token": Secret("t"), "account_id": 101, **given}))
        assert str(caught.value).startswith(variable)

    def test_both_names_of_the_account_are_missed_together(self) -> None:
        with pytest.raises(SettingsError) as caught:
            check_address(Settings(access_token=Secret("t")))
        assert len(caught.value.problems) == 2
