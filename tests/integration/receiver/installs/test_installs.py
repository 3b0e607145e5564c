"""Installing an account: from the start over Kommo's consent to what is stored, and what goes wrong on the way."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from redis import Redis

from kommo.hooks.signature import webhook_url
from kommo.store.accounts import Account
from kommo.store.connection import connect
from kommo.store.server import PrivateServer
from kommo.variables import Secret
from receiver.installs.installing import install_id
from sandbox import Sandbox
from tests.integration.receiver.installs.surroundings import (
    ACCOUNT,
    CLIENT,
    KEY,
    PRIVATE,
    PUBLIC,
    SECRET,
    Visit,
    Visitor,
    impatient,
    sandbox,
    title,
)
from tests.integration.workers.logs import Lines
from tests.waiting import wait_for

OWN_URL = webhook_url(PUBLIC, SECRET, CLIENT, ACCOUNT)


class TestTheStart:
    def test_a_person_is_led_to_the_consent_of_the_sandbox_with_a_state(self, visitor: Visitor) -> None:
        answer = visitor.get("/oauth/start")
        parts = urlsplit(answer.location)
        assert (answer.status_code, f"{parts.scheme}://{parts.netloc}{parts.path}") == (302, f"{visitor.box.url}/oauth")
        query = parse_qs(parts.query)
        assert (query["client_id"], query["mode"], len(query["state"])) == ([CLIENT], ["popup"], 1)

    @pytest.mark.parametrize("mode", ["popup", "post_message"])
    def test_the_mode_of_the_consent_may_be_chosen(self, visitor: Visitor, mode: str) -> None:
        assert visitor.start(mode=mode)["mode"] == mode

    def test_another_mode_is_refused(self, visitor: Visitor) -> None:
        assert visitor.get("/oauth/start", mode="<script>").status_code == 400

    def test_the_cookie_stays_in_this_browser_on_this_host_and_away_from_scripts(self, visitor: Visitor) -> None:
        cookie = visitor.get("/oauth/start").headers["Set-Cookie"]
        assert cookie.startswith("__Host-kommo-install=")
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=1200"} <= set(cookie.split("; "))
        assert "Domain" not in cookie

    def test_on_plain_http_the_cookie_has_no_prefix_that_browsers_would_refuse(self, visit: Visit) -> None:
        cookie = visit(public_url="http://127.0.0.1:8000").get("/oauth/start").headers["Set-Cookie"]
        assert cookie.startswith("kommo-install=")
        assert "Secure" not in cookie

    def test_an_integration_that_nobody_knows_is_said_to_be_unknown(self, visitor: Visitor) -> None:
        answer = visitor.get("/oauth/start", client_id="somebody-elses")
        assert (answer.status_code, title(answer)) == (400, "This integration is not known here")

    def test_looking_for_unknown_integrations_has_a_limit(self, visitor: Visitor) -> None:
        answers = [visitor.get("/oauth/start", client_id="guess").status_code for _ in range(6)]
        assert answers == [400] * 5 + [429]


class TestAnInstallation:
    def test_the_account_is_stored_with_its_tokens_ready_to_be_called(self, visitor: Visitor) -> None:
        answer = visitor.agree()
        assert (answer.status_code, title(answer)) == (200, "The account is connected")
        stored = visitor.stored()
        assert stored is not None
        assert (stored.state, stored.subdomain, stored.version) == ("ready", "acme.kommo.com", 1)
        assert stored.api_domain == "api-c.kommo.com"
        assert stored.refresh_expires_at > stored.expires_at > stored.installed_at > 0
        assert visitor.box.world.integration.book.admits(stored.access_token)

    def test_of_the_environments_integration_neither_id_nor_secret_is_stored(self, visitor: Visitor) -> None:
        visitor.agree()
        stored = visitor.stored()
        assert stored is not None
        assert (stored.client_id, stored.client_secret) == ("", "")

    def test_the_webhook_is_registered_with_the_accounts_signed_address(self, visitor: Visitor) -> None:
        visitor.agree()
        (webhook,) = visitor.box.world.webhooks.all()
        assert (webhook.destination, webhook.settings) == (OWN_URL, ["add_lead", "update_lead"])

    def test_the_signed_address_opens_the_receivers_own_door(self, visitor: Visitor) -> None:
        visitor.agree()
        (webhook,) = visitor.box.world.webhooks.all()
        path = webhook.destination.removeprefix(PUBLIC)
        assert visitor.browser.post(path, data=b"leads[add][0][id]=1").status_code == 200
        assert len(visitor.inbox()) == 1

    def test_the_page_names_the_account_and_shows_no_secret(self, visitor: Visitor) -> None:
        page = visitor.agree().text
        assert str(ACCOUNT) in page
        assert "acme.kommo.com" in page
        assert [word for word in PRIVATE if word in page] == []

    def test_nothing_readable_of_code_and_tokens_lies_in_redis(self, visitor: Visitor) -> None:
        visitor.box.fault(path="/api/v4/account", status=500, times=None)
        impatient(visitor.app, seconds=0.05)
        visitor.arrive()
        wait_for(lambda: b'"step":"account"' in visitor.lying(), what="the tokens are kept")
        assert [word for word in PRIVATE if word.encode() in visitor.lying()] == []
        visitor.box.clear_faults()
        wait_for(lambda: visitor.errands() == 0)
        assert visitor.stored() is not None
        assert [word for word in PRIVATE if word.encode() in visitor.lying()] == []

    def test_what_was_parked_goes_on_and_the_account_is_ready_again(self, visitor: Visitor) -> None:
        visitor.agree()
        visitor.accounts.mark(ACCOUNT, "disconnected", "gone")
        visitor.parking.park(ACCOUNT, "disconnected", reads_refused=True)
        visitor.agree()
        stored = visitor.stored()
        assert stored is not None
        assert (stored.state, bool(stored.access_token), visitor.parking.state(ACCOUNT)) == ("ready", True, None)

    def test_the_account_is_who_kommo_says_it_is_whatever_address_was_brought(self, visitor: Visitor) -> None:
        visitor.arrive(referer="somebody.kommo.com")
        assert visitor.accounts.ids() == [ACCOUNT]

    def test_a_code_that_kommo_does_not_accept_stores_nothing(self, visitor: Visitor) -> None:
        answer = visitor.arrive(code="def50200ff")
        assert (answer.status_code, title(answer)) == (400, "The code was not accepted")
        assert visitor.accounts.ids() == []

    def test_keys_that_kommo_does_not_know_are_named_with_their_settings(self, visit: Visit) -> None:
        answer = visit(client_secret=Secret("an older one")).arrive()
        assert (answer.status_code, title(answer)) == (502, "Kommo does not know these keys")
        assert "KOMMO_CLIENT_SECRET" in answer.text
        assert "an older one" not in answer.text

    def test_a_webhook_that_kommo_does_not_register_does_not_undo_the_installation(self, visitor: Visitor) -> None:
        visitor.box.fault(method="POST", path="/api/v4/webhooks", status=402)
        answer = visitor.agree()
        assert (answer.status_code, title(answer)) == (200, "The account is connected, its webhook is not")
        assert "402" in answer.text
        assert OWN_URL not in answer.text
        stored = visitor.stored()
        assert stored is not None
        assert stored.state == "ready"


class TestFailuresOnTheWay:
    def test_an_exchange_that_met_an_error_of_kommos_is_tried_again_with_the_same_code(self, visitor: Visitor) -> None:
        visitor.box.fault(path="/oauth2/access_token", status=502, times=1)
        answer = visitor.arrive()
        assert title(answer) == "The account is connected"
        assert visitor.box.token_calls["authorization_code"]["granted"] == 1

    def test_a_lost_answer_may_have_used_the_code_and_the_page_says_so(self, visitor: Visitor) -> None:
        visitor.box.fault(path="/oauth2/access_token", kind="close_after", after_work=True, times=1)
        answer = visitor.arrive()
        assert (answer.status_code, title(answer)) == (502, "Kommo's answer was lost")
        assert visitor.accounts.ids() == []

    @pytest.mark.parametrize("path", ["/api/v4/account", "/api/v4/webhooks"])
    def test_what_comes_after_the_exchange_is_tried_again_with_the_tokens_that_are_there(
        self, visitor: Visitor, path: str
    ) -> None:
        visitor.box.fault(path=path, status=500, times=1)
        assert title(visitor.arrive()) == "The account is connected"
        assert visitor.box.token_calls["authorization_code"]["asked"] == 1
        assert len(visitor.box.world.webhooks.all()) == 1

    def test_a_slow_exchange_gives_a_page_that_loads_itself_until_it_is_done(self, visit: Visit) -> None:
        visitor = visit()
        visitor.box.fault(path="/oauth2/access_token", status=None, delay=0.5, times=1)
        code, state = visitor.box.code(), visitor.start()["state"]
        impatient(visitor.app, seconds=0.05)
        answer = visitor.arrive(code=code, state=state)
        assert (answer.status_code, title(answer)) == (202, "The installation is under way")
        assert '<meta http-equiv="refresh" content="4">' in answer.text
        wait_for(lambda: title(visitor.arrive(code=code, state=state)) == "The account is connected")

    def test_what_a_process_left_behind_is_done_by_the_next_that_is_asked_for_anything(
        self, visit: Visit, redis: Redis
    ) -> None:
        dying = visit()
        dying.box.fault(path="/oauth2/access_token", status=503, times=1)
        code = dying.box.code()
        dying.widget(code=code)
        wait_for(lambda: not redis.exists(f"kommo:{{errands}}:held:{install_id(code)}") and dying.errands())
        heir = visit()
        heir.get("/health/live")
        wait_for(heir.stored, what="the installation is brought to an end")


class TestWidgets:
    def test_kommos_call_is_answered_at_once_and_the_account_is_stored_soon(self, visitor: Visitor) -> None:
        visitor.box.fault(path="/oauth2/access_token", status=None, delay=0.3, times=1)
        answer = visitor.widget()
        assert (answer.status_code, visitor.stored()) == (202, None)
        wait_for(visitor.box.world.webhooks.all, what="the webhook is registered")
        assert visitor.accounts.ids() == [ACCOUNT]

    def test_the_sandboxs_own_call_of_a_widget_is_understood(self, visitor: Visitor) -> None:
        """Its redirect address is taken apart here: nobody listens under the receiver's public name."""
        location = visitor.box.world.integration.redirection(
            code=visitor.box.code(), referer=visitor.box.world.host, client_id=CLIENT, from_widget="1"
        )
        assert visitor.browser.get(location).status_code == 202
        wait_for(visitor.stored)

    def test_a_guessed_code_changes_nothing_of_an_account_that_is_there(self, visitor: Visitor) -> None:
        visitor.agree()
        before = visitor.stored()
        visitor.widget(code="guess")
        wait_for(lambda: visitor.errands() == 0)
        assert visitor.stored() == before


