"""Stored accounts over a real Redis: who is proven, who is called, and that no change overtakes another."""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from redis import Redis

from kommo.errors import SettingsError, StoreError, StoreUnavailable
from kommo.settings import Settings
from kommo.store.account import Account
from kommo.store.accounts import Accounts, Credentials, Proof
from kommo.store.connection import connect
from kommo.store.keys import Keys
from kommo.store.limiter import Scope
from kommo.store.renewals import Backoff, Lock, Pause
from kommo.store.vault import new_key
from kommo.variables import Secret
from tests.waiting import wait_for

OLD, NEW = new_key(), new_key()
Make = Callable[..., Accounts]
HIDDEN = ("own-key", "own-former", "bearer-1", "refresh-1")


@pytest.fixture
def make(redis: Redis) -> Make:
    """Make the accounts as a process with these settings has them."""

    def accounts(**given: Any) -> Accounts:
        known = {"client_id": "env-id", "client_secret": Secret("env-key"), "token_keys": (NEW,)}
        options = {name: given.pop(name) for name in ("sleep", "clock") if name in given}
        client = given.pop("redis", redis)
        return Accounts(Settings(**{**known, **given}), client, **options)

    return accounts


def account(account_id: int = 7, **given: Any) -> Account:
    known: dict[str, Any] = {
        "subdomain": "acme",
        "client_id": "own-id",
        "client_secret": Secret("own-key"),
        "previous_secret": Secret("own-former"),
        "access_token": Secret("bearer-1"),
        "refresh_token": Secret("refresh-1"),
        "expires_at": 1_900_000_000,
    }
    return Account(account_id=account_id, **{**known, **given})


class TestStoring:
    def test_what_was_stored_is_read_by_another_process(self, make: Make) -> None:
        saved = make().save(account())
        assert make().get(7) == saved == account(version=1)

    def test_nothing_secret_lies_readable_in_redis(self, make: Make, redis: Redis) -> None:
        make().save(account())
        lying = b"".join(itertools.chain(*redis.hgetall(Keys().account(7).record).items()))
        assert lying
        for secret in (*HIDDEN, "acme"):
            assert secret.encode() not in lying

    def test_without_keys_nothing_is_stored_and_the_remedy_is_told(self, make: Make, redis: Redis) -> None:
        with pytest.raises(SettingsError, match="kommo accounts key"):
            make(token_keys=()).save(account())
        assert redis.keys() == []

    def test_keys_that_do_not_open_it_name_the_account_and_the_variable(self, make: Make) -> None:
        make(token_keys=(OLD,)).save(account())
        for ask in (make().get, make().credentials):
            with pytest.raises(SettingsError, match=r"KOMMO_TOKEN_KEYS.*account 7"):
                ask(7)

    def test_a_record_that_was_put_in_anothers_place_is_refused(self, make: Make, redis: Redis) -> None:
        make().save(account(7))
        keys = Keys()
        redis.hset(keys.account(8).record, mapping=redis.hgetall(keys.account(7).record))
        with pytest.raises(SettingsError, match="account 8 is another account"):
            make().get(8)

    def test_all_are_listed_in_order_over_all_shards(self, make: Make) -> None:
        accounts = make(shards=4)
        for number in (9, 2, 30, 7):
            accounts.save(account(number))
        assert list(accounts.ids()) == [2, 7, 9, 30]
        assert [one.account_id for one in accounts.list()] == [2, 7, 9, 30]

    def test_a_removed_one_leaves_nothing(self, make: Make, redis: Redis) -> None:
        accounts = make()
        accounts.save(account())
        accounts.remind(7)
        assert (accounts.remove(7), accounts.remove(7)) == (True, False)
        assert redis.keys() == []

    def test_the_account_of_the_environment_is_never_stored(self, make: Make, redis: Redis) -> None:
        accounts = make(account_id=5, access_token=Secret("env-token"))
        accounts.proof(5)
        accounts.credentials(5)
        assert accounts.mark(5, "needs_person", "x") is False
        assert (accounts.get(5), redis.keys()) == (None, [])

    def test_without_a_redis_there_is_the_environment_alone(self) -> None:
        accounts = Accounts(Settings(client_id="c", account_id=5, access_token=Secret("t"), token_keys=(NEW,)))
        assert (accounts.get(7), list(accounts.list())) == (None, [])
        assert accounts.credentials(5) == Credentials(5, "c", "", Secret("t"))
        assert accounts.proof(7) == Proof("c", ())
        with pytest.raises(StoreError, match="no Redis"):
            accounts.save(account())

    def test_sealing_anew_makes_the_older_key_needless(self, make: Make) -> None:
        make(token_keys=(OLD,)).save(account())
        assert make(token_keys=(NEW, OLD)).reseal(7)
        opened = make(token_keys=(NEW,)).get(7)
        assert opened is not None
        assert opened.access_token == "bearer-1"
        assert not make().reseal(8)


