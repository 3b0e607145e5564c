"""OAuth: consent, codes, rotating tokens, and what ends them."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_surroundings import Answer, Client

from sandbox.pages import OAUTH_PROBLEM
from sandbox.problems import Refusal
from sandbox.tokens import Issuer, TokenBook

ISSUER = Issuer("client", 77, 5, "kommo.com", "api-c.kommo.com")


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> TokenBook:
    return TokenBook(ISSUER, access_seconds=100, refresh_seconds=1000, clock=clock)


def ask(client: Client, **changes: Any) -> Answer:
    options = client.box.options
    keys = {"client_id": options.client_id, "client_secret": options.client_secret}
    return client.ask(
        "POST", "/oauth2/access_token", {**keys, "redirect_uri": options.redirect_uri, **changes}, token=None
    )


def install(client: Client) -> dict[str, Any]:
    answer = ask(client, grant_type="authorization_code", code=client.box.code())
    assert answer.status == 200, answer
    return dict(answer.json)


def renew(client: Client, token: str) -> Answer:
    return ask(client, grant_type="refresh_token", refresh_token=token)


def account(client: Client, token: str) -> int:
    return client.ask("GET", "/api/v4/account", token=token).status


def hint(refresh: Callable[[str], object], token: str) -> str:
    with pytest.raises(Refusal) as caught:
        refresh(token)
    assert caught.value.page.status == 401
    return str(json.loads(caught.value.page.body).get("hint"))


def test_consent_leads_back_with_code_host_state_and_client(client: Client) -> None:
    options = client.box.options
    answer = client.ask("GET", f"/oauth?client_id={options.client_id}&state=a%20b&mode=popup", token=None)
    where = urlsplit(answer.headers["Location"])
    told = {name: values[0] for name, values in parse_qs(where.query).items()}
    assert (answer.status, f"{where.scheme}://{where.netloc}{where.path}") == (302, options.redirect_uri)
    assert (told["referer"], told["state"], told["client_id"]) == ("sandbox.kommo.com", "a b", options.client_id)
    assert ask(client, grant_type="authorization_code", code=told["code"]).status == 200


def test_a_refused_consent_says_so_without_a_code(client: Client) -> None:
    options = client.box.options
    answer = client.ask("GET", f"/oauth?client_id={options.client_id}&state=s&deny=1", token=None)
    told = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert told == {"error": ["access_denied"], "state": ["s"], "client_id": [options.client_id]}
    assert client.ask("GET", "/oauth?client_id=another", token=None).status == 400


def test_tokens_have_the_documented_form_and_open_the_api(client: Client) -> None:
    tokens = install(client)
    assert list(tokens) == ["token_type", "expires_in", "access_token", "refresh_token"]
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 86_400)
    header, payload, _ = tokens["access_token"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert json.loads(base64.urlsafe_b64decode(header + "=="))["typ"] == "JWT"
    assert (claims["account_id"], claims["aud"]) == (client.box.account_id, client.box.options.client_id)
    assert claims["api_domain"] == "api-c.kommo.com"
    assert claims["exp"] - claims["iat"] == 86_400
    assert account(client, tokens["access_token"]) == 200


def test_a_code_works_once_and_not_after_its_time(start: Callable[..., Client]) -> None:
    client = start(code_seconds=0.0)
    late = ask(client, grant_type="authorization_code", code=client.box.code())
    unknown = ask(client, grant_type="authorization_code", code="none")
    client = start()
    code = client.box.code()
    first, again = (ask(client, grant_type="authorization_code", code=code) for _ in range(2))
    assert first.status == 200
    assert [(one.status, one.json["hint"], one.json["type"]) for one in (late, unknown, again)] == [
        (400, "Authorization code has expired", OAUTH_PROBLEM),
        (400, "Cannot decrypt the authorization code", OAUTH_PROBLEM),
        (400, "Authorization code has been revoked", OAUTH_PROBLEM),
    ]


@pytest.mark.parametrize("wrong", ["client_id", "client_secret", "redirect_uri"])
def test_a_wrong_client_is_401_without_a_hint_and_spends_no_code(client: Client, wrong: str) -> None:
    code = client.box.code()
    refused = ask(client, grant_type="authorization_code", code=code, **{wrong: "x"})
    assert (refused.status, "hint" in refused.json) == (401, False)
    assert ask(client, grant_type="authorization_code", code=code).status == 200


@pytest.mark.parametrize("asked", [{}, {"grant_type": "password"}, {"grant_type": "refresh_token"}])
def test_a_request_without_what_it_needs_is_400_with_a_hint(client: Client, asked: dict[str, str]) -> None:
    refused = ask(client, **asked)
    assert (refused.status, "hint" in refused.json) == (400, True)


def test_each_refresh_gives_a_new_pair_and_the_old_access_token_lasts_its_time(client: Client) -> None:
    first = install(client)
    second = renew(client, first["refresh_token"]).json
    third = renew(client, second["refresh_token"]).json
    assert len({first["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    assert [account(client, one["access_token"]) for one in (first, second, third)] == [200, 200, 200]


def test_the_old_refresh_token_works_again_while_the_new_pair_is_unused(book: TokenBook) -> None:
    first = book.install()
    lost = book.refresh(first.refresh)
    second = book.refresh(first.refresh)
    assert not book.admits(lost.access), "an answer that was lost brought nothing"
    assert book.admits(second.access)
    assert hint(book.refresh, first.refresh) == "Token has been revoked"


def test_a_spent_refresh_token_ends_the_present_pair_too(book: TokenBook) -> None:
    first = book.install()
    second = book.refresh(first.refresh)
    third = book.refresh(second.refresh)
    assert book.admits(third.access)
    assert hint(book.refresh, first.refresh) == "Token has been revoked"
    assert not book.admits(third.access)
    assert hint(book.refresh, third.refresh) == "Token has been revoked"


def test_two_that_refresh_at_once_lose_the_installation(book: TokenBook) -> None:
    first = book.install()
    mine, theirs = book.refresh(first.refresh), book.refresh(first.refresh)
    assert not book.admits(mine.access)
    assert book.admits(theirs.access)
    assert hint(book.refresh, mine.refresh) == "Token has been revoked"
    assert not book.admits(theirs.access)


@given(st.lists(st.tuples(st.sampled_from(["refresh", "use"]), st.integers(0, 9)), max_size=30))
def test_whatever_is_tried_only_the_newest_pair_and_the_one_it_came_from_can_be_renewed(
    steps: list[tuple[str, int]],
) -> None:
    book = TokenBook(ISSUER, access_seconds=100, refresh_seconds=1000, clock=Clock())
    pairs = [book.install()]
    made_from: dict[str, str] = {}
    for step, number in steps:
        pair = pairs[number % len(pairs)]
        if step == "use":
            book.admits(pair.access)
            continue
        newest = pairs[-1]
        renewable = {newest.refresh, made_from.get(newest.refresh)}
        try:
            pairs.append(book.refresh(pair.refresh))
        except Refusal:
            assert pair.refresh != newest.refresh or not book.admits(newest.access)
            break
        assert pair.refresh in renewable
        made_from[pairs[-1].refresh] = pair.refresh


def test_a_leak_ends_one_installation_and_leaves_the_others(book: TokenBook) -> None:
    mine, other = book.install(), book.install()
    renewed = book.refresh(mine.refresh)
    assert book.admits(renewed.access)
    hint(book.refresh, mine.refresh)
    assert book.admits(other.access)


def test_tokens_end_with_their_time(book: TokenBook, clock: Clock) -> None:
    pair = book.install()
    clock.now += 99.9
    assert book.admits(pair.access)
    clock.now += 0.1
    assert not book.admits(pair.access)
    clock.now += 900
    assert hint(book.refresh, pair.refresh) == "Token has expired"


def test_an_unknown_refresh_token_is_told_apart_from_a_revoked_one(book: TokenBook) -> None:
    assert hint(book.refresh, "none") == "Cannot decrypt the refresh token"


def test_a_long_lived_token_ends_with_its_time_or_on_request(book: TokenBook, clock: Clock) -> None:
    token = book.long_lived(50)
    book.keep("for ever")
    assert book.admits(token)
    clock.now += 50
    assert not book.admits(token)
    book.revoke()
    assert book.admits("for ever")
    book.revoke(long_lived=True)
    assert not book.admits("for ever")


def test_short_lives_can_be_asked_for_at_the_start(start: Callable[..., Client]) -> None:
    client = start(access_seconds=0.0, refresh_seconds=0.0)
    tokens = install(client)
    assert tokens["expires_in"] == 0
    assert account(client, tokens["access_token"]) == 401
    assert renew(client, tokens["refresh_token"]).json["hint"] == "Token has expired"


def test_token_calls_count_in_the_limit_and_are_counted_by_grant(start: Callable[..., Client]) -> None:
    client = start(rate=3)
    tokens = install(client)
    renew(client, "none")
    renew(client, tokens["refresh_token"])
    assert client.get("/account").status == 429
    told = client.ask("GET", "/_sandbox/requests?path=/oauth2/&bodies=1").json
    assert told["peak"] == 4
    assert told["token_calls"] == client.box.token_calls
    assert client.box.token_calls == {
        "authorization_code": {"asked": 1, "granted": 1},
        "refresh_token": {"asked": 2, "granted": 1},
    }
    assert told["requests"][2]["json"]["refresh_token"] == "***"
    assert tokens["refresh_token"] not in json.dumps(told)
    assert client.box.options.client_secret not in json.dumps(told)


def test_a_lost_answer_of_the_token_endpoint_has_done_its_work(client: Client) -> None:
    tokens = install(client)
    client.box.fault(path="/oauth2/access_token", status=504, after_work=True)
    assert renew(client, tokens["refresh_token"]).status == 504
    again = renew(client, tokens["refresh_token"])
    assert account(client, again.json["access_token"]) == 200
    assert client.box.token_calls["refresh_token"] == {"asked": 2, "granted": 2}


def test_a_new_secret_ends_the_tokens_and_the_old_secret(client: Client) -> None:
    tokens = install(client)
    secret = client.run("oauth/rotate_secret")["client_secret"]
    assert account(client, tokens["access_token"]) == 401
    assert ask(client, grant_type="authorization_code", code=client.box.code()).status == 401
    renewed = ask(client, grant_type="authorization_code", code=client.box.code(), client_secret=secret)
    assert account(client, renewed.json["access_token"]) == 200


def test_revoking_ends_what_oauth_gave_and_with_a_word_everything(client: Client) -> None:
    tokens = install(client)
    client.run("oauth/revoke")
    assert account(client, tokens["access_token"]) == 401
    assert client.get("/account").status == 200
    client.run("oauth/revoke", long_lived=True)
    assert client.get("/account").status == 401
    token = client.run("oauth/long_lived", seconds=60)["access_token"]
    assert account(client, token) == 200
    assert client.ask("POST", "/_sandbox/oauth/long_lived", {"seconds": 0}).status == 400


def test_a_widget_brings_its_code_itself_and_without_a_state(start: Callable[..., Client], caller: Any) -> None:
    client = start(redirect_uri=caller.url("/oauth/callback"))
    told = client.run("oauth/install", call=True)
    assert told["status"] == 200
    path, headers = caller.calls[0]
    asked = parse_qs(urlsplit(path).query)
    assert set(asked) == {"code", "referer", "client_id", "from_widget"}
    assert headers["User-Agent"] == "amoService-oAuth-Code-Sender/1.0"
    assert ask(client, grant_type="authorization_code", code=asked["code"][0]).status == 200
    assert client.run("oauth/install", referer="evil.example")["referer"] == "evil.example"
    assert len(caller.calls) == 1


def test_switching_off_ends_the_tokens_and_calls_with_a_signature(start: Callable[..., Client], caller: Any) -> None:
    client = start(redirect_uri=caller.url("/oauth/callback"))
    tokens = install(client)
    assert client.run("oauth/disconnect", revoke=False)["status"] == 200
    assert account(client, tokens["access_token"]) == 200, "only called"
    client.run("oauth/disconnect", name="client_id")
    assert account(client, tokens["access_token"]) == 401
    options = client.box.options
    message = f"{options.client_id}|{options.account_id}".encode()
    signature = hmac.new(options.client_secret.encode(), message, hashlib.sha256).hexdigest()
    known = {"account_id": [str(options.account_id)], "signature": [signature]}
    assert [urlsplit(path).path for path, _ in caller.calls] == ["/oauth/disconnect"] * 2
    assert [parse_qs(urlsplit(path).query) for path, _ in caller.calls] == [
        {"client_uuid": [options.client_id], **known},
        {"client_id": [options.client_id], **known},
    ]


def test_a_call_that_reaches_nobody_is_told_as_status_0(start: Callable[..., Client]) -> None:
    client = start(redirect_uri="http://127.0.0.1:1/oauth/callback")
    assert client.run("oauth/install", call=True)["status"] == 0


def test_a_renamed_account_is_found_under_its_new_host_only(client: Client) -> None:
    tokens = install(client)

    def through(host: str, method: str, path: str, **headers: str) -> Answer:
        client.connection.request(method, path, None, {"Host": host, **headers})
        response = client.connection.getresponse()
        return Answer(response.status, dict(response.headers), response.read().decode())

    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert through("sandbox.kommo.com", "GET", "/api/v4/account", **bearer).status == 200
    assert client.run("rename", subdomain="shop")["host"] == "shop.kommo.com"
    refused = through("sandbox.kommo.com", "GET", "/api/v4/account", **bearer)
    assert (refused.status, refused.json["response"]["error_code"]) == (401, 101)
    assert through("sandbox.kommo.com", "POST", "/oauth2/access_token").status == 404
    where = through(
        "api-c.kommo.com", "GET", "/oauth2/account/current/subdomain", **{"X-Refresh-Token": tokens["refresh_token"]}
    )
    assert where.json == {
        "id": client.box.account_id,
        "subdomain": "shop",
        "domain": "shop.kommo.com",
        "top_level_domain": "com",
    }
    assert through("shop.kommo.com", "GET", "/api/v4/account", **bearer).json["subdomain"] == "shop"
    assert client.ask("POST", "/_sandbox/rename", {"subdomain": "a b"}).status == 400


def test_nobody_learns_the_name_of_an_account_without_its_refresh_token(client: Client) -> None:
    assert client.ask("GET", "/oauth2/account/current/subdomain", token=None).status == 401