class TestPrivateIntegrations:
    PRIVATE = "9d2e-private-integration"

    def private(self, account: int = ACCOUNT, **changes: Any) -> Account:
        given = {
            "account_id": account,
            "subdomain": "acme.kommo.com",
            "client_id": self.PRIVATE,
            "client_secret": Secret("its-own-secret"),
            "access_token": Secret("old-token"),
            "redirect_uri": "https://elsewhere.example.org/back",
        }
        return Account(**{**given, **changes})

    @pytest.fixture
    def box(self) -> Iterator[Sandbox]:
        redirect = "https://elsewhere.example.org/back"
        with sandbox(client_id=self.PRIVATE, client_secret="its-own-secret", redirect_uri=redirect) as running:
            yield running

    def test_an_account_with_keys_of_its_own_is_installed_with_those(self, visitor: Visitor) -> None:
        visitor.accounts.save(self.private(previous_secret=Secret("former")))
        state = visitor.start(client_id=self.PRIVATE)["state"]
        answer = visitor.arrive(client_id=self.PRIVATE, state=state)
        assert title(answer) == "The account is connected"
        stored = visitor.stored()
        assert stored is not None
        kept = (stored.client_id, stored.client_secret, stored.previous_secret, stored.redirect_uri)
        assert kept == (self.PRIVATE, "its-own-secret", "former", "https://elsewhere.example.org/back")
        assert stored.access_token != "old-token"
        (webhook,) = visitor.box.world.webhooks.all()
        assert webhook.destination == webhook_url(PUBLIC, "its-own-secret", self.PRIVATE, ACCOUNT)

    def test_a_private_integration_never_serves_another_account(self, visitor: Visitor) -> None:
        visitor.accounts.save(self.private(ACCOUNT + 1))
        visitor.widget(client_id=self.PRIVATE)
        wait_for(lambda: visitor.errands() == 0)
        assert visitor.accounts.ids() == [ACCOUNT + 1]
        untouched = visitor.stored(ACCOUNT + 1)
        assert untouched is not None
        assert untouched.access_token == "old-token"

    def test_a_state_for_one_integration_is_not_good_for_another(self, visitor: Visitor) -> None:
        visitor.accounts.save(self.private())
        answer = visitor.arrive(client_id=self.PRIVATE)
        assert (answer.status_code, title(answer)) == (400, "This installation did not begin here")


