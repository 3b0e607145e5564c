"""Callers and clients of accounts: who may be called, where, and through which limits. No call leaves here."""

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from kommo.api.clients import Clients, Shared, check_address
from kommo.api.later import Later
from kommo.api.later import Step as AskedBy
from kommo.api.protocol import Request, Response
from kommo.errors import PaymentRequired, RequestError, SettingsError, Unauthorized
from kommo.settings import Settings
from kommo.store.accounts import Accounts
from kommo.store.keys import Keys
from kommo.store.limiter import Scope
from kommo.variables import Secret

SCOPES = (Scope("integration:c:101", 7), Scope("account:101", 50), Scope("ip:default", 7))


class FakeTransport:
    """Answers everything alike, with an empty object at first."""

    def __init__(self) -> None:
        self.sent: list[Request] = []
        self.closed = False
        self.answer = Response(200, {"content-type": "application/json"}, b'{"id": 101}')

    def send(self, request: Request) -> Response:
        self.sent.append(request)
        return self.answer

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def shared(redis: Redis, keys: Keys) -> Shared:
    return Shared.on(redis, keys)


Make = Callable[..., Clients]


@pytest.fixture
def make(shared: Shared, transport: FakeTransport) -> Make:
    """Make clients with other settings than usual."""

    def made(**given: Any) -> Clients:
        known = {"client_id": "c", "subdomain": "acme", "account_id": 101, "access_token": Secret("t-1"), **given}
        settings = Settings(**known)
        return Clients(Accounts(settings), shared, settings.api_base, transport)

    return made


@pytest.fixture
def clients(make: Make) -> Clients:
    return make()


def taken(shared: Shared) -> list[int]:
    """The slots that are in use or cool down, scope by scope."""
    return [shared.brakes.state(scope).taken for scope in SCOPES]


def test_a_call_goes_to_the_accounts_own_host_with_its_token_through_all_its_limits(
    clients: Clients, shared: Shared, transport: FakeTransport
) -> None:
    assert clients.client(101).account() == {"id": 101}
    (request,) = transport.sent
    assert request.url == "https://acme.kommo.com/api/v4/account"
    assert ("Authorization", "Bearer t-1") in request.headers
    assert taken(shared) == [1, 1, 1]


def test_another_base_replaces_the_host(make: Make, transport: FakeTransport) -> None:
    make(api_base="http://127.0.0.1:7300").client(101).account()
    assert transport.sent[0].url == "http://127.0.0.1:7300/api/v4/account"


@pytest.mark.parametrize(
    "given",
    [{"access_token": Secret()}, {"account_id": 102}, {"account_id": None}],
    ids=["no token", "not ours", "of nobody"],
)
class TestAnAccountWithoutAToken:
    def test_it_has_a_client_whose_calls_say_what_to_set(
        self, make: Make, shared: Shared, transport: FakeTransport, given: dict[str, Any]
    ) -> None:
        client = make(**given).client(101)
        with pytest.raises(Unauthorized, match="KOMMO_ACCOUNT_ID and KOMMO_ACCESS_TOKEN"):
            client.account()
        assert (taken(shared), transport.sent) == ([0, 0, 0], [])

    def test_it_has_no_way_through_the_limiter(self, make: Make, given: dict[str, Any]) -> None:
        for ask in (make(**given).turnstile, make(**given).caller):
            with pytest.raises(Unauthorized):
                ask(101)


def test_a_client_has_later_only_where_a_handler_runs(clients: Clients) -> None:
    later = Later(AskedBy(101, "e", "h"))
    assert clients.client(101, later).later is later
    with pytest.raises(RequestError, match="in handlers only"):
        _ = clients.client(101).later


def test_calls_of_handlers_are_urgent_and_writes_for_later_need_not_be(clients: Clients) -> None:
    assert clients.turnstile(101).urgent
    assert not clients.turnstile(101, urgent=False).urgent
    assert clients.turnstile(101).scopes == SCOPES


@pytest.mark.parametrize(
    ("subdomain", "slowed"),
    [("acme", SCOPES[2:]), ("acme.kommo.com", SCOPES[2:]), ("acme.amocrm.ru", SCOPES[:2])],
)
def test_a_warning_slows_down_where_the_service_counts(
    make: Make, shared: Shared, transport: FakeTransport, subdomain: str, slowed: tuple[Scope, ...]
) -> None:
    transport.answer = Response(429, {"retry-after": "30"}, b"")
    with pytest.raises(Exception, match="429"):
        make(subdomain=subdomain).client(101).account()
    assert tuple(scope for scope in SCOPES if shared.brakes.state(scope).paused_seconds) == slowed


def test_what_is_written_at_once_is_expected_to_come_back_as_an_echo(clients: Clients, shared: Shared) -> None:
    clients.client(101).leads.update(31, price=5)
    assert shared.echoes.load(101, ["lead:31"])["lead:31"].pending


def test_an_account_that_is_parked_is_not_called(clients: Clients, shared: Shared, transport: FakeTransport) -> None:
    shared.parking.park(101, "payment")
    with pytest.raises(PaymentRequired):
        clients.client(101).leads.update(31, price=5)
    assert transport.sent == []


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