class TestVersions:
    def test_a_change_counts_only_in_place_of_what_was_read(self, make: Make) -> None:
        accounts = make()
        first = accounts.save(account())
        second = accounts.update(replace(first, subdomain="second"))
        assert second is not None
        assert second.version == 2
        assert accounts.update(replace(first, subdomain="late")) is None
        assert accounts.get(7) == second

    def test_storing_anew_counts_whatever_was_there(self, make: Make) -> None:
        accounts = make()
        first = accounts.save(account())
        assert accounts.save(account(subdomain="again")).version == first.version + 1

    def test_what_was_removed_is_not_brought_back(self, make: Make) -> None:
        accounts = make()
        first = accounts.save(account())
        accounts.remove(7)
        assert accounts.update(first) is None
        assert list(accounts.ids()) == []

    def test_of_many_changes_at_once_none_is_lost(self, make: Make) -> None:
        make().save(account(expires_at=0))

        def count() -> None:
            accounts, done = make(), 0
            while done < 20:
                current = accounts.get(7)
                assert current is not None
                done += bool(accounts.update(replace(current, expires_at=current.expires_at + 1)))

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        after = make().get(7)
        assert after is not None
        assert after.expires_at == 80


class TestMarks:
    def test_a_mark_is_news_once(self, make: Make) -> None:
        accounts = make()
        accounts.save(account())
        assert [accounts.mark(7, "needs_person", "x"), accounts.mark(7, "needs_person", "x")] == [True, False]
        marked = accounts.get(7)
        assert marked == account(version=1, state="needs_person", reason="x")
        assert accounts.mark(7, "ready") is True

    def test_a_mark_about_a_version_that_has_moved_on_changes_nothing(self, make: Make) -> None:
        accounts = make()
        first = accounts.save(account())
        accounts.save(account())
        assert accounts.mark(7, "needs_person", "x", version=first.version) is False
        current = accounts.get(7)
        assert current is not None
        assert current.state == "ready"

    def test_a_renewal_that_is_under_way_may_still_end_well(self, make: Make) -> None:
        accounts = make()
        first = accounts.save(account())
        accounts.mark(7, "needs_person", "x")
        assert accounts.update(replace(first, access_token=Secret("bearer-2"))) is not None

    def test_a_disconnected_account_has_no_tokens_and_still_proves_its_deliveries(self, make: Make) -> None:
        accounts = make()
        accounts.save(account())
        assert [accounts.mark(7, "disconnected", "gone"), accounts.mark(7, "disconnected", "gone")] == [True, False]
        gone = accounts.get(7)
        assert gone is not None
        assert (gone.access_token, gone.refresh_token, gone.state, gone.reason) == ("", "", "disconnected", "gone")
        assert accounts.credentials(7) is None
        assert accounts.proof(7) == Proof("own-id", ("own-key", "own-former"))

    def test_what_is_not_stored_cannot_be_marked(self, make: Make, redis: Redis) -> None:
        assert [make().mark(7, "needs_person"), make().mark(7, "disconnected")] == [False, False]
        assert redis.keys() == []

    def test_a_person_is_reminded_once_a_day(self, make: Make, redis: Redis) -> None:
        assert [make().remind(7), make().remind(7), make().remind(8)] == [True, False, True]
        (key,) = redis.keys("*warned:7")
        assert 86_000 < redis.ttl(key) <= 86_400


