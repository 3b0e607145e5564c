"""A disconnect call is a hint: what is asked before it is believed, and what follows once it is."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from kommo.api.clients import Shared
from kommo.errors import Unauthorized
from kommo.hooks.signature import url_signature
from kommo.queue import Waker
from kommo.store.accounts import Account, Accounts, Credentials
from kommo.store.inbox import Inbox
from kommo.store.keys import Keys
from kommo.store.parking import Parking
from kommo.variables import Secret
from receiver.installs import disconnecting
from receiver.installs.background import Again, Done
from receiver.installs.calls import Calls
from receiver.installs.disconnecting import Disconnecting
from tests.integration.receiver.installs.surroundings import ACCOUNT, CLIENT, SECRET, Visit, Visitor
from tests.integration.workers.logs import Lines
from tests.waiting import wait_for

SIGNATURE = url_signature(SECRET, CLIENT, ACCOUNT)
PRIVATE = Account(
    account_id=ACCOUNT,
    subdomain="acme",
    client_id="private",
    client_secret=Secret("its-own"),
    access_token=Secret("a-token"),
)


@pytest.fixture
def installed(visitor: Visitor) -> Visitor:
    """Somebody who has installed the integration."""
    assert visitor.agree().status_code == 200
    return visitor


class DyingParking(Parking):
    """Ends the process, as far as its errand goes."""

    def park(self, *_: object, **__: object) -> bool:
        raise SystemExit


class SilentWaker(Waker):
    """Wakes nobody."""

    def __init__(self) -> None:
        """Need nothing."""

    def wake(self, queue: str) -> None:
        """Do nothing."""


Judge = Callable[..., Disconnecting]


@pytest.fixture
def judge(installed: Visitor, redis: Redis) -> Iterator[Judge]:
    """Make what does the errand, without a thread around it."""
    keys, waker = Keys(), SilentWaker()
    made: list[Calls] = []

    def make(parking: Parking | None = None, calls: type[Calls] = Calls, **changes: Any) -> Disconnecting:
        settings = replace(installed.settings, **changes)
        made.append(calls(settings, Accounts(settings, redis, keys), Shared.on(redis, keys)))
        given = parking or installed.parking
        return Disconnecting(installed.accounts, made[-1], Inbox(redis, keys), given, waker)

    yield make
    for one in made:
        one.rest()


def call(visitor: Visitor, name: str = "client_uuid", **changes: str) -> int:
    given = {name: CLIENT, "account_id": str(ACCOUNT), "signature": SIGNATURE, **changes}
    return visitor.get("/oauth/disconnect", **given).status_code


def stored(visitor: Visitor) -> Account:
    account = visitor.stored()
    assert account is not None
    return account


def told(visitor: Visitor) -> list[dict[str, Any]]:
    """The deliveries of our own making that lie in the account's inbox."""
    own = [entry.delivery for entry in visitor.inbox() if entry.delivery.id.startswith("own-")]
    return [json.loads(delivery.body) for delivery in own]


class TestTheProof:
    @pytest.mark.parametrize("name", ["client_uuid", "client_id"])
    def test_kommos_signature_is_answered_200_under_either_name(self, visitor: Visitor, name: str) -> None:
        assert call(visitor, name) == 200

    @pytest.mark.parametrize(
        "changes",
        [
            {"signature": "0" * 64},
            {"signature": ""},
            {"signature": url_signature("guessed", CLIENT, ACCOUNT)},
            {"account_id": str(ACCOUNT + 1)},
            {"account_id": "٣"},
            {"account_id": ""},
            {"client_uuid": "another-integration"},
            {"client_uuid": ""},
            {"client_id": "another-integration"},
        ],
    )
    def test_anything_else_is_a_401_and_nothing_is_asked(self, visitor: Visitor, changes: dict[str, str]) -> None:
        assert call(visitor, **changes) == 401
        assert visitor.errands() == 0

    def test_a_bare_call_is_a_401(self, visitor: Visitor) -> None:
        assert visitor.get("/oauth/disconnect").status_code == 401

    def test_the_previous_secret_still_proves(self, visit: Visit) -> None:
        visitor = visit(client_secret=Secret("newest"), client_secret_previous=Secret(SECRET))
        assert call(visitor) == 200

    def test_an_account_with_keys_of_its_own_is_proven_with_those(self, visitor: Visitor) -> None:
        visitor.accounts.save(PRIVATE)
        signature = url_signature("its-own", "private", ACCOUNT)
        assert call(visitor, client_uuid="private", signature=signature) == 200

    def test_an_integration_that_the_account_has_left_is_answered_and_nothing_is_asked(self, visitor: Visitor) -> None:
        visitor.accounts.save(PRIVATE)
        assert (call(visitor), visitor.errands()) == (200, 0)

    def test_a_look_at_the_head_alone_asks_nothing(self, visitor: Visitor) -> None:
        query = {"client_uuid": CLIENT, "account_id": str(ACCOUNT), "signature": SIGNATURE}
        assert visitor.browser.head("/oauth/disconnect", query_string=query).status_code == 200
        assert visitor.errands() == 0