class TestAnotherIntegrationOfTheSameAccount:
    def save(self, visitor: Visitor, state: Any) -> Account:
        return visitor.accounts.save(
            Account(
                account_id=ACCOUNT,
                subdomain="acme.kommo.com",
                client_id="another",
                client_secret=Secret("another-secret"),
                access_token=Secret("old-token"),
                state=state,
            )
        )

    def test_one_that_works_is_not_driven_out(self, visitor: Visitor) -> None:
        before = self.save(visitor, "ready")
        answer = visitor.agree()
        assert (answer.status_code, title(answer)) == (409, "This account is served by another integration")
        assert visitor.stored() == before

    @pytest.mark.parametrize("state", ["disconnected", "needs_person"])
    def test_one_that_does_not_work_any_more_is_replaced(self, visitor: Visitor, state: str) -> None:
        self.save(visitor, state)
        assert title(visitor.agree()) == "The account is connected"
        stored = visitor.stored()
        assert stored is not None
        assert (stored.client_id, stored.state) == ("", "ready")


class TestWhoIsLetIn:
    def test_a_visit_without_anything_is_answered_200(self, visitor: Visitor) -> None:
        for method in (visitor.browser.get, visitor.browser.head):
            assert method("/oauth/callback").status_code == 200

    def test_somebody_who_did_not_agree_is_told_that_nothing_happened(self, visitor: Visitor) -> None:
        answer = visitor.agree(deny="1")
        assert (answer.status_code, title(answer)) == (200, "Access was not granted")
        assert visitor.box.token_calls == {}

    def test_a_state_is_good_only_in_the_browser_that_got_it(self, visitor: Visitor, visit: Visit) -> None:
        stolen = visit().start()["state"]
        assert visitor.arrive(state=stolen).status_code == 400
        visitor.browser.delete_cookie("__Host-kommo-install", domain="hooks.example.org")
        assert title(visitor.get("/oauth/callback", code="c", referer="acme.kommo.com", state=stolen)) == (
            "This installation did not begin here"
        )
        assert visitor.box.token_calls == {}

    @pytest.mark.parametrize("state", ["", "made-up", "a.b.c"])
    def test_no_state_or_one_of_somebody_elses_making_is_refused(self, visitor: Visitor, state: str) -> None:
        assert visitor.arrive(state=state).status_code == 400
        assert visitor.box.token_calls == {}

    def test_two_windows_of_one_browser_may_both_install(self, visitor: Visitor) -> None:
        first, second = visitor.start()["state"], visitor.start()["state"]
        assert [visitor.arrive(state=state).status_code for state in (first, second)] == [200, 200]

    @pytest.mark.parametrize(
        "host",
        [
            "acme.kommo.com.evil.example",
            "evil.example/kommo.com",
            "u@acme.kommo.com",
            "acme.kommo.com:8443",
            "www.kommo.com",
            "developers.kommo.com",
            "api-c.kommo.com",
        ],
    )
    @pytest.mark.parametrize("way", ["person", "widget"])
    def test_no_code_goes_to_a_host_that_is_not_an_accounts(self, visitor: Visitor, host: str, way: str) -> None:
        answer = visitor.arrive(referer=host) if way == "person" else visitor.widget(referer=host)
        assert (answer.status_code, title(answer)) == (400, "This is not an account of Kommo's")
        assert (visitor.box.token_calls, visitor.errands()) == ({}, 0)
        assert host not in answer.text

    def test_an_unknown_integration_in_the_redirect_is_said_to_be_unknown(self, visitor: Visitor) -> None:
        answer = visitor.widget(client_id="nobodys")
        assert (answer.status_code, title(answer)) == (400, "This integration is not known here")

    def test_a_look_at_the_head_alone_installs_nothing(self, visitor: Visitor) -> None:
        query = {"code": visitor.box.code(), "referer": "acme.kommo.com", "from_widget": "1"}
        assert visitor.browser.head("/oauth/callback", query_string=query).status_code == 200
        assert visitor.errands() == 0


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("door", ["start", "callback", "disconnect"])
class TestEveryAnswer:
    def test_stays_out_of_caches_referrers_and_frames(self, visitor: Visitor, door: str, slash: str) -> None:
        headers = visitor.get(f"/oauth/{door}{slash}").headers
        assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "frame-ancestors 'none'" in policy

    def test_is_405_for_any_method_but_get_and_head(self, visitor: Visitor, door: str, slash: str) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            answer = visitor.browser.open(f"/oauth/{door}{slash}", method=method)
            assert answer.status_code == 405
            assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD"}
            assert answer.headers["Cache-Control"] == "no-store"