class TestTheLock:
    def test_one_holds_it_and_may_go_on(self, make: Make) -> None:
        accounts = make()
        saved = accounts.save(account())
        assert [accounts.renewals.lock(saved, name, lease_ms=5000) for name in ("a", "b", "a")] == [
            Lock.HELD,
            Lock.BUSY,
            Lock.HELD,
        ]

    def test_it_ends_with_its_lease(self, make: Make) -> None:
        accounts = make()
        saved = accounts.save(account())
        accounts.renewals.lock(saved, "dead", lease_ms=20)
        wait_for(lambda: accounts.renewals.lock(saved, "b", lease_ms=5000) is Lock.HELD, what="the lock is free")

    def test_a_version_that_has_moved_on_is_not_renewed(self, make: Make) -> None:
        accounts = make()
        saved = accounts.save(account())
        accounts.save(account())
        assert accounts.renewals.lock(saved, "a", lease_ms=5000) is Lock.MOVED
        accounts.remove(7)
        assert accounts.renewals.lock(saved, "a", lease_ms=5000) is Lock.MOVED

    def test_only_its_holder_gives_it_back(self, make: Make, redis: Redis) -> None:
        accounts, key = make(), Keys().account(7).lock
        saved = accounts.save(account())
        accounts.renewals.lock(saved, "a", lease_ms=60_000)
        accounts.renewals.unlock(7, "b", backoff=Backoff(60, 60))
        assert redis.get(key) == b"a"
        assert accounts.renewals.pause(7) is None
        accounts.renewals.unlock(7, "a")
        assert redis.get(key) is None

    def test_the_last_attempt_is_known_whatever_came_of_it(self, make: Make) -> None:
        accounts = make()
        saved = accounts.save(account())
        assert saved.tried_at == 0
        accounts.renewals.lock(saved, "a", lease_ms=5000)
        after = accounts.get(7)
        assert after is not None
        assert after.tried_at == pytest.approx(time.time(), abs=5)

    def test_others_changes_wait_until_the_renewal_has_ended(self, make: Make) -> None:
        accounts = make()
        saved = accounts.save(account())
        accounts.renewals.lock(saved, "a", lease_ms=60_000)
        fresh = accounts.update(replace(saved, access_token=Secret("bearer-2")), lock="a")
        assert fresh is not None
        ending = make(sleep=lambda _: accounts.renewals.unlock(7, "a"))
        assert ending.update(replace(fresh, subdomain="later")) is not None

    def test_a_renewal_that_does_not_end_is_told(self, make: Make) -> None:
        ticks = itertools.count(0, 30)
        accounts = make(sleep=lambda _: None, clock=lambda: float(next(ticks)))
        saved = accounts.save(account())
        accounts.renewals.lock(saved, "a", lease_ms=60_000)
        with pytest.raises(StoreError, match="account 7 are being renewed"):
            accounts.update(saved)