class TestATokenThatIsRefused:
    def disconnect(self, visitor: Visitor) -> None:
        visitor.box.revoke(long_lived=True)
        assert call(visitor) == 200
        wait_for(lambda: stored(visitor).state == "disconnected", what="the account is disconnected")
        wait_for(lambda: visitor.errands() == 0)

    def test_loses_its_tokens_and_its_writes_are_parked(self, installed: Visitor) -> None:
        self.disconnect(installed)
        account = stored(installed)
        assert (account.access_token, account.refresh_token) == ("", "")
        parked = installed.parking.state(ACCOUNT)
        assert parked is not None
        assert parked.reason == "disconnected"

    def test_is_renewed_once_before_that_is_believed(self, installed: Visitor) -> None:
        self.disconnect(installed)
        assert installed.box.token_calls["refresh_token"] == {"asked": 1, "granted": 0}

    def test_makes_a_delivery_that_comes_after_those_that_were_there(self, installed: Visitor) -> None:
        door = installed.box.world.webhooks.all()[0].destination.removeprefix("https://hooks.example.org")
        installed.browser.post(door, data=b"leads[add][0][id]=1&leads[add][0][last_modified]=1795000000")
        self.disconnect(installed)
        ids = [entry.delivery.id.startswith("own-") for entry in installed.inbox()]
        assert ids == [False, True]
        (body,) = told(installed)
        assert body["account"] == {"id": ACCOUNT}
        (item,) = body["installation"]["disconnect"]
        assert (item["id"], abs(item["updated_at"] - time.time()) < 30) == (ACCOUNT, True)

    def test_says_so_once_however_often_the_call_comes(self, installed: Visitor) -> None:
        self.disconnect(installed)
        for _ in range(3):
            assert call(installed) == 200
        wait_for(lambda: installed.errands() == 0)
        assert len(told(installed)) == 1

    def test_says_so_once_even_if_the_process_dies_after_saying_it(self, installed: Visitor, judge: Judge) -> None:
        installed.box.revoke(long_lived=True)
        errand = disconnecting.hint_errand(ACCOUNT)
        with pytest.raises(SystemExit):
            judge(parking=DyingParking(installed.redis, Keys()))(errand)
        assert len(told(installed)) == 1
        judge()(replace(errand, tries=1))
        assert len(told(installed)) == 1
        assert stored(installed).state == "disconnected"

    def test_deliveries_are_still_taken_and_kept(self, installed: Visitor) -> None:
        self.disconnect(installed)
        door = f"/webhooks/{ACCOUNT}/{SIGNATURE}/"
        assert installed.browser.post(door, data=b"leads[delete][0][id]=1").status_code == 200
        assert len(installed.inbox()) == 2

    def test_may_be_installed_again_and_disconnected_again(self, installed: Visitor) -> None:
        self.disconnect(installed)
        installed.agree()
        assert (stored(installed).state, installed.parking.state(ACCOUNT)) == ("ready", None)
        self.disconnect(installed)
        assert len(told(installed)) == 2


class TestATokenThatWorks:
    def test_is_tried_again_a_few_times_and_then_the_call_has_no_effect(
        self, installed: Visitor, monkeypatch: pytest.MonkeyPatch, lines: Lines
    ) -> None:
        monkeypatch.setattr(disconnecting, "_WORKS_STILL", (0.01, 0.01))
        assert call(installed) == 200
        wait_for(lambda: lines.saying("disconnect call without effect: the token works"))
        assert stored(installed).state == "ready"
        assert (told(installed), installed.parking.state(ACCOUNT)) == ([], None)
        assert len([line for line in lines.saying("api call") if line["path"] == "/api/v4/account"]) == 3

    def test_that_kommo_takes_away_a_moment_after_its_call_is_found_out(
        self, installed: Visitor, monkeypatch: pytest.MonkeyPatch, lines: Lines
    ) -> None:
        monkeypatch.setattr(disconnecting, "_WORKS_STILL", (0.05, 0.05, 30))
        call(installed)
        wait_for(lambda: lines.saying("api call"))
        installed.box.revoke(long_lived=True)
        wait_for(lambda: stored(installed).state == "disconnected")


