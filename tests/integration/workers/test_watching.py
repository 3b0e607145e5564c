"""The webhooks are looked at over the sandbox's API, mended where it can be done, and what is missing is noted."""

import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from kommo.hooks.signature import webhook_url
from kommo.store.account import Account
from kommo.store.accounts import Accounts
from kommo.store.answers import Answers
from kommo.store.gaps import Gap, Gaps
from kommo.store.limiter import Limiter
from kommo.store.vault import new_key
from kommo.store.watch import Watch, Watched
from kommo.variables import ALL_WEBHOOK_EVENTS, Secret
from sandbox import Sandbox
from sandbox.control.commands import run
from sandbox.subscriptions import Webhook
from tests.integration.workers.flushing import FAST
from tests.integration.workers.logs import Lines
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker
from workers import watching
from workers.watching import AFTER_SECONDS, BEFORE_AWAY_SECONDS, BEFORE_SECONDS, Watching

PUBLIC = "https://hooks.example.org"
OURS = webhook_url(PUBLIC, "s", "c", ACCOUNT)
NOW = int(time.time())
ON = Watched("on", NOW, NOW, NOW)
#: A webhook that has been on for long.
LONG_ON = Watched("on", 1, NOW, 1)


def later(seconds: int) -> Watched:
    """One that has been on since the first look, and is now."""
    return Watched("on", NOW, NOW + seconds, NOW)


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """A Kommo that lets everything through, and in which hours are over at once."""
    with Sandbox(account_id=ACCOUNT, rate=10_000, time_scale=0.0001) as box:
        yield box


