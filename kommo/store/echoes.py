"""What was written lately, so that the webhooks that it causes are recognised.

A write is noted before it is sent: its webhook may be faster than its answer. What a drain takes from the ledger goes
through the script that moves its cursor (inbox_commit.lua), so that one that dies or comes too late has taken nothing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from redis import Redis

from kommo.hooks.echoes import Case, Entry, Pending, case_of, expectations, judge, kind_of
from kommo.hooks.events import Event
from kommo.store.connection import translated
from kommo.store.keys import Keys
from kommo.store.scripts import Call, Scripts

#: Seconds for which an entity's entry lives, and an account counts as one that writes. An echo is only believed for
#: some minutes of these (LIFE_MS in kommo/hooks/echoes/ledger.py).
LIFE_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class Expected:
    """What `expect` noted for one request; empty when its webhooks tell nothing."""

    account_id: int
    request: str
    subjects: Sequence[str]


@dataclass(frozen=True, slots=True)
class EntryChange:
    """What a drain changes in one entry of the ledger: fields to drop and fields to write."""

    subject: str
    gone: Sequence[str]
    written: Mapping[str, str]


class Echoes:
    """The ledger of own writes of all accounts."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._scripts = Scripts(redis)

    def expect(self, account_id: int, method: str, path: str, json: object) -> Expected:
        """Note what a request is about to change, in one round trip; a request that changes nothing costs none.

        Raises:
            StoreUnavailable: Redis is away. Without Redis no call is made either.
        """
        found = expectations(method, path, json)
        expected = Expected(account_id, uuid4().hex[:12], [one.subject for one in found])
        if not found:
            return expected
        kinds = sorted({one.kind for one in found})
        shown = [Pending(0, one.fields).to_text() for one in found]
        keys = [entry_key(self._keys, account_id), *self._subject_keys(expected)]
        args: list[str | int | bytes] = [expected.request, LIFE_SECONDS, len(kinds), *kinds, *shown]
        self._scripts.run(Call("echoes_expect", keys, args))
        return expected

    def withdraw(self, expected: Expected) -> None:
        """Expect nothing of a request that Kommo has refused; raises StoreUnavailable."""
        if expected.subjects:
            self._scripts.run(Call("echoes_withdraw", self._subject_keys(expected), [expected.request]))

    def load(self, account_id: int, subjects: Iterable[str]) -> dict[str, Entry]:
        """Read entries of the ledger in one round trip; one on which nothing is known is empty."""
        wanted = list(dict.fromkeys(subjects))
        if not wanted:
            return {}
        with translated():
            pipe = self._redis.pipeline(transaction=False)
            for subject in wanted:
                pipe.hgetall(entry_key(self._keys, account_id, subject))
            stored: list[dict[bytes, bytes]] = pipe.execute()
        return {subject: _entry(fields) for subject, fields in zip(wanted, stored, strict=True)}

    def judging(self, account_id: int, events: Sequence[Event], kinds: Collection[str]) -> "Judging":
        """Read what is needed to judge the events of a batch; nothing for an account that has not written these kinds.

        `kinds` are those that it wrote within the last hour (`Inbox.read_to_drain`).
        """
        # By identity: two reports of one change are equal and show different things.
        cases = {id(event): case_of(event) for event in events if kinds and kind_of(event) in kinds}
        subjects = [subject for case in cases.values() if case for subject in case.subjects]
        return Judging(cases, self.load(account_id, subjects))

    def _subject_keys(self, expected: Expected) -> list[str]:
        return [entry_key(self._keys, expected.account_id, subject) for subject in expected.subjects]


def entry_key(keys: Keys, account_id: int, *subject: str) -> str:
    """Name the key of an entry; without a subject, that of the kinds which the account writes."""
    return keys.of_account(account_id, "echoes", *subject)


class Judging:
    """The events of one batch and the ledger: what one event takes from it, the next one does not find."""

    def __init__(self, cases: Mapping[int, Case | None], ledger: dict[str, Entry]) -> None:
        self._cases = cases
        self._ledger = ledger

    def judged(self, event: Event, received_ms: int) -> Event:
        """Return an event of the batch, marked if it is an echo; in the order of the deliveries."""
        case = self._cases.get(id(event))
        return judge(self._ledger, case, received_ms) if case else event

    def changes(self) -> list[EntryChange]:
        """Return what has to be changed in the ledger together with the cursor."""
        changed = ((subject, entry.changes()) for subject, entry in self._ledger.items())
        return [EntryChange(subject, gone, written) for subject, (gone, written) in changed if gone or written]


def _entry(fields: Mapping[bytes, bytes]) -> Entry:
    return Entry.load({name.decode(): value.decode() for name, value in fields.items()})
