"""Watch the webhooks: ask each account whether ours is on, mend what the API can mend, note what may be missing.

Kommo switches a webhook off after too many bad answers, and says so only in the list of webhooks and by a notice to
administrators. https://developers.kommo.com/docs/webhooks-general
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

import structlog

from kommo.api.client import Client
from kommo.errors import ApiError, Forbidden, KommoError, PaymentRequired, SettingsError, StoreUnavailable
from kommo.hooks.signature import url_signature
from kommo.hooks.subscription import Address, Sight, sight
from kommo.store.answers import Answers
from kommo.store.gaps import Gaps
from kommo.store.watch import ALL, OFF, State, Watch, Watched
from workers.backfill import BUDGET_SECONDS, Ground, fill
from workers.runtime import Runtime

_log = structlog.get_logger(__name__)
#: Seconds in which an account is asked once, in the whole fleet; beat comes a little less often. With more accounts
#: than seconds it is one account a second, since seven calls a second are all that an address has, for everything.
LOOK_SECONDS: Final = 240
#: Seconds in which one process of the fleet goes round, and for how long: with a Kommo that hangs one look takes 25 s.
ROUND_SECONDS: Final = 240
ROUND_BUDGET_SECONDS: Final = 120.0
#: Seconds between two attempts to register a webhook that is off, and one that lacks events.
REGISTER_SECONDS: Final = 900
EXTEND_SECONDS: Final = 86_400
#: Seconds between two lines about a webhook that is off, and about one that cannot be asked for.
SAY_SECONDS: Final = 3600
SAY_UNSEEN_SECONDS: Final = 86_400
#: The same about a webhook of ours that leads elsewhere.
SAY_ELSEWHERE_SECONDS: Final = 86_400
#: How long before a webhook was last seen to be on something may be missing: Kommo's last repetition comes 1 h 35 min
#: after a delivery, and with the webhook off it does not come.
BEFORE_SECONDS: Final = 100 * 60
#: How long after it is on again: what was under way, and clocks that differ.
AFTER_SECONDS: Final = 120
#: The same when there was no receiver: for lateness alone, since what failed is still repeated.
BEFORE_AWAY_SECONDS: Final = 300
#: Seconds in which one chore fills gaps: it has a thread of the pool meanwhile, and the next one goes on.
FILL_SECONDS: Final = 180.0
_PERSON: Final = "a person has to enable it in Kommo, under its webhooks"


class Mended(NamedTuple):
    """What was seen after mending, and why it could not be mended."""

    seen: Sight
    reason: str = ""


@dataclass(frozen=True)
class Watching:
    """What looking at webhooks stands on."""

    runtime: Runtime
    watch: Watch
    gaps: Gaps
    answers: Answers
    clock: Callable[[], float] = time.time

    @classmethod
    def of(cls, runtime: Runtime, *, clock: Callable[[], float] = time.time) -> "Watching":
        """Make it from a process's parts."""
        redis, keys = runtime.redis, runtime.keys
        return cls(runtime, Watch(redis, keys), Gaps(redis, keys), Answers(redis), clock)

    def look_at_all(self) -> int:
        """Look at each account's webhook whose turn it is, for as long as there is time; say how many were looked at.

        One process of the fleet does so at a time. Whoever was not looked at comes first the next time.
        """
        if not self.watch.turn(ALL, "round", ROUND_SECONDS):
            return 0
        ends, served, looked = time.monotonic() + ROUND_BUDGET_SECONDS, list(_served(self.runtime)), 0
        self._forget_gone(served)
        self._note_times_away(served)
        for account_id in self.watch.by_last_look(served):
            if self.runtime.stopping.is_set() or time.monotonic() >= ends:
                break
            if self.watch.turn(account_id, "look", max(LOOK_SECONDS, len(served))):
                self.watch.looked(account_id, int(self.clock()))
                self.look(account_id)
                looked += 1
        return looked

    def fill_all(self) -> None:
        """Fill the gaps of all accounts, as far as there is time."""
        runtime = self.runtime
        stopping = runtime.stopping.is_set
        ground = Ground(
            self.gaps, runtime.inbox, partial(_unhurried, runtime), runtime.waker.wake, stopping, self.clock
        )
        ends, served = time.monotonic() + FILL_SECONDS, list(_served(runtime))
        random.shuffle(served)  # so that no long gap always comes first
        for account_id in served:
            left = ends - time.monotonic()
            if stopping() or left <= 0:
                return
            fill(ground, account_id, runtime.token(), budget=min(left, BUDGET_SECONDS))

    def look(self, account_id: int) -> None:
        """Ask for an account's webhook, mend it, and write down how it stands; only Redis being away is raised."""
        before, now = self.watch.get(account_id), int(self.clock())
        try:
            address = self._address(account_id)
            seen = self._seen(address)
            self._say_elsewhere(account_id, seen)
            if seen.is_on:
                mended = self._extended(address, seen, before)
            else:
                self._miss(account_id, seen, before)
                mended = self._registered(address, seen, before)
        except StoreUnavailable:
            raise
        except (Forbidden, PaymentRequired) as error:
            self._note_unseen(account_id, before, str(error), now)
        except KommoError as error:
            _log.warning("webhook not looked at", account=account_id, error=str(error))
        else:
            self._note(account_id, before, mended, now)

    # What is seen, and what is done about it

    def _address(self, account_id: int) -> Address:
        proof = self.runtime.accounts.proof(account_id)
        signatures = [url_signature(secret, proof.client_id, account_id) for secret in proof.secrets if secret]
        return Address(account_id, self.runtime.settings.public_url, signatures)

    def _seen(self, address: Address) -> Sight:
        return sight(_unhurried(self.runtime, address.account_id).webhooks.list(), address)

    def _miss(self, account_id: int, seen: Sight, before: Watched | None) -> None:
        """Note that deliveries may be missing since a webhook that was on is off; nothing was promised before."""
        if before and before.good_at and before.state not in OFF:
            why = "the webhook was switched off" if seen.destination else "the webhook was gone"
            since = max(before.first_at, before.good_at - BEFORE_SECONDS)
            self.gaps.open(account_id, since=since, until=None, why=why)

    def _registered(self, address: Address, seen: Sight, before: Watched | None) -> Mended:
        """Register a webhook that is off, which may switch it on; not one that this program has never seen."""
        account_id = address.account_id
        if not seen.destination and not (before and before.good_at):
            return Mended(seen)
        if not address.url:
            return Mended(seen, "it cannot be registered: KOMMO_PUBLIC_URL or the client's secret is not known here")
        if not self.watch.turn(account_id, "register", REGISTER_SECONDS):
            return Mended(seen, before.reason if before else "")
        return self._register(address, seen, _PERSON if seen.destination else "it cannot be registered")

    def _extended(self, address: Address, seen: Sight, before: Watched | None) -> Mended:
        """Register a webhook again that gets fewer events than it should; once a day, since Kommo may not offer all."""
        lacking = seen.lacking(self.runtime.settings.webhook_events)
        if not lacking or not address.url or (before and set(lacking) <= set(before.lacking)):
            return Mended(seen)
        if not self.watch.turn(address.account_id, "extend", EXTEND_SECONDS):
            return Mended(seen)
        return self._register(address, seen, "")

    def _register(self, address: Address, seen: Sight, failed: str) -> Mended:
        """Register and look again: that a POST is answered well does not say that the webhook is on."""
        wanted = dict.fromkeys((*self.runtime.settings.webhook_events, *sorted(seen.events)))
        destination = seen.destination or address.url
        webhooks = _unhurried(self.runtime, address.account_id).webhooks
        try:
            webhooks.register(destination, list(wanted))
        except ApiError as error:
            return Mended(seen, str(error))
        after = self._seen(address)
        _log.info("webhook registered again", account=address.account_id, is_on=after.is_on)
        return Mended(after, "" if after.is_on else failed)

    # What is written down

    def _note(self, account_id: int, before: Watched | None, mended: Mended, now: int) -> None:
        seen, known = mended.seen, before or Watched("missing", now)
        state: State = "on" if seen.is_on else "disabled" if seen.destination else "missing"
        lacking = seen.lacking(self.runtime.settings.webhook_events) if seen.is_on else ()
        since = known.since if known.state == state else now
        good_at, first_at = (now, known.first_at or now) if seen.is_on else (known.good_at, known.first_at)
        after = Watched(state, since, good_at, first_at, mended.reason, lacking)
        if seen.is_on and self.gaps.shut(account_id, until=int(self.clock()) + AFTER_SECONDS):
            _log.warning("webhook is on again; what was not told meanwhile is looked for", account=account_id)
        self.watch.note(account_id, after)
        self._say(account_id, before, after)

    def _say(self, account_id: int, before: Watched | None, after: Watched) -> None:
        """Say loudly what no delivery comes of; a webhook that never was registered is nobody's trouble."""
        if after.state == "on":
            if after.lacking and (before is None or before.lacking != after.lacking):
                _log.warning("webhook does not get all events", account=account_id, lacking=list(after.lacking))
            return
        if (after.good_at or after.state == "disabled") and self.watch.turn(account_id, "say", SAY_SECONDS):
            sentence = "webhook is switched off by Kommo" if after.state == "disabled" else "webhook is gone from Kommo"
            _log.error(f"{sentence}: no deliveries come", account=account_id, remedy=after.reason or _PERSON)

    def _say_elsewhere(self, account_id: int, seen: Sight) -> None:
        """Say that the account's deliveries go to another address too: what carries no time runs twice."""
        if seen.elsewhere and self.watch.turn(account_id, "say elsewhere", SAY_ELSEWHERE_SECONDS):
            _log.warning(
                "a webhook of ours leads to another address as well",
                account=account_id,
                destinations=list(seen.elsewhere),
                remedy="remove it in Kommo, unless a fleet there is to get the deliveries too",
            )

    def _note_unseen(self, account_id: int, before: Watched | None, reason: str, now: int) -> None:
        """Write down that the list may not be read; what was known of the webhook stays."""
        known = before or Watched("unseen", now)
        if known.state not in OFF:
            since = known.since if known.state == "unseen" else now
            known = replace(known, state="unseen", since=since, reason=reason)
            self.watch.note(account_id, known)
        if self.watch.turn(account_id, "say unseen", SAY_UNSEEN_SECONDS):
            _log.warning("webhook cannot be asked for", account=account_id, error=reason)

    def _note_times_away(self, served: list[int]) -> None:
        """Note what may be missing since there was no receiver: Kommo tries a refused connection for 20 minutes."""
        for away in self.answers.away():
            since, until = away
            for account_id in served:
                known = self.watch.get(account_id)
                if known and known.good_at:
                    begins, ends = max(known.first_at, since - BEFORE_AWAY_SECONDS), until + AFTER_SECONDS
                    if begins < ends:
                        self.gaps.open(account_id, since=begins, until=ends, why="no receiver was there")
            _log.warning("no receiver was there", since=since, until=until)
            self.answers.seen_to(away)

    def _forget_gone(self, served: list[int]) -> None:
        """Forget accounts that were removed or have disconnected: until they come back, nothing is promised."""
        for account_id in self.watch.all().keys() - set(served):
            if _is_gone(self.runtime, account_id):
                self.watch.forget(account_id)
                self.gaps.forget(account_id)


def _unhurried(runtime: Runtime, account_id: int) -> Client:
    """Give a client whose calls take turns with the writes that wait: there may be thousands, and nobody waits."""
    turnstile = runtime.clients.turnstile(account_id, urgent=False)
    return Client(runtime.clients.caller(account_id, turnstile), account_id=account_id)


def _is_gone(runtime: Runtime, account_id: int) -> bool:
    try:
        account = runtime.accounts.get(account_id)
    except SettingsError:  # it is there, though nobody here can open it
        return False
    return account is None or account.state == "disconnected"


def _served(runtime: Runtime) -> Iterator[int]:
    """Name the accounts whose API can be called: that of the environment, and those that are stored and ready."""
    stored = runtime.accounts.ids()
    own = runtime.accounts.environment()
    if own and own.account_id not in stored:
        yield own.account_id
    for account_id in stored:
        with suppress(SettingsError):
            account = runtime.accounts.get(account_id)
            if account and account.state == "ready" and account.access_token:
                yield account_id