class TestThePauseAfterAFailure:
    def fail(self, accounts: Accounts, **given: Any) -> Pause:
        saved = accounts.get(7)
        assert saved is not None
        assert accounts.renewals.lock(saved, "a", lease_ms=5000, hurry=True) is Lock.HELD
        accounts.renewals.unlock(7, "a", backoff=Backoff(**{"first": 30.0, "longest": 600.0, **given}))
        pause = accounts.renewals.pause(7)
        assert pause is not None
        return pause

    def test_nobody_begins_another_one_for_a_while_unless_somebody_is_in_a_hurry(self, make: Make) -> None:
        accounts = make()
        saved = accounts.save(account())
        self.fail(accounts)
        assert make().renewals.lock(saved, "b", lease_ms=5000) is Lock.PAUSED
        assert make().renewals.lock(saved, "b", lease_ms=5000, hurry=True) is Lock.HELD

    def test_it_grows_with_every_failure_up_to_the_longest(self, make: Make) -> None:
        accounts = make()
        accounts.save(account())
        pauses = [self.fail(accounts) for _ in range(40)]
        assert [round(pause.seconds) for pause in pauses[:7]] == [30, 60, 120, 240, 480, 600, 600]
        assert (round(pauses[-1].seconds), pauses[-1].failed) == (600, 40)

    def test_it_is_as_long_as_kommo_wants_it_to_be(self, make: Make) -> None:
        accounts = make()
        accounts.save(account())
        assert round(self.fail(accounts, first=1.0, least=45.0).seconds) == 45

    def test_when_it_is_over_the_next_one_begins(self, make: Make) -> None:
        accounts = make()
        saved = accounts.save(account())
        self.fail(accounts, first=0.01, longest=0.01)
        wait_for(lambda: accounts.renewals.lock(saved, "b", lease_ms=5000) is Lock.HELD, what="the pause is over")

    def test_a_fault_of_one_client_does_not_keep_another_from_trying(self, make: Make) -> None:
        accounts = make()
        saved = accounts.save(account())
        assert self.fail(accounts, fault="wrong secret", client="mine").fault == "wrong secret"
        tries = [accounts.renewals.lock(saved, "b", lease_ms=5000, client=name) for name in ("mine", "mended")]
        assert tries == [Lock.PAUSED, Lock.HELD]

    def test_whoever_holds_the_lock_goes_on_in_spite_of_it(self, make: Make) -> None:
        accounts = make()
        saved = accounts.save(account())
        self.fail(accounts)
        taken = [accounts.renewals.lock(saved, "b", lease_ms=5000, hurry=hurry) for hurry in (True, False)]
        assert taken == [Lock.HELD, Lock.HELD]

    @pytest.mark.parametrize("change", ["save", "update"])
    def test_a_change_of_the_account_ends_it(self, make: Make, change: str) -> None:
        accounts = make()
        saved = accounts.save(account())
        self.fail(accounts)
        getattr(accounts, change)(saved)
        assert accounts.renewals.pause(7) is None

    def test_it_is_forgotten_an_hour_after_the_last_failure(self, make: Make, redis: Redis) -> None:
        accounts = make()
        accounts.save(account())
        self.fail(accounts)
        (key,) = redis.keys("*account:pause:7")
        assert 3600 < redis.ttl(key) <= 3630

    def test_a_removed_account_leaves_none(self, make: Make, redis: Redis) -> None:
        accounts = make()
        accounts.save(account())
        self.fail(accounts)
        accounts.remove(7)
        assert redis.keys() == []

    def test_an_integration_is_told_of_once_an_hour(self, make: Make, redis: Redis) -> None:
        said = [make().remind_of_client(name) for name in ("one", "one", "two")]
        assert said == [True, False, True]
        assert all(3500 < redis.ttl(key) <= 3600 for key in redis.keys("*client:warned*"))


class TestInstallations:
    def test_a_repeated_one_does_not_put_its_spent_pair_back(self, make: Make) -> None:
        accounts = make()
        first = accounts.install(account(installed_at=1000, renewed_at=1000))
        assert first is not None
        renewed = accounts.update(replace(first, refresh_token=Secret("refresh-2"), renewed_at=2000))
        assert accounts.install(account(installed_at=1000, renewed_at=1000)) is None
        assert accounts.get(7) == renewed

    def test_a_later_one_counts_though_the_account_was_renewed_since(self, make: Make) -> None:
        accounts = make()
        accounts.save(account(installed_at=1000, renewed_at=5000))
        later = accounts.install(account(installed_at=3000, renewed_at=3000, refresh_token=Secret("refresh-9")))
        assert later is not None
        assert accounts.get(7) == later

    def test_an_earlier_one_that_comes_late_changes_nothing(self, make: Make) -> None:
        accounts = make()
        later = accounts.install(account(installed_at=3000))
        assert accounts.install(account(installed_at=1000)) is None
        assert accounts.get(7) == later

    def test_one_that_was_taken_out_is_not_brought_back_by_its_own_repetition(self, make: Make) -> None:
        accounts = make()
        accounts.install(account(installed_at=1000))
        accounts.mark(7, "disconnected", "gone")
        assert accounts.install(account(installed_at=1000)) is None
        assert accounts.credentials(7) is None

    def test_an_account_that_was_never_stored_or_was_removed_is_stored(self, make: Make) -> None:
        accounts = make()
        assert accounts.install(account(installed_at=0)) is not None
        accounts.remove(7)
        assert accounts.install(account(installed_at=0)) is not None

    def test_a_new_token_from_a_person_counts_whatever_its_time(self, make: Make) -> None:
        accounts = make()
        accounts.install(account(installed_at=1000))
        given = accounts.save(account(installed_at=1000, access_token=Secret("bearer-2")))
        assert accounts.get(7) == given