class TestWithoutTheSettings:
    @pytest.mark.parametrize(
        ("changes", "name"), [({"public_url": ""}, "KOMMO_PUBLIC_URL"), ({"token_keys": ()}, "KOMMO_TOKEN_KEYS")]
    )
    @pytest.mark.parametrize("path", ["/oauth/start", "/oauth/callback?code=c&referer=acme.kommo.com&from_widget=1"])
    def test_the_doors_are_there_and_name_what_is_missing(
        self, visit: Visit, changes: dict[str, Any], name: str, path: str
    ) -> None:
        answer = visit(**changes).get(path)
        assert (answer.status_code, title(answer)) == (503, "Installations are not set up")
        assert name in answer.text

    def test_kommos_probe_is_answered_200_all_the_same(self, visit: Visit) -> None:
        visitor = visit(public_url="", token_keys=())
        assert [visitor.get(path).status_code for path in ("/", "/oauth/callback")] == [200, 200]


class TestWhileRedisIsAway:
    @pytest.fixture
    def redis_server(self, lone_server: PrivateServer) -> PrivateServer:
        return lone_server

    @pytest.fixture
    def redis(self, lone_server: PrivateServer) -> Iterator[Redis]:
        with connect(lone_server.url) as client:
            yield client

    def test_an_installation_is_kept_in_memory_and_done_once_redis_is_back(
        self, visitor: Visitor, lone_server: PrivateServer
    ) -> None:
        lone_server.kill()
        impatient(visitor.app, seconds=0.05)
        assert [visitor.widget().status_code, visitor.arrive().status_code] == [202, 202]
        assert visitor.box.token_calls == {}
        lone_server.start()
        wait_for(lambda: visitor.box.token_calls.get("authorization_code", {}).get("granted") == 2, seconds=20)
        wait_for(visitor.stored)


def test_no_line_holds_a_code_a_state_a_token_or_a_secret(visitor: Visitor, lines: Lines) -> None:
    state, code = visitor.start()["state"], visitor.box.code()
    visitor.arrive(code=code, state=state)
    visitor.arrive(code="whispered-code", state="whispered-state")
    visitor.widget(code="whispered-code")
    visitor.get("/oauth/callback", code="whispered-code", referer="evil.example")
    visitor.get("/oauth/disconnect", client_uuid=CLIENT, account_id=str(ACCOUNT), signature="whispered")
    wait_for(lambda: visitor.errands() == 0)
    stored = visitor.stored()
    assert stored is not None
    assert len(lines.all) >= 8
    forbidden = (state, code, "whispered", stored.access_token, stored.refresh_token, SECRET, KEY, OWN_URL)
    assert [word for word in forbidden if word in lines.text] == []