class Look:
    """Looks at the webhooks at times of its own choice; every turn has come."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.runtime = worker.runtime
        self.watch = Watch(self.runtime.redis, self.runtime.keys)
        self.gaps = Gaps(self.runtime.redis, self.runtime.keys)

    def __call__(self, later: int = 0, *, turns: bool = True) -> Watched | None:
        if turns:
            for key in self.runtime.redis.keys("*:webhook:turn:*"):
                self.runtime.redis.delete(key)
        self.at(later).look_at_all()
        return self.watch.get(ACCOUNT)

    def at(self, later: int) -> Watching:
        return Watching.of(self.runtime, clock=lambda: float(NOW + later))

    @property
    def gap(self) -> Gap | None:
        return self.gaps.get(ACCOUNT)


@pytest.fixture
def make(worker: MakeWorker, box: Sandbox) -> Any:
    def make(**given: Any) -> Look:
        settings = {
            "access_token": Secret(box.token),
            "client_secret": Secret("s"),
            "api_base": box.url,
            "rate_limits": FAST,
            "public_url": PUBLIC,
        }
        return Look(worker(**{**settings, **given}))

    return make


@pytest.fixture
def look(make: Any) -> Look:
    found: Look = make()
    return found


def registered(box: Sandbox, *settings: str, destination: str = OURS) -> Webhook:
    return box.register(destination, *(settings or ALL_WEBHOOK_EVENTS))


def posts(box: Sandbox) -> int:
    return len(box.requests(method="POST", path="/api/v4/webhooks"))


class TestFirstLook:
    def test_one_that_is_on_is_remembered_and_nothing_is_missing(self, look: Look, box: Sandbox) -> None:
        registered(box)
        assert look() == ON
        assert look.gap is None

    def test_an_account_that_never_had_one_gets_none_and_hears_nothing_of_it(
        self, look: Look, box: Sandbox, lines: Lines
    ) -> None:
        assert look() == Watched("missing", NOW)
        assert look(300) == Watched("missing", NOW)
        assert (posts(box), look.gap) == (0, None)
        assert not [line for line in lines.all if line["level"] in {"warning", "error"}]

    def test_one_that_is_off_is_tried_and_nothing_was_promised_before(self, look: Look, box: Sandbox) -> None:
        registered(box).disabled = True
        assert look() == ON
        assert look.gap is None


class TestSwitchedOff:
    @pytest.fixture
    def hook(self, look: Look, box: Sandbox) -> Webhook:
        """A webhook that has been on for long, and then was switched off for a person to enable."""
        hook = registered(box)
        look.watch.note(ACCOUNT, LONG_ON)
        hook.disabled = hook.firmly = True
        return hook

    def test_it_is_registered_again_and_what_was_missed_is_a_gap(self, look: Look, hook: Webhook, lines: Lines) -> None:
        hook.firmly = False
        assert look(300) == replace(LONG_ON, good_at=NOW + 300)
        assert not hook.disabled
        assert look.gap == Gap(
            NOW - BEFORE_SECONDS, NOW + 300 + AFTER_SECONDS, NOW - BEFORE_SECONDS, "the webhook was switched off"
        )
        assert lines.saying("webhook is on again; what was not told meanwhile is looked for")

    @pytest.mark.usefixtures("hook")
    def test_where_only_a_person_can_enable_it_that_is_said_loudly_once_an_hour(self, look: Look, lines: Lines) -> None:
        seen = look(300)
        assert seen is not None
        assert (seen.state, seen.since, seen.good_at) == ("disabled", NOW + 300, NOW)
        assert "a person has to enable it" in seen.reason
        look.at(600).look(ACCOUNT)
        said = lines.saying("webhook is switched off by Kommo: no deliveries come")
        assert [(line["level"], line["account"]) for line in said] == [("error", ACCOUNT)]
        assert "person" in said[0]["remedy"]

    def test_of_the_time_before_it_first_was_on_nothing_is_missing(self, look: Look, hook: Webhook) -> None:
        look.watch.note(ACCOUNT, replace(LONG_ON, first_at=NOW - 60))
        hook.firmly = True
        look(300)
        gap = look.gap
        assert gap is not None
        assert gap.since == NOW - 60

    def test_the_gap_goes_on_until_somebody_has(self, look: Look, hook: Webhook) -> None:
        look(300)
        look(600)
        assert look.gap == Gap(NOW - BEFORE_SECONDS, None, NOW - BEFORE_SECONDS, "the webhook was switched off")
        hook.enable()
        assert look(900) == Watched("on", NOW + 900, NOW + 900, 1)
        gap = look.gap
        assert gap is not None
        assert gap.until == NOW + 900 + AFTER_SECONDS

    @pytest.mark.usefixtures("hook")
    def test_registering_is_tried_once_in_a_quarter_of_an_hour(self, look: Look, box: Sandbox) -> None:
        look(300)
        kept = look.watch.get(ACCOUNT)
        look.at(600).look(ACCOUNT)
        assert posts(box) == 1
        assert look.watch.get(ACCOUNT) == kept

    def test_after_a_hundred_bad_answers_it_is_off_as_well(self, look: Look, box: Sandbox) -> None:
        dead = make_dead(look, box)
        assert look() == ON
        for number in range(40):
            run(box.world, "lead.create", {"name": f"Lead {number}"})
        assert box.settled()
        assert dead.disabled
        dead.firmly = True
        seen = look(300)
        assert seen is not None
        assert seen.state == "disabled"


def make_dead(look: Look, box: Sandbox) -> Webhook:
    """Register an address of ours at which nobody listens."""
    look.runtime.settings = replace(look.runtime.settings, public_url="http://127.0.0.1:1")
    return registered(box, destination=webhook_url("http://127.0.0.1:1", "s", "c", ACCOUNT))


class TestGone:
    def test_one_that_was_removed_is_registered_again(self, look: Look, box: Sandbox) -> None:
        registered(box)
        look()
        box.world.webhooks.remove(OURS)
        assert look(300) == later(300)
        (hook,) = box.world.webhooks.all()
        assert (hook.destination, set(hook.settings)) == (OURS, set(ALL_WEBHOOK_EVENTS))
        gap = look.gap
        assert gap is not None
        assert gap.why == "the webhook was gone"

    def test_without_a_public_address_it_cannot_be_and_that_is_said(
        self, make: Any, box: Sandbox, lines: Lines
    ) -> None:
        look = make(public_url="")
        registered(box, destination=f"https://elsewhere.example/deep{OURS.removeprefix(PUBLIC)}")
        assert look() == ON
        box.world.webhooks.remove(box.world.webhooks.all()[0].destination)
        seen = look(300)
        assert seen.state == "missing"
        assert "KOMMO_PUBLIC_URL" in lines.saying("webhook is gone from Kommo: no deliveries come")[0]["remedy"]
        assert posts(box) == 0

    def test_what_kommo_refuses_is_the_reason(self, look: Look, box: Sandbox) -> None:
        registered(box)
        look()
        box.world.webhooks.remove(OURS)
        box.fault(method="POST", path="/api/v4/webhooks", status=400, body={"title": "Bad Request", "status": 400})
        seen = look(300)
        assert seen is not None
        assert (seen.state, "answered 400" in seen.reason) == ("missing", True)

    def test_forgetting_it_leaves_it_gone(self, look: Look, box: Sandbox) -> None:
        registered(box)
        look()
        box.world.webhooks.remove(OURS)
        look.watch.forget(ACCOUNT)
        assert look(300) == Watched("missing", NOW + 300)
        assert (posts(box), look.gap) == (0, None)


class TestEvents:
    def test_one_that_gets_too_few_is_registered_again_with_those_that_it_had(self, make: Any, box: Sandbox) -> None:
        look = make(webhook_events=("add_lead", "update_lead"))
        hook = registered(box, "add_lead", "add_catalog_element")
        assert look() == ON
        assert hook.settings == ["add_lead", "update_lead", "add_catalog_element"]

    def test_what_kommo_does_not_offer_is_said_once_and_not_asked_for_again(
        self, make: Any, box: Sandbox, lines: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        look = make(webhook_events=("add_lead", "update_talk"))
        registered(box, "add_lead")
        real = box.world.webhooks.register
        monkeypatch.setattr(
            box.world.webhooks, "register", lambda item, by: real({**item, "settings": ["add_lead"]}, by=by)
        )
        for after in (0, 300, 600):
            assert look(after) == Watched("on", NOW, NOW + after, NOW, lacking=("update_talk",))
        assert posts(box) == 1
        assert len(lines.saying("webhook does not get all events")) == 1


class TestUnseen:
    @pytest.mark.parametrize("status", [402, 403])
    def test_an_account_without_the_right_is_told_of_once_a_day(
        self, look: Look, box: Sandbox, lines: Lines, status: int
    ) -> None:
        box.fault(path="/api/v4/webhooks", status=status, times=10, body={"title": "No", "status": status})
        seen = look()
        assert seen is not None
        assert (seen.state, seen.good_at, f"answered {status}" in seen.reason) == ("unseen", 0, True)
        look.at(300).look(ACCOUNT)
        said = [line for line in lines.all if line["level"] in {"warning", "error"}]
        assert [line["message"] for line in said if "webhook" in line["message"]] == ["webhook cannot be asked for"]

    def test_what_was_known_before_counts_when_it_can_be_seen_again(self, look: Look, box: Sandbox) -> None:
        hook = registered(box)
        look.watch.note(ACCOUNT, LONG_ON)
        box.fault(path="/api/v4/webhooks", status=403, times=1, body={"title": "No", "status": 403})
        seen = look(300)
        assert seen is not None
        assert (seen.state, seen.good_at) == ("unseen", NOW)
        hook.disabled = hook.firmly = True
        look(600)
        gap = look.gap
        assert gap is not None
        assert gap.since == NOW - BEFORE_SECONDS

    def test_an_answer_that_does_not_come_changes_nothing(self, look: Look, box: Sandbox, lines: Lines) -> None:
        registered(box)
        look()
        box.fault(path="/api/v4/webhooks", status=500, times=20)
        assert look(300) == ON
        assert lines.saying("webhook not looked at")


class TestAccounts:
    @pytest.fixture
    def stored(self, make: Any) -> Look:
        look: Look = make(token_keys=(new_key(),), account_id=None, access_token=Secret())
        look.runtime.accounts = Accounts(look.runtime.settings, look.runtime.redis, look.runtime.keys)
        look.runtime.clients._accounts = look.runtime.accounts
        return look

    def test_stored_accounts_are_looked_at_with_their_own_secrets(self, stored: Look, box: Sandbox) -> None:
        stored.runtime.accounts.save(
            Account(
                account_id=ACCOUNT,
                subdomain="acme",
                client_id="own",
                client_secret=Secret("x"),
                access_token=Secret(box.token),
            )
        )
        registered(box, destination=webhook_url(PUBLIC, "x", "own", ACCOUNT))
        assert stored() == ON

    def test_one_that_disconnects_is_forgotten_and_one_that_waits_is_not(self, stored: Look) -> None:
        for number in (1, 2):
            stored.runtime.accounts.save(Account(account_id=number, subdomain="acme", access_token=Secret("t")))
            stored.watch.note(number, Watched("on", 1, 1, 1))
            stored.gaps.open(number, since=1, until=5, why="")
        stored.runtime.accounts.mark(1, "disconnected")
        stored.runtime.accounts.mark(2, "needs_person")
        stored()
        assert list(stored.watch.all()) == [2]
        assert [stored.gaps.get(number) is None for number in (1, 2)] == [True, False]

    def test_each_is_looked_at_once_in_its_time_however_many_ask(self, look: Look, box: Sandbox) -> None:
        registered(box)
        assert [look.at(0).look_at_all(), look.at(1).look_at_all()] == [1, 0]

    def test_with_more_accounts_than_seconds_each_waits_for_one_a_second(
        self, look: Look, box: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registered(box)
        monkeypatch.setattr(watching, "LOOK_SECONDS", 2)
        look()
        (key,) = look.runtime.redis.keys("*:webhook:turn:look:*")
        assert look.runtime.redis.ttl(key) <= 2
        monkeypatch.setattr(watching, "_served", lambda _: [ACCOUNT, *range(1, 600)])
        monkeypatch.setattr(Watching, "look", lambda *_: None)
        look()
        assert look.runtime.redis.ttl(key) > 590

    def test_a_round_ends_with_its_budget_and_the_next_one_begins_with_those_that_were_left(
        self, look: Look, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked: list[int] = []
        monkeypatch.setattr(watching, "_served", lambda _: [1, 2, 3, 4, 5])
        monkeypatch.setattr(watching, "ROUND_BUDGET_SECONDS", 25.0)
        now = iter(range(0, 1000, 10))
        monkeypatch.setattr(watching, "time", SimpleNamespace(monotonic=lambda: float(next(now))))
        monkeypatch.setattr(Watching, "look", lambda _, account: looked.append(account))
        for later in (300, 600, 900):
            look(later)
        assert looked == [1, 2, 3, 4, 5, 1]

    def test_one_process_goes_round_at_a_time(self, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
        at_once: list[int] = []
        monkeypatch.setattr(watching, "_served", lambda _: [1, 2])
        monkeypatch.setattr(Watching, "look", lambda *_: at_once.append(look.at(0).look_at_all()))
        assert look.at(0).look_at_all() == 2
        assert at_once == [0, 0]

    def test_looks_come_behind_what_somebody_waits_for(
        self, look: Look, box: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hook = registered(box)
        hook.disabled = True
        starts: list[Any] = []
        acquire = Limiter.acquire
        monkeypatch.setattr(
            Limiter, "acquire", lambda *given, **more: starts.append(more["head_start_ms"]) or acquire(*given, **more)
        )
        look()
        assert posts(box) == 1
        assert starts == [0, 0, 0]

    def test_a_worker_that_stops_looks_no_further(self, look: Look, box: Sandbox) -> None:
        look.runtime.stopping.set()
        assert look.at(0).look_at_all() == 0
        assert box.requests() == []


class TestElsewhere:
    def test_a_webhook_of_ours_that_leads_to_another_host_is_told_of_once_a_day_without_its_proof(
        self, look: Look, box: Sandbox, lines: Lines
    ) -> None:
        registered(box)
        registered(box, destination=webhook_url("https://green.example.org", "s", "c", ACCOUNT))
        look()
        look.runtime.redis.delete(*look.runtime.redis.keys("*:webhook:turn:look:*"))
        look.at(300).look(ACCOUNT)
        (said,) = lines.saying("a webhook of ours leads to another address as well")
        assert (said["level"], said["account"]) == ("warning", ACCOUNT)
        assert said["destinations"] == ["https://green.example.org"]
        assert "remove it" in said["remedy"]

    def test_one_of_anybody_else_is_not(self, look: Look, box: Sandbox, lines: Lines) -> None:
        registered(box)
        registered(box, destination="https://green.example.org/webhooks/")
        look()
        assert not lines.saying("a webhook of ours leads to another address as well")


class TestTimesWithoutAReceiver:
    def test_they_are_gaps_of_every_account_that_was_promised_something(self, look: Look, box: Sandbox) -> None:
        registered(box)
        look.watch.note(ACCOUNT, LONG_ON)
        look.runtime.redis.set("kommo:{answers}:lived", NOW - 9000)
        Answers(look.runtime.redis).lived(seconds=0)
        look(300)
        gap = look.gap
        assert gap is not None
        assert (gap.since, gap.why) == (NOW - 9000 - BEFORE_AWAY_SECONDS, "no receiver was there")
        assert gap.until is not None
        assert NOW <= gap.until - AFTER_SECONDS <= time.time()
        assert Answers(look.runtime.redis).away() == []

    def test_an_account_that_was_never_seen_misses_nothing(self, look: Look) -> None:
        look.runtime.redis.set("kommo:{answers}:lived", NOW - 9000)
        Answers(look.runtime.redis).lived(seconds=0)
        look()
        assert look.gap is None


def test_the_chore_looks_and_then_fills(look: Look, box: Sandbox) -> None:
    hook = registered(box)
    look()
    hook.disabled = True
    run(box.world, "company.create", {"name": "Cycles"})
    look(300)
    look.at(300).fill_all()
    assert look.gap is not None
    (entry,) = look.runtime.inbox.read(ACCOUNT, after="0-0", limit=10)
    assert b"Cycles" in entry.delivery.body
    look.at(500).fill_all()
    assert look.gap is None
    assert len(look.runtime.inbox.read(ACCOUNT, after="0-0", limit=10)) == 1
