"""The token endpoint's protocol: what is sent where, what is read, and what is paid for."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from kommo.api import oauth
from kommo.api.calls import NO_TURN
from kommo.api.oauth import OAuth, TokenPair, code_request, host_of, pair_of, refresh_request, subdomain_request
from kommo.api.protocol import Request, Response
from kommo.api.tokens.pairs import REFRESH_SECONDS, is_nearly_over, with_pair, with_pair_of
from kommo.errors import AccessEnded, ApiError, RateLimited, RequestError, ServerError, Unauthorized
from kommo.store.account import Account
from kommo.store.accounts import Credentials
from kommo.variables import Secret

ACCOUNT = Account(
    account_id=7,
    subdomain="acme",
    client_id="c-1",
    client_secret=Secret("key-of-c-1"),
    refresh_token=Secret("r-1"),
    redirect_uri="https://hooks.example.org/oauth/callback",
    api_domain="api-c.kommo.com",
)
PAIR = {"token_type": "Bearer", "expires_in": 3600, "access_token": "a-2", "refresh_token": "r-2"}
ASKED = Request("POST", "https://acme.kommo.com/oauth2/access_token", ())


class Wire:
    """Transport and turnstile in one: gives one answer and writes down what happens."""

    def __init__(self, status: int = 200, body: object = PAIR, slot: str | None = "slot") -> None:
        self.response = Response(status, {"content-type": "application/json"}, json.dumps(body).encode())
        self.slot = slot
        self.sent: list[Request] = []
        self.events: list[Any] = []

    def send(self, request: Request) -> Response:
        self.sent.append(request)
        return self.response

    def close(self) -> None:
        """Nothing is open."""

    def turnstile(self, credentials: Credentials) -> Any:
        self.events.append((credentials.account_id, credentials.client_id))
        return self

    def acquire(self, seconds: float) -> str | None:
        assert seconds > 0
        self.events.append("acquire")
        return self.slot

    def release(self, slot: str) -> None:
        assert slot == self.slot
        self.events.append("release")

    def heed(self, error: ApiError, method: str) -> None:
        assert method == "POST"
        self.events.append(type(error))

    def oauth(self, **given: Any) -> OAuth[Any]:
        return OAuth(self, self.turnstile, **given)


class TestRequests:
    def test_a_code_is_exchanged_with_the_clients_keys_and_without_any_token(self) -> None:
        request = code_request("code-1", "https://acme.kommo.com", "c", "s", "https://cb.example/")
        assert (request.method, request.url) == ("POST", "https://acme.kommo.com/oauth2/access_token")
        assert "Authorization" not in dict(request.headers)
        assert json.loads(request.body) == {
            "client_id": "c",
            "client_secret": "s",
            "grant_type": "authorization_code",
            "code": "code-1",
            "redirect_uri": "https://cb.example/",
        }

    def test_a_pair_is_renewed_with_the_refresh_token(self) -> None:
        assert json.loads(refresh_request(ACCOUNT, "https://acme.kommo.com").body) == {
            "client_id": "c-1",
            "client_secret": "key-of-c-1",
            "grant_type": "refresh_token",
            "refresh_token": "r-1",
            "redirect_uri": "https://hooks.example.org/oauth/callback",
        }

    def test_the_name_is_asked_for_with_the_refresh_token_in_a_header(self) -> None:
        request = subdomain_request(ACCOUNT, "https://api-c.kommo.com")
        assert request.url == "https://api-c.kommo.com/oauth2/account/current/subdomain"
        assert dict(request.headers)["X-Refresh-Token"] == "r-1"

    def test_no_repr_shows_what_is_in_it(self) -> None:
        pair = pair_of(PAIR, ASKED)
        for shown in map(repr, (pair, refresh_request(ACCOUNT, "https://acme.kommo.com"), Wire().oauth())):
            for secret in ("a-2", "r-2", "r-1", "key-of-c-1"):
                assert secret not in shown


class TestAnswers:
    def test_a_pair_is_read(self) -> None:
        assert pair_of(PAIR, ASKED) == TokenPair(Secret("a-2"), Secret("r-2"), 3600)

    @pytest.mark.parametrize("seconds", [None, 0, -5, "3600", True, 1.5])
    def test_a_life_that_is_none_is_a_day(self, seconds: object) -> None:
        assert pair_of({**PAIR, "expires_in": seconds}, ASKED).expires_in == 86_400

    @pytest.mark.parametrize(
        "answer",
        [
            None,
            [],
            "x",
            {},
            {**PAIR, "refresh_token": ""},
            {**PAIR, "access_token": 5},
            {**PAIR, "access_token": "a\r\nX: y"},
        ],
        ids=repr,
    )
    def test_what_is_no_pair_is_worth_asking_again(self, answer: object) -> None:
        with pytest.raises(ServerError, match="no pair of tokens"):
            pair_of(answer, ASKED)

    @pytest.mark.parametrize(
        ("answer", "host"),
        [
            (
                {"id": 7, "subdomain": "fresh", "domain": "fresh.kommo.com", "top_level_domain": "com"},
                "fresh.kommo.com",
            ),
            ({"id": "7", "subdomain": "fresh", "domain": "fresh.amocrm.ru"}, "fresh.amocrm.ru"),
            ({"subdomain": "fresh", "domain": "kommo.com"}, "fresh.kommo.com"),
            ({"subdomain": "Fresh"}, "fresh.kommo.com"),
            ({"subdomain": "kommo", "domain": "kommo.com"}, "kommo.kommo.com"),
        ],
    )
    def test_a_name_is_read_in_the_forms_that_it_may_have(self, answer: object, host: str) -> None:
        assert host_of(answer, ACCOUNT) == host

    @pytest.mark.parametrize(
        "answer",
        [
            {"id": 8, "subdomain": "fresh", "domain": "fresh.kommo.com"},
            {"subdomain": "fresh", "domain": "fresh.evil.example"},
            {"subdomain": "www", "domain": "www.kommo.com"},
            {"subdomain": "a.b", "domain": "a.b.kommo.com"},
            {"subdomain": ""},
            None,
            [],
        ],
        ids=repr,
    )
    def test_a_name_that_may_be_somebody_elses_is_refused(self, answer: object) -> None:
        with pytest.raises(RequestError):
            host_of(answer, ACCOUNT)


class TestCalls:
    def test_an_exchange_goes_to_the_accounts_host_and_pays_for_itself(self) -> None:
        wire = Wire()
        assert wire.oauth().exchange("code", "acme.amocrm.ru", "c", "s", "").refresh_token == "r-2"
        assert wire.sent[0].url == "https://acme.amocrm.ru/oauth2/access_token"
        assert wire.events == [(0, "c"), "acquire", "release"]

    @pytest.mark.parametrize(
        "host",
        ["evil.example", "kommo.com.evil.example", "www.kommo.com", "kommo.com", "a@b.kommo.com", "a.kommo.com:1", ""],
    )
    @pytest.mark.parametrize("override", ["", "http://127.0.0.1:7300"])
    def test_a_code_for_a_strange_host_never_leaves(self, host: str, override: str) -> None:
        wire = Wire()
        with pytest.raises(RequestError):
            wire.oauth(api_base_override=override).exchange("code", host, "c", "s", "")
        assert (wire.sent, wire.events) == ([], [])

    @pytest.mark.parametrize(
        ("call", "path", "body"),
        [
            (lambda oauth: oauth.refresh(ACCOUNT), "/oauth2/access_token", PAIR),
            (lambda oauth: oauth.exchange("c", "acme.kommo.com", "c", "s", ""), "/oauth2/access_token", PAIR),
            (
                lambda oauth: oauth.current_subdomain(ACCOUNT),
                "/oauth2/account/current/subdomain",
                {"subdomain": "acme"},
            ),
        ],
        ids=["refresh", "exchange", "name"],
    )
    def test_another_base_replaces_every_host(self, call: Callable[[Any], Any], path: str, body: object) -> None:
        wire = Wire(body=body)
        call(wire.oauth(api_base_override="http://127.0.0.1:7300"))
        assert wire.sent[0].url == f"http://127.0.0.1:7300{path}"

    def test_the_name_is_asked_for_at_the_host_that_knows_all_names(self) -> None:
        wire = Wire(body={"subdomain": "fresh", "domain": "fresh.kommo.com"})
        assert wire.oauth().current_subdomain(ACCOUNT) == "fresh.kommo.com"
        assert wire.sent[0].url.startswith("https://api-c.kommo.com/")

    def test_without_such_a_host_nobody_is_asked(self) -> None:
        wire = Wire()
        with pytest.raises(RequestError, match="no host is known"):
            wire.oauth().current_subdomain(Account(account_id=7, subdomain="acme"))
        assert wire.sent == []

    def test_without_a_turn_nothing_is_sent(self) -> None:
        wire = Wire(slot=None)
        with pytest.raises(RateLimited) as caught:
            wire.oauth(patience=1.0).refresh(ACCOUNT)
        assert (caught.value.code, wire.sent) == (NO_TURN, [])

    @pytest.mark.parametrize(
        ("status", "body", "error"),
        [
            (401, {"hint": "Token has been revoked", "status": 401}, AccessEnded),
            (401, {"title": "Wrong client", "status": 401}, Unauthorized),
        ],
    )
    def test_a_refusal_concerns_the_tokens_and_no_other_call(self, status: int, body: object, error: type) -> None:
        wire = Wire(status, body)
        with pytest.raises(error) as caught:
            wire.oauth().refresh(ACCOUNT)
        assert type(caught.value) is error
        assert wire.events == [(7, "c-1"), "acquire", "release"]

    def test_too_many_requests_concern_all_calls_before_the_slot_is_free(self) -> None:
        wire = Wire(429, {"retry_after": 5})
        with pytest.raises(RateLimited):
            wire.oauth().refresh(ACCOUNT)
        assert wire.events == [(7, "c-1"), "acquire", RateLimited, "release"]

    def test_its_line_in_the_log_holds_no_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # A logger that another test has used by now keeps to the configuration of that time.
        monkeypatch.setattr(oauth, "_log", structlog.get_logger())
        with capture_logs() as lines:
            Wire().oauth().refresh(ACCOUNT)
        (line,) = (line for line in lines if line["event"] == "token call")
        assert (line["status"], line["account"]) == (200, 7)
        for secret in ("a-2", "r-2", "r-1", "key-of-c-1"):
            assert secret not in str(line)


class TestPairs:
    def test_a_pair_makes_an_account_ready_and_starts_its_times(self) -> None:
        marked = Account(account_id=7, subdomain="acme", state="needs_person", reason="x", version=3, installed_at=5)
        fresh = with_pair(marked, pair_of(PAIR, ASKED), now=1000.9)
        assert (fresh.state, fresh.reason, fresh.version, fresh.installed_at) == ("ready", "", 3, 5)
        assert (fresh.renewed_at, fresh.expires_at, fresh.refresh_expires_at) == (1000, 4600, 1000 + REFRESH_SECONDS)
        assert (fresh.access_token, fresh.refresh_token) == ("a-2", "r-2")

    def test_a_host_that_was_known_stays_when_the_token_names_none(self) -> None:
        assert with_pair(ACCOUNT, pair_of(PAIR, ASKED), now=0).api_domain == "api-c.kommo.com"

    def test_a_pair_can_be_put_on_another_state_of_the_account(self) -> None:
        fresh = with_pair(ACCOUNT, pair_of(PAIR, ASKED), now=1000)
        changed = Account(account_id=7, subdomain="other", previous_secret=Secret("p"), version=9)
        both = with_pair_of(changed, fresh)
        assert (both.subdomain, both.previous_secret, both.version) == ("other", "p", 9)
        assert (both.access_token, both.refresh_token, both.expires_at) == ("a-2", "r-2", 4600)

    @pytest.mark.parametrize(
        ("life", "left", "nearly_over"),
        [
            (86_400, 86_400, False),
            (86_400, 8_641, False),
            (86_400, 8_639, True),
            (86_400, -5, True),
            (1_000, 301, False),
            (1_000, 299, True),
            (60, 31, False),
            (60, 29, True),
            (2, 2, False),
        ],
    )
    def test_it_is_renewed_in_the_last_tenth_or_the_last_five_minutes_of_its_life(
        self, life: int, left: int, nearly_over: bool
    ) -> None:
        account = Account(account_id=7, subdomain="acme", renewed_at=10_000, expires_at=10_000 + life)
        assert is_nearly_over(account, now=10_000 + life - left) is nearly_over

    def test_one_whose_end_is_not_known_is_good_until_it_is_refused(self) -> None:
        assert not is_nearly_over(Account(account_id=7, subdomain="acme"), now=1e10)
