"""The steps of an installation one by one, as a process goes on with them that has found them half-way done."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography.fernet import Fernet

from kommo.store.account import Account
from kommo.store.accounts import Accounts
from kommo.store.keys import Keys
from kommo.store.vault import Vault
from kommo.variables import Secret
from receiver.installs.background import Again, Done
from receiver.installs.errands import Errand
from receiver.installs.installing import Installer
from receiver.installs.visits import Arrival
from tests.integration.receiver.installs.surroundings import (
    ACCOUNT,
    CLIENT,
    KEY,
    Visitor,
    doors_of,
    title,
)
from tests.integration.workers.logs import Lines
from tests.waiting import wait_for

PRIVATE = "3c9a-of-one-account"


@pytest.fixture
def installer(visitor: Visitor) -> Iterator[Installer]:
    installer = doors_of(visitor.app).installer
    yield installer
    installer.calls.rest()


def begun(visitor: Visitor, installer: Installer, client_id: str = CLIENT) -> Errand:
    arrival = Arrival(visitor.box.code(), "acme.kommo.com", client_id, "", from_widget=True)
    return installer.errand(arrival, client_id)


def step(installer: Installer, errand: Errand) -> Errand:
    result = installer(errand)
    assert isinstance(result, Again)
    return result.errand


def stored(visitor: Visitor) -> Account:
    account = visitor.stored()
    assert account is not None
    return account


def unopenable(visitor: Visitor, account_id: int = 77_001) -> None:
    """Store an account with a key that nobody has any more."""
    lost = replace(visitor.settings, token_keys=(Secret(Fernet.generate_key().decode()),))
    Accounts(lost, visitor.redis, Keys()).save(
        Account(account_id=account_id, subdomain="lost", client_id=PRIVATE, client_secret=Secret("lost"))
    )


class TestAStepThatIsRepeated:
    def test_does_not_bring_back_a_pair_that_was_renewed_since(self, visitor: Visitor, installer: Installer) -> None:
        errand = step(installer, step(installer, begun(visitor, installer)))
        assert errand.record["step"] == "store"
        step(installer, errand)
        first = stored(visitor)
        visitor.accounts.update(replace(first, refresh_token=Secret("renewed"), renewed_at=first.renewed_at))
        again = step(installer, errand)
        assert again.record["step"] == "webhook"
        assert stored(visitor).refresh_token == "renewed"

    def test_does_not_do_so_either_when_its_process_had_not_noted_the_time(
        self, visitor: Visitor, installer: Installer
    ) -> None:
        errand = step(installer, begun(visitor, installer))
        step(installer, step(installer, errand))
        first = stored(visitor)
        visitor.accounts.update(replace(first, refresh_token=Secret("renewed"), renewed_at=first.renewed_at + 5))
        step(installer, step(installer, errand))
        assert stored(visitor).refresh_token == "renewed"

    def test_does_not_bring_back_an_account_that_was_disconnected_since(
        self, visitor: Visitor, installer: Installer
    ) -> None:
        errand = step(installer, step(installer, begun(visitor, installer)))
        step(installer, errand)
        visitor.accounts.mark(ACCOUNT, "disconnected", "gone")
        visitor.parking.park(ACCOUNT, "disconnected", reads_refused=True)
        step(installer, errand)
        assert (stored(visitor).state, stored(visitor).access_token) == ("disconnected", "")
        assert visitor.parking.state(ACCOUNT) is not None

    def test_lets_an_account_go_on_that_was_stored_and_not_let_go(self, visitor: Visitor, installer: Installer) -> None:
        errand = step(installer, step(installer, begun(visitor, installer)))
        step(installer, errand)
        visitor.parking.park(ACCOUNT, "token", reads_refused=True)
        step(installer, errand)
        assert visitor.parking.state(ACCOUNT) is None

    def test_registers_the_webhook_with_the_token_that_the_account_has_by_then(
        self, visitor: Visitor, installer: Installer
    ) -> None:
        errand = step(installer, step(installer, step(installer, begun(visitor, installer))))
        fresh = visitor.box.token
        visitor.accounts.update(replace(stored(visitor), access_token=Secret(fresh)))
        visitor.box.revoke()
        result = installer(errand)
        assert isinstance(result, Done)
        assert result.outcome is not None
        assert "problem" not in result.outcome

    def test_a_new_installation_within_the_same_second_is_another_one(
        self, visitor: Visitor, installer: Installer
    ) -> None:
        errands = [step(installer, step(installer, begun(visitor, installer)))]
        step(installer, errands[0])
        visitor.accounts.mark(ACCOUNT, "disconnected", "gone")
        errands.append(step(installer, step(installer, begun(visitor, installer))))
        step(installer, errands[1])
        first, second = (errand.record["installed_at"] for errand in errands)
        assert (second > first, stored(visitor).installed_at, stored(visitor).state) == (True, second, "ready")


class TestSettingsThatAreWrong:
    def other_key(self, installer: Installer) -> Installer:
        return replace(installer, vault=Vault([Fernet.generate_key().decode()]))

    def test_after_the_exchange_cost_no_pair(self, visitor: Visitor, installer: Installer, lines: Lines) -> None:
        errand = step(installer, begun(visitor, installer))
        result = self.other_key(installer)(errand)
        assert isinstance(result, Again)
        assert (result.errand, result.seconds) == (errand, 60.0)
        assert lines.saying("installation waits: the settings do not allow it")
        assert step(installer, result.errand).record["step"] == "store"

    def test_are_given_up_when_the_time_is_over(self, visitor: Visitor, installer: Installer) -> None:
        errand = replace(step(installer, begun(visitor, installer)), ends=0.0)
        result: Any = self.other_key(installer)(errand)
        assert result.outcome["what"] == "settings"

    def test_before_it_end_the_installation_on_a_page_that_quotes_nothing(
        self, visitor: Visitor, installer: Installer, lines: Lines
    ) -> None:
        result: Any = self.other_key(installer)(begun(visitor, installer))
        assert result.outcome == {"what": "settings", "host": "acme.kommo.com", "problem": ""}
        (line,) = lines.saying("installation failed")
        assert "KOMMO_TOKEN_KEYS" in line["error"]

    def test_a_private_integration_whose_account_is_gone_after_the_exchange_costs_no_pair_either(
        self, visitor: Visitor, installer: Installer
    ) -> None:
        errand = step(installer, begun(visitor, installer))
        lost = replace(errand, record={**errand.record, "client_id": PRIVATE})
        result = installer(lost)
        assert isinstance(result, Again)
        assert result.errand == lost
        late: Any = installer(replace(lost, ends=0.0))
        assert late.outcome["what"] == "unknown_client"


class TestARecordThatNoKeyOpens:
    def test_stands_in_nobody_elses_way(self, visitor: Visitor, lines: Lines) -> None:
        unopenable(visitor)
        answer = visitor.get("/oauth/start", client_id="whatever")
        assert (answer.status_code, title(answer)) == (400, "This integration is not known here")
        assert "77001" not in answer.text
        assert [line["account"] for line in lines.saying("stored account cannot be opened")] == [77_001]

    def test_does_not_hide_the_integrations_behind_it(self, visitor: Visitor) -> None:
        unopenable(visitor)
        visitor.accounts.save(
            Account(account_id=77_002, subdomain="b", client_id="its-neighbour", client_secret=Secret("s"))
        )
        assert visitor.get("/oauth/start", client_id="its-neighbour").status_code == 302

    def test_is_mended_by_installing_again(self, visitor: Visitor) -> None:
        unopenable(visitor, ACCOUNT)
        assert title(visitor.agree()) == "The account is connected"
        wait_for(lambda: stored(visitor).state == "ready")

    def test_is_not_spoken_of_on_the_page_of_a_call_about_it(self, visitor: Visitor) -> None:
        unopenable(visitor)
        answer = visitor.get("/oauth/disconnect", client_id=PRIVATE, account_id="77001", signature="0" * 64)
        assert answer.status_code == 503
        assert "77001" not in answer.text
        assert KEY not in answer.text