class TestProofs:
    def test_an_account_with_its_own_client_is_proven_with_that_newest_secret_first(self, make: Make) -> None:
        make().save(account())
        assert make().proof(7) == Proof("own-id", ("own-key", "own-former"))

    def test_one_of_the_public_integration_is_proven_with_the_environments(self, make: Make) -> None:
        accounts = make(client_secret_previous=Secret("env-former"))
        accounts.save(account(client_id="", client_secret=Secret()))
        accounts.save(account(8, client_id="env-id", client_secret=Secret()))
        assert accounts.proof(7) == accounts.proof(8) == Proof("env-id", ("env-key", "env-former"))

    def test_one_that_is_not_stored_is_proven_with_the_environments(self, make: Make) -> None:
        assert make().proof(99) == Proof("env-id", ("env-key",))

    def test_another_integrations_account_without_a_secret_is_proven_with_none(self, make: Make) -> None:
        accounts = make()
        accounts.save(account(client_secret=Secret(), previous_secret=Secret()))
        assert accounts.proof(7) == Proof("own-id", ())

    def test_a_change_here_counts_at_once(self, make: Make) -> None:
        accounts = make()
        accounts.proof(7)
        saved = accounts.save(account())
        assert accounts.proof(7).client_id == "own-id"
        accounts.update(replace(saved, client_id="other"))
        assert accounts.proof(7).client_id == "other"
        accounts.remove(7)
        assert accounts.proof(7).client_id == "env-id"

    def test_what_was_known_is_used_while_redis_is_away(self, redis: Redis, make: Make) -> None:
        make().save(account())
        now = [0.0]
        pool = dict(redis.connection_pool.connection_kwargs)
        cut = connect(f"unix://{pool['path']}")
        accounts = make(redis=cut, clock=lambda: now[0])
        before = accounts.proof(7)
        cut.connection_pool.disconnect()
        cut.connection_pool.connection_kwargs["path"] = "/nowhere/redis.sock"
        now[0] = 3600.0
        assert accounts.proof(7) == before
        cut.close()

    def test_while_redis_is_away_from_the_start_only_the_environments_own_account_is_proven(self, make: Make) -> None:
        away = connect("unix:///nowhere/redis.sock")
        accounts = make(redis=away, account_id=5)
        assert accounts.proof(5) == Proof("env-id", ("env-key",))
        with pytest.raises(StoreUnavailable):
            accounts.proof(7)
        # Without keys nothing can have been stored.
        assert make(redis=away, token_keys=()).proof(7) == Proof("env-id", ("env-key",))

    def test_a_record_that_cannot_be_opened_is_no_reason_to_refuse_kommo_for_good(self, make: Make) -> None:
        make(token_keys=(OLD,)).save(account())
        with pytest.raises(StoreUnavailable, match="KOMMO_TOKEN_KEYS"):
            make().proof(7)


class TestCalls:
    def test_a_stored_account_is_called_with_its_own_token(self, make: Make) -> None:
        accounts = make(account_id=7, access_token=Secret("env-token"))
        assert accounts.credentials(7) == Credentials(7, "env-id", "", Secret("env-token"))
        accounts.save(account())
        assert accounts.credentials(7) == Credentials(7, "own-id", "acme", Secret("bearer-1"), 1_900_000_000, "ready")
        assert accounts.credentials(8) is None

    def test_what_a_stored_account_lacks_comes_from_the_environment_but_no_strange_secret(self, make: Make) -> None:
        accounts = make(redirect_uri="https://h.example/cb")
        bare = account(client_id="", client_secret=Secret())
        assert (accounts.resolved(bare).client_id, accounts.resolved(bare).client_secret) == ("env-id", "env-key")
        assert accounts.resolved(bare).redirect_uri == "https://h.example/cb"
        assert accounts.resolved(account(client_secret=Secret())).client_secret == ""
        assert accounts.resolved(account(redirect_uri="https://own.example")).redirect_uri == "https://own.example"

    def test_its_calls_count_in_three_limits(self, make: Make) -> None:
        accounts = make(egress="gate", rate_limits=MappingProxyType({"integration": 1, "account": 2, "ip": 3}))
        credentials = Credentials(7, "own-id", "acme", Secret("t"))
        assert accounts.scopes(credentials) == (
            Scope("integration:own-id:7", 1),
            Scope("account:7", 2),
            Scope("ip:gate", 3),
        )

    def test_no_repr_shows_a_secret(self, make: Make) -> None:
        accounts = make()
        accounts.save(account())
        for shown in map(repr, (accounts, accounts.get(7), accounts.credentials(7), accounts.proof(7))):
            for secret in (*HIDDEN, "env-key"):
                assert secret not in shown
