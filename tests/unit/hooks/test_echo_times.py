"""Until when a webhook is taken for the echo of a write: by when it was received, and by when Kommo dates the change.

Kommo repeats a delivery that failed, so an echo may be received late; but what it dates late is another change.
https://developers.kommo.com/docs/webhooks-general
"""

import pytest

from kommo.hooks.echoes import Entry
from sandbox import changes
from sandbox.state import Record
from tests.unit.hooks.echoing import SOMEBODY, Account, an_account, verdicts

MINUTE = 60
ECHO, FOREIGN = {"lead.updated": True}, {"lead.updated": False}


def told_of(account: Account, lead: Record, price: int, *, seconds_later: int) -> dict[str, bool]:
    """Note a write of ours that Kommo does not do; let somebody else do the same later, and say how it is judged."""
    account.expect("PATCH", f"/api/v4/leads/{lead.id}", {"price": price})
    account.now += seconds_later
    return verdicts(account.deliver(account.change(lead, {"price": price})))


def expected(account: Account, lead: Record) -> int:
    """How many writes to the lead are still waited for."""
    return len(Entry.load(account.stored[f"lead:{lead.id}"]).pending)


class TestWhenKommoDatesAChange:
    """It is received at once; the values are those that we wrote."""

    @pytest.mark.parametrize("seen", [True, False])
    @pytest.mark.parametrize("seconds", [0, 1, 59, MINUTE])
    def test_within_a_minute_of_our_write_it_is_the_echo(self, seconds: int, *, seen: bool) -> None:
        account, lead = an_account()
        if seen:
            account.deliver(account.change(lead, {}))
            account.now += 5
        assert told_of(account, lead, 5, seconds_later=seconds) == ECHO

    @pytest.mark.parametrize("seen", [True, False])
    @pytest.mark.parametrize("seconds", [MINUTE + 1, 5 * MINUTE, 39 * MINUTE])
    def test_later_than_that_it_is_somebody_elses(self, seconds: int, *, seen: bool) -> None:
        account, lead = an_account()
        if seen:
            account.deliver(account.change(lead, {}))
            account.now += 5
        assert told_of(account, lead, 5, seconds_later=seconds) == FOREIGN

    def test_somebodys_late_change_does_not_use_up_our_write_whose_webhook_comes_even_later(self) -> None:
        account, lead = an_account(price=1)
        account.deliver(account.change(lead, {}))
        account.now += 5
        ours = account.write(lead, {"price": 5})
        account.now += 2 * MINUTE
        assert verdicts(account.deliver(account.change(lead, {}))) == FOREIGN
        assert verdicts(account.deliver(ours, received=account.now + 3 * MINUTE)) == ECHO

    def test_a_kommo_whose_clock_is_behind_is_believed(self) -> None:
        account, lead = an_account()
        account.expect("PATCH", f"/api/v4/leads/{lead.id}", {"price": 5})
        sent = account.now
        account.now -= MINUTE
        told = changes.update(account.state, lead, {"price": 5}, by=0)
        assert verdicts(account.deliver(told, received=sent)) == ECHO


class TestWhenADeliveryIsReceived:
    """Kommo dates the change as we wrote it."""

    @pytest.mark.parametrize("minutes", [0, 5, 20, 35])
    def test_an_own_creation_that_kommo_repeats_within_the_hour_is_an_echo(self, minutes: int) -> None:
        account, lead = an_account()
        told = account.create("leads", {"name": "Oven"})
        assert verdicts(account.deliver(told, received=account.now + minutes * MINUTE)) == {"lead.added": True}
        note = {"note_type": "common", "params": {"text": "Called"}, "entity_id": lead.id}
        told = account.annotate("leads", note)
        assert verdicts(account.deliver(told, received=account.now + minutes * MINUTE)) == {"lead.note_added": True}

    # At once, after 5 minutes, 15 more and 15 more.
    @pytest.mark.parametrize("minutes", [0, 5, 20, 35])
    def test_an_echo_that_kommo_repeats_within_the_hour_is_one(self, minutes: int) -> None:
        account, lead = an_account()
        told = account.deliver(account.write(lead, {"price": 5}), received=account.now + minutes * MINUTE)
        assert verdicts(told) == ECHO

    # The fifth attempt comes an hour after the fourth.
    @pytest.mark.parametrize("seconds", [40 * MINUTE, 41 * MINUTE, 95 * MINUTE])
    def test_after_forty_minutes_an_equal_change_is_none(self, seconds: int) -> None:
        account, lead = an_account()
        told = account.deliver(account.write(lead, {"price": 5}), received=account.now + seconds)
        assert verdicts(told) == FOREIGN

    def test_up_to_the_last_second_before_it_is(self) -> None:
        account, lead = an_account()
        told = account.deliver(account.write(lead, {"price": 5}), received=account.now + 40 * MINUTE - 1)
        assert verdicts(told) == ECHO

    def test_what_was_waited_for_in_vain_is_forgotten_after_forty_minutes_and_not_before(self) -> None:
        account, lead = an_account()
        account.expect("PATCH", f"/api/v4/leads/{lead.id}", {"price": 5})
        left = []
        for minutes in (39, 2):
            account.now += minutes * MINUTE
            account.deliver(changes.update(account.state, lead, {"name": f"Oven {minutes}"}, by=SOMEBODY)[:1])
            left.append(expected(account, lead))
        assert left == [1, 0]

    def test_what_is_received_more_than_a_minute_before_it_was_sent_is_none(self) -> None:
        account, lead = an_account()
        sent = account.now
        account.now += MINUTE + 1
        account.expect("PATCH", f"/api/v4/leads/{lead.id}", {"price": 5})
        account.now = sent
        assert verdicts(account.deliver(account.change(lead, {"price": 5}))) == FOREIGN