class TestAnAnswerThatDecidesNothing:
    @pytest.mark.parametrize(
        "fault",
        [{"status": 500}, {"status": 429}, {"status": 402}, {"status": 403}, {"kind": "close_before"}],
        ids=lambda fault: str(next(iter(fault.values()))),
    )
    def test_leaves_everything_as_it_is_and_is_asked_for_again_later(
        self, installed: Visitor, fault: dict[str, Any], lines: Lines
    ) -> None:
        installed.box.fault(path="/api/v4/account", times=None, **fault)
        call(installed)
        wait_for(lambda: lines.saying("disconnect call: Kommo cannot be asked now"))
        assert (stored(installed).state, told(installed), installed.parking.state(ACCOUNT)) == ("ready", [], None)
        assert installed.errands() == 1

    def test_is_given_up_after_a_day(self, installed: Visitor, judge: Judge, lines: Lines) -> None:
        installed.box.fault(path="/api/v4/account", status=500, times=None)
        errand = replace(disconnecting.hint_errand(ACCOUNT), ends=time.time() - 1)
        judge()(errand)
        assert lines.saying("disconnect call given up: Kommo could not be asked")
        assert stored(installed).state == "ready"


class TestWhoseWordItIs:
    """The account is asked about with the token that is stored, and a renewal has to have been refused by Kommo."""

    def asked(self, visitor: Visitor) -> list[tuple[str, int]]:
        return [(line["path"], line["status"]) for line in visitor.box.requests()[self.before :]]

    @pytest.fixture(autouse=True)
    def _before(self, installed: Visitor) -> None:
        self.before = len(installed.box.requests())

    @pytest.mark.parametrize("state", ["ready", "needs_person"])
    def test_a_token_that_works_is_kept_whatever_the_account_is_marked_as(
        self, installed: Visitor, judge: Judge, state: Any
    ) -> None:
        installed.accounts.mark(ACCOUNT, state, "a shell had other keys")
        before = stored(installed)
        assert isinstance(judge()(disconnecting.hint_errand(ACCOUNT)), Again)
        assert stored(installed) == before
        assert (told(installed), self.asked(installed)) == ([], [("/api/v4/account", 200)])

    def test_one_that_is_nearly_over_is_not_renewed_for_a_strangers_call(
        self, installed: Visitor, judge: Judge
    ) -> None:
        installed.accounts.update(replace(stored(installed), expires_at=int(time.time()) + 1))
        judge()(disconnecting.hint_errand(ACCOUNT))
        assert self.asked(installed) == [("/api/v4/account", 200)]

    def test_one_that_stays_refused_after_a_renewal_that_was_granted_has_ended(
        self, installed: Visitor, judge: Judge
    ) -> None:
        installed.box.fault(path="/api/v4/account", status=401, times=None)
        assert judge()(disconnecting.hint_errand(ACCOUNT)) == Done()
        assert (stored(installed).state, len(told(installed))) == ("disconnected", 1)
        token = ("/oauth2/access_token", 200)
        assert self.asked(installed) == [("/api/v4/account", 401), token, ("/api/v4/account", 401)]

    def test_one_that_was_only_over_is_renewed_and_works(self, installed: Visitor, judge: Judge) -> None:
        installed.box.fault(path="/api/v4/account", status=401, times=1)
        assert isinstance(judge()(disconnecting.hint_errand(ACCOUNT)), Again)
        assert (stored(installed).state, told(installed)) == ("ready", [])

    def test_a_renewal_that_fails_for_wrong_keys_says_nothing_of_the_account(
        self, installed: Visitor, judge: Judge, lines: Lines
    ) -> None:
        installed.box.fault(path="/api/v4/account", status=401, times=None)
        errand = disconnecting.hint_errand(ACCOUNT)
        assert isinstance(judge(client_secret=Secret("mistyped"))(errand), Again)
        assert bool(stored(installed).refresh_token)
        assert told(installed) == []
        assert lines.saying("disconnect call: Kommo cannot be asked now")

    def test_a_renewal_that_kommo_cannot_do_now_is_tried_again_later(self, installed: Visitor, judge: Judge) -> None:
        installed.box.fault(path="/api/v4/account", status=401, times=None)
        installed.box.fault(path="/oauth2/access_token", status=402, times=None)
        assert isinstance(judge()(disconnecting.hint_errand(ACCOUNT)), Again)
        assert (bool(stored(installed).refresh_token), told(installed)) == (True, [])

    def test_a_login_that_is_locked_has_not_taken_the_integration_out(self, installed: Visitor, judge: Judge) -> None:
        body = {"title": "Forbidden", "status": 403, "response": {"error_code": 112}}
        installed.box.fault(path="/api/v4/account", status=403, body=body, times=None)
        assert isinstance(judge()(disconnecting.hint_errand(ACCOUNT)), Again)
        assert (bool(stored(installed).refresh_token), told(installed)) == (True, [])

    def test_an_account_that_needs_a_person_and_was_revoked_has_ended(self, installed: Visitor, judge: Judge) -> None:
        installed.box.revoke(long_lived=True)
        installed.accounts.mark(ACCOUNT, "needs_person", "revoked")
        assert judge()(disconnecting.hint_errand(ACCOUNT)) == Done()
        assert stored(installed).state == "disconnected"


