"""A renewal: what Kommo's answers to it mean, under which name, and that its pair is never lost."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from redis import Redis

from kommo.api.calls import Access, Caller
from kommo.api.tokens import keeping
from kommo.api.tokens.access import AccountTokens
from kommo.api.transport import HttpTransport
from kommo.errors import (
    AccessEnded,
    ClientRefused,
    PaymentRequired,
    ServerError,
    StoreUnavailable,
    TryLater,
    Unreachable,
)
from kommo.store.accounts import Credentials
from kommo.store.keys import Keys
from kommo.store.parking import Parking
from kommo.variables import Secret
from tests.integration.api.renewing import NOW, REVOKED, WRONG_CLIENT, Make, account, stored
from tests.integration.token_server import TokenServer
from tests.integration.workers.logs import Lines
from tests.waiting import wait_for


class TestWhatKommoAnswers:
    @pytest.mark.parametrize(
        "lost",
        [None, (500, {"title": "x"}), (502, b"<html>"), (200, b"{"), (200, {"access_token": "half"}), (200, b"[]")],
        ids=["nothing", "500", "a page", "cut off", "half a pair", "no pair"],
    )
    def test_the_same_refresh_token_is_sent_again_when_no_answer_came(
        self, make: Make, server: TokenServer, lost: Any
    ) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead = [lost]
        tokens.renew()
        assert server.spent == ["refresh-1", "refresh-1"]
        assert stored(tokens).refresh_token == "refresh-2"

    def test_after_three_answers_that_did_not_come_it_stays_what_it_was(
        self, make: Make, server: TokenServer, redis: Redis
    ) -> None:
        tokens = make()
        saved = tokens.accounts.save(account())
        server.instead = [None] * 3
        with pytest.raises(Unreachable):
            tokens.renew()
        assert stored(tokens) == saved
        # Others hold off for a moment instead of doing the same at once.
        pause = tokens.accounts.renewals.pause(7)
        assert pause is not None
        assert 0 < pause.seconds <= 1
        assert redis.exists(Keys().account(7).lock) == 0

    def test_a_429_is_not_answered_with_more_calls(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead = [(429, {"retry_after": 30})]
        with pytest.raises(TryLater):
            tokens.renew()
        assert len(server.asked) == 1

    def test_a_subscription_that_has_ended_is_no_revoked_token(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead = [(402, {"title": "Payment Required"})]
        with pytest.raises(PaymentRequired):
            tokens.renew()
        assert stored(tokens).state == "ready"

    @pytest.mark.parametrize(
        "answer", [REVOKED, (401, {"status": 401, "error_code": 111}), (403, {"status": 403, "error_code": 113})]
    )
    def test_a_revoked_access_needs_a_person_is_told_once_and_costs_no_more_calls(
        self, make: Make, server: TokenServer, lines: Lines, answer: Any
    ) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead = [answer]
        with pytest.raises(AccessEnded, match="revoked the refresh token") as caught:
            tokens.renew()
        assert caught.value.status == answer[0], "Kommo's own word"
        for _ in range(3):
            with pytest.raises(AccessEnded, match="revoked the refresh token") as caught:
                tokens.access()
            assert caught.value.status is None
        assert len(server.asked) == 1
        assert (stored(tokens).state, "revoked" in stored(tokens).reason) == ("needs_person", True)
        (line,) = lines.saying("account needs a person")
        assert (line["level"], line["account"]) == ("error", 7)
        assert "refresh-1" not in lines.text
        assert "client-secret" not in lines.text

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (WRONG_CLIENT, "does not accept client id and secret"),
            ((400, {"hint": "Cannot decrypt the refresh token"}), "does not accept client id, secret or redirect"),
            ((404, None), "no longer at its address"),
            ((403, {"title": "Forbidden", "detail": "no", "status": 403}), "refused to renew"),
        ],
        ids=["wrong client", "bad request", "not there", "forbidden"],
    )
    def test_a_client_that_kommo_refuses_is_not_the_accounts_fault_and_only_its_ended_token_stops_calls(
        self, make: Make, server: TokenServer, lines: Lines, answer: Any, reason: str
    ) -> None:
        tokens = make()
        tokens.accounts.save(account(expires_at=int(NOW)))
        server.instead = [answer] * 9
        for _ in range(3):
            with pytest.raises(ClientRefused, match=reason) as caught:
                tokens.access()
            assert (caught.value.status, isinstance(caught.value, AccessEnded)) == (None, False)
            assert caught.value.after == pytest.approx(30, abs=2)
        assert len(server.asked) == 1, "the next one has to wait"
        assert (stored(tokens).state, stored(tokens).access_token) == ("ready", "access-1")
        pause = tokens.accounts.renewals.pause(7)
        assert pause is not None
        assert (reason in pause.fault, 28 < pause.seconds <= 30) == (True, True)
        (line,) = lines.saying("token renewal refused")
        assert (line["level"], line["account"]) == ("error", 7)
        for name in ("KOMMO_CLIENT_SECRET", "KOMMO_REDIRECT_URI"):
            assert name in line["check"]
        assert "client-secret" not in lines.text

    def test_a_client_that_is_wrong_is_told_once_for_all_its_accounts(
        self, make: Make, server: TokenServer, lines: Lines
    ) -> None:
        tokens = make()
        server.instead = [WRONG_CLIENT] * 3
        for number in (7, 8):
            tokens.accounts.save(account(account_id=number, expires_at=int(NOW)))
            with pytest.raises(ClientRefused):
                replace(tokens, account_id=number).access()
        assert len(lines.saying("token renewal refused")) == 1

    def test_a_process_with_the_right_keys_renews_what_one_with_wrong_ones_could_not(
        self, make: Make, server: TokenServer
    ) -> None:
        wrong, right = make({"client_secret": Secret("mistyped")}), make()
        wrong.accounts.save(account(expires_at=int(NOW)))
        server.instead = [WRONG_CLIENT]
        with pytest.raises(ClientRefused):
            wrong.access()
        assert right.access().token == "access-2"
        assert wrong.access().token == "access-2"
        assert server.asked[0]["client_secret"] == "mistyped"

    def test_an_account_whose_client_is_wrong_is_not_parked_for_it(
        self, make: Make, server: TokenServer, redis: Redis
    ) -> None:
        tokens = make()
        tokens.accounts.save(account(access_token=Secret("access-0")))
        server.instead = [WRONG_CLIENT]
        way = tokens.oauth._turnstile(Credentials(7, "client", "acme", Secret()))
        with HttpTransport() as transport, pytest.raises(ClientRefused):
            Caller(tokens, transport, way)("GET", "/api/v4/account")
        assert Parking(redis, Keys()).state(7) is None

    def test_those_who_waited_for_that_answer_do_not_ask_for_it_again(self, make: Make, server: TokenServer) -> None:
        make().accounts.save(account())
        server.instead, server.delay = [REVOKED] * 8, 0.3
        refused: list[AccessEnded] = []

        def ask(tokens: AccountTokens[Any]) -> None:
            with pytest.raises(AccessEnded) as caught:
                tokens.renewed(Access(server.url, "access-1"))
            refused.append(caught.value)

        threads = [threading.Thread(target=ask, args=(make(),)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(refused), len(server.asked)) == (8, 1)

    def test_a_long_pause_that_kommo_wants_is_not_waited_for(self, make: Make, server: TokenServer) -> None:
        slept: list[float] = []
        tokens = make(sleep=slept.append)
        tokens.accounts.save(account())
        server.instead = [(503, {"retry_after": 3600})]
        with pytest.raises(ServerError):
            tokens.renew()
        assert (len(server.asked), slept) == (1, [])

    def test_a_new_installation_makes_it_ready(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead = [REVOKED]
        with pytest.raises(AccessEnded):
            tokens.renew()
        tokens.accounts.save(account(access_token=Secret("access-5")))
        assert tokens.access().token == "access-5"

    def test_a_revoked_token_that_somebody_has_replaced_meanwhile_is_nobodys_trouble(
        self, make: Make, server: TokenServer
    ) -> None:
        tokens = make()
        tokens.accounts.save(account(refresh_token=Secret("refresh-0")))
        newer = account(access_token=Secret("access-8"), refresh_token=Secret("refresh-8"))
        server.delay = 0.3
        installing = threading.Timer(0.1, lambda: tokens.accounts.save(newer))
        installing.start()
        assert tokens.renew().access_token == "access-8"
        installing.join()
        assert stored(tokens).state == "ready"


class TestARenamedAccount:
    NAME = MappingProxyType({"id": 7, "subdomain": "newname", "domain": "newname.kommo.com", "top_level_domain": "com"})

    @pytest.mark.parametrize(
        "answer", [(404, None), WRONG_CLIENT, (301, None)], ids=["not there", "unknown client", "redirect"]
    )
    def test_it_is_asked_for_its_name_and_renewed_under_it_with_the_same_token(
        self, make: Make, server: TokenServer, answer: Any
    ) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead, server.name = [answer], dict(self.NAME)
        tokens.renew()
        assert (stored(tokens).subdomain, stored(tokens).access_token) == ("newname.kommo.com", "access-2")
        assert (server.questions, server.spent) == (["refresh-1"], ["refresh-1", "refresh-1"])

    def test_an_answer_lost_after_the_new_name_is_asked_for_again_under_it(
        self, make: Make, server: TokenServer
    ) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead, server.name = [(404, None), None], dict(self.NAME)
        tokens.renew()
        assert (stored(tokens).subdomain, stored(tokens).refresh_token) == ("newname.kommo.com", "refresh-2")

    @pytest.mark.parametrize(
        "name",
        [
            {"id": 8, "subdomain": "other", "domain": "other.kommo.com"},
            {"id": 7, "subdomain": "evil", "domain": "evil.example"},
            {"id": 7, "subdomain": "evil.example/", "domain": "kommo.com"},
            {},
            [],
        ],
        ids=["another account", "another domain", "a path", "nothing", "a list"],
    )
    def test_a_name_that_cannot_be_its_own_is_not_followed(self, make: Make, server: TokenServer, name: Any) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.instead, server.name = [(404, None)], name
        with pytest.raises(ClientRefused):
            tokens.renew()
        assert (stored(tokens).subdomain, len(server.asked)) == ("acme", 1)

    def test_a_fresh_token_that_is_answered_with_a_redirect_leads_to_the_new_name(
        self, make: Make, server: TokenServer
    ) -> None:
        tokens = make()
        tokens.accounts.save(account(renewed_at=int(NOW) - 1))
        server.name = dict(self.NAME)
        tokens.renewed(Access(server.url, "access-1"))
        assert (stored(tokens).subdomain, server.asked) == ("newname.kommo.com", [])


class TestKeepingThePair:
    """Redis is full from the moment that Kommo has answered, so nothing can be stored."""

    @pytest.fixture
    def full(self, redis: Redis, server: TokenServer) -> Iterator[Redis]:
        server.before_answer = lambda: redis.config_set("maxmemory", "1")
        yield redis
        redis.config_set("maxmemory", "0")

    def test_it_is_stored_as_soon_as_redis_can_again(self, make: Make, full: Redis, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        room = threading.Timer(0.5, lambda: full.config_set("maxmemory", "0"))
        room.start()
        assert tokens.renew().access_token == "access-2"
        room.join()
        assert (stored(tokens).refresh_token, len(server.asked)) == ("refresh-2", 1)

    def test_whoever_called_does_not_wait_for_ever_and_the_pair_is_not_lost(
        self, make: Make, full: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(keeping, "_STORE_SECONDS", 0.0)
        tokens = make()
        tokens.accounts.save(account())
        with pytest.raises(StoreUnavailable):
            tokens.renew()
        assert stored(tokens).refresh_token == "refresh-1"
        full.config_set("maxmemory", "0")
        wait_for(lambda: stored(tokens).refresh_token == "refresh-2")

    def test_it_also_mends_what_another_process_took_for_a_revoked_token(
        self, make: Make, full: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(keeping, "_STORE_SECONDS", 0.0)
        kept = threading.Event()
        mine = make(sleep=lambda _: kept.wait(10) and None)
        mine.accounts.save(account())
        with pytest.raises(StoreUnavailable):
            mine.renew()
        full.config_set("maxmemory", "0")
        full.delete(Keys().account(7).lock)
        with pytest.raises(AccessEnded):
            make().renew()
        assert stored(mine).state == "needs_person"
        kept.set()
        wait_for(lambda: stored(mine).refresh_token == "refresh-2")
        assert (stored(mine).state, make().access().token) == ("ready", "access-2")


class TestLateProcesses:
    def test_a_late_answer_does_not_replace_a_newer_pair(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        newer = account(access_token=Secret("access-8"), refresh_token=Secret("refresh-8"))
        server.before_answer = lambda: tokens.accounts.save(newer) and None
        assert tokens.renew().access_token == "access-8"
        assert stored(tokens).refresh_token == "refresh-8"

    def test_a_change_of_something_else_does_not_cost_the_pair(
        self, make: Make, redis: Redis, server: TokenServer
    ) -> None:
        tokens = make()
        tokens.accounts.save(account())

        def change() -> None:
            # As after a lease that has run out: the change could come in between.
            redis.delete(Keys().account(7).lock)
            tokens.accounts.update(replace(stored(tokens), previous_secret=Secret("older")))

        server.before_answer = change
        tokens.renew()
        assert (stored(tokens).refresh_token, stored(tokens).previous_secret) == ("refresh-2", "older")

    def test_an_account_that_was_removed_meanwhile_stays_away(self, make: Make, server: TokenServer) -> None:
        tokens = make()
        tokens.accounts.save(account())
        server.before_answer = lambda: tokens.accounts.remove(7) and None
        with pytest.raises(AccessEnded, match="removed"):
            tokens.renew()
        assert tokens.accounts.get(7) is None

    def test_who_waits_in_vain_is_told_so(self, make: Make, server: TokenServer) -> None:
        tokens = make(wait=0.2)
        saved = tokens.accounts.save(account())
        tokens.accounts.renewals.lock(saved, "another", lease_ms=60_000)
        with pytest.raises(Unreachable, match="its token is being renewed"):
            tokens.renewed(Access(server.url, "access-1"))
        assert server.asked == []
