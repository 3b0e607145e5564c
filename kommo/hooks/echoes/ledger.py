"""What is known of one entity: the writes whose webhooks are still to come, and what its last webhooks showed.

Kept in Redis as one hash: a field for each write, and `seen` for the rest (see inbox_commit.lua).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kommo.hooks.echoes.shown import Shown, is_member

#: The field of the hash that holds what was seen; the others are writes.
SEEN: Final = "seen"
#: ms after a write within which its webhook is received; Kommo repeats one that failed after 5 and 15 minutes.
LIFE_MS: Final = 2_400_000
#: ms by which the clocks of a receiver, of Redis and of Kommo may differ, and a write may take to be done.
SKEW_MS: Final = 60_000
#: Seconds of an entity's history that are remembered, and contents of one second.
_MOMENTS: Final = 6
_CONTENTS: Final = 8

Names = frozenset[str]


@dataclass
class Pending:
    """A write that was sent. `until` is the second after which its own webhook can only be a late one."""

    at_ms: float
    fields: Mapping[str, Names]
    until: int | None = None
    #: Whether it has explained a webhook in which nothing had changed.
    spent: bool = False

    def is_live(self, received_ms: int, time: int) -> bool:
        """Say whether a delivery received then, of a change at that second, may be its echo."""
        in_time = self.at_ms - SKEW_MS <= received_ms <= self.at_ms + LIFE_MS
        # A write that changed nothing causes no webhook: what somebody else changes minutes later is not its echo.
        in_time = in_time and time * 1000 <= self.at_ms + SKEW_MS
        return in_time and (self.until is None or time <= self.until)

    def to_text(self) -> str:
        """Return what follows the time in the ledger (see echoes_expect.lua)."""
        record: dict[str, Any] = {"f": {name: sorted(accepted) for name, accepted in self.fields.items()}}
        if self.until is not None:
            record["u"] = self.until
        if self.spent:
            record["s"] = 1
        return json.dumps(record, separators=(",", ":"))

    @classmethod
    def from_text(cls, at_ms: float, text: str) -> "Pending":
        record = json.loads(text)
        fields = {name: frozenset(accepted) for name, accepted in record["f"].items()}
        return cls(at_ms, fields, record.get("u"), bool(record.get("s")))


@dataclass
class Moment:
    """What changed in one second: by us, with the exact digest of the value, and by others."""

    own: dict[str, str] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    #: Each content that was shown, and whether it was all ours.
    contents: dict[str, bool] = field(default_factory=dict)
    #: The same for each author, over all that they did.
    authors: dict[str, bool] = field(default_factory=dict)

    def note(self, own: Iterable[str], foreign: Iterable[str], what: Shown, *, is_echo: bool) -> None:
        """Add what one item of this second told."""
        self.own.update({name: what.exact.get(name, "") for name in own})
        self.foreign.update(foreign)
        self.authors[what.author] = is_echo and self.authors.get(what.author, True)
        if len(self.contents) < _CONTENTS:
            self.contents[what.digest] = is_echo

    def has_told(self, author: str) -> bool:
        """Say whether an item without news may be a further report; not every report names its author."""
        return author == "" or not self.authors.keys().isdisjoint({author, ""})


@dataclass
class Entry:
    """The ledger's entry on one entity, or on creations that look alike."""

    pending: dict[str, Pending] = field(default_factory=dict)
    #: Second of the last change that was seen, None while nothing was; then the fields as they were shown.
    time: int | None = None
    exact: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    moments: dict[int, Moment] = field(default_factory=dict)
    _touched: set[str] = field(default_factory=set)

    @classmethod
    def load(cls, stored: Mapping[str, str]) -> "Entry":
        """Read an entry; of an empty mapping, and of one from another version, nothing is known."""
        try:
            return cls._load(stored)
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    @classmethod
    def _load(cls, stored: Mapping[str, str]) -> "Entry":
        entry = cls()
        for name, text in stored.items():
            if name != SEEN:
                at_ms, _, record = text.partition(" ")
                entry.pending[name] = Pending.from_text(float(at_ms), record)
        if SEEN in stored:
            seen = json.loads(stored[SEEN])
            entry.time, entry.exact, entry.aliases = seen["t"], seen["f"], seen["a"]
            entry.moments = {
                time: Moment(own, set(foreign), contents, authors)
                for time, own, foreign, contents, authors in seen["m"]
            }
        return entry

    def changes(self) -> tuple[list[str], dict[str, str]]:
        """Return what to delete and what to write so that the stored entry is this one."""
        gone = sorted(name for name in self._touched if name != SEEN and name not in self.pending)
        written = {name: self._stored(name) for name in sorted(self._touched - set(gone))}
        return gone, written

    def _stored(self, name: str) -> str:
        if name != SEEN:
            pending = self.pending[name]
            return f"{pending.at_ms:.3f} {pending.to_text()}"
        moments = [
            [time, one.own, sorted(one.foreign), one.contents, one.authors] for time, one in self.moments.items()
        ]
        seen = {"t": self.time, "f": self.exact, "a": self.aliases, "m": moments}
        return json.dumps(seen, separators=(",", ":"))

    def live(self, received_ms: int, time: int) -> dict[str, Pending]:
        """Return the writes whose echo may have been received then, oldest first, and forget those of long ago."""
        for name in [name for name, one in self.pending.items() if received_ms > one.at_ms + LIFE_MS]:
            self.consume(name)
        ordered = sorted(self.pending.items(), key=lambda item: item[1].at_ms)
        return {name: one for name, one in ordered if one.is_live(received_ms, time)}

    def consume(self, name: str) -> None:
        """Expect a write no longer."""
        del self.pending[name]
        self._touched.add(name)

    def supersede(self, name: str, time: int) -> None:
        """Expect of a write only what changed up to this second: something newer was seen."""
        self.pending[name].until = time
        self._touched.add(name)

    def spend(self, name: str) -> None:
        """Let a write explain no further webhook in which nothing has changed."""
        self.pending[name].spent = True
        self._touched.add(name)

    def is_late(self, time: int) -> bool:
        """Say whether something newer was seen already."""
        return self.time is not None and time < self.time

    def changed(self, what: Shown) -> Names:
        """Return the fields that differ from what was seen last."""
        differing = {name for name, digest in what.exact.items() if self.exact.get(name) != digest}
        return frozenset(differing | {name for name in self.exact if is_member(name) and name not in what.exact})

    def see(self, what: Shown, time: int, moment: Moment) -> None:
        """Remember an item; a late one leaves what is newer as it is."""
        if not self.is_late(time):
            kept = {name: digest for name, digest in self.exact.items() if not is_member(name)}
            self.time, self.exact = time, {**kept, **what.exact}
            self.aliases = dict(what.aliases)
        moments = {**self.moments, time: moment}
        self.moments = {second: moments[second] for second in sorted(moments)[-_MOMENTS:]}
        self._touched.add(SEEN)