class TestAnAccountThatChangesMeanwhile:
    def while_asked(self, change: Callable[[], object]) -> type[Calls]:
        """Calls during whose first refusal something happens."""
        happened: list[int] = []

        class Interrupted(Calls):
            def ask(self, credentials: Credentials) -> None:
                try:
                    super().ask(credentials)
                except Unauthorized:
                    if not happened:
                        happened.append(1)
                        change()
                    raise

        return Interrupted

    def test_by_an_installation_is_left_alone_be_it_within_the_same_second(
        self, installed: Visitor, judge: Judge
    ) -> None:
        installed.box.fault(path="/api/v4/account", status=401, times=1)
        installed.accounts.update(replace(stored(installed), refresh_token=Secret()))
        calls = self.while_asked(installed.agree)
        assert judge(calls=calls)(disconnecting.hint_errand(ACCOUNT)) == Done()
        assert (stored(installed).state, bool(stored(installed).refresh_token)) == ("ready", True)
        assert (told(installed), installed.parking.state(ACCOUNT)) == ([], None)

    def test_by_a_renewal_elsewhere_is_asked_again(self, installed: Visitor, judge: Judge) -> None:
        def renew() -> None:
            before = stored(installed)
            installed.accounts.update(replace(before, access_token=Secret(installed.box.token)))

        installed.accounts.update(replace(stored(installed), refresh_token=Secret()))
        installed.box.fault(path="/api/v4/account", status=401, times=1)
        result = judge(calls=self.while_asked(renew))(disconnecting.hint_errand(ACCOUNT))
        assert isinstance(result, Again)
        assert result.seconds < 5
        assert (stored(installed).state, told(installed)) == ("ready", [])

    def test_by_an_installation_in_the_very_moment_of_the_end_keeps_the_new_tokens(
        self, installed: Visitor, judge: Judge, redis: Redis
    ) -> None:
        class Interrupted(Parking):
            def park(self, account_id: int, *given: Any, **named: Any) -> bool:
                installed.agree()
                return super().park(account_id, *given, **named)

        installed.box.revoke(long_lived=True)
        result = judge(parking=Interrupted(redis, Keys()))(disconnecting.hint_errand(ACCOUNT))
        assert isinstance(result, Again)
        assert (stored(installed).state, bool(stored(installed).access_token)) == ("ready", True)
        assert installed.parking.state(ACCOUNT) is None

    def test_and_was_parked_by_a_process_that_died_then_goes_on(self, installed: Visitor, judge: Judge) -> None:
        installed.parking.park(ACCOUNT, "disconnected", reads_refused=True)
        judge()(disconnecting.hint_errand(ACCOUNT))
        assert installed.parking.state(ACCOUNT) is None

    def test_stays_parked_for_what_a_working_token_does_not_end(self, installed: Visitor, judge: Judge) -> None:
        installed.parking.park(ACCOUNT, "payment")
        judge()(disconnecting.hint_errand(ACCOUNT))
        assert installed.parking.state(ACCOUNT) is not None


def test_an_account_that_nobody_has_a_token_for_is_nothing_to_ask_about(visitor: Visitor, redis: Redis) -> None:
    assert call(visitor) == 200
    wait_for(lambda: visitor.errands() == 0)
    assert (visitor.inbox(), visitor.box.requests()) == ([], [])


class TestTheAccountOfTheEnvironment:
    def test_is_told_about_and_is_left_to_whoever_set_it(self, visit: Visit) -> None:
        visitor = visit(account_id=ACCOUNT, subdomain="acme", access_token=Secret("no-longer-good"))
        assert call(visitor) == 200
        wait_for(lambda: told(visitor))
        assert visitor.parking.state(ACCOUNT) is None
