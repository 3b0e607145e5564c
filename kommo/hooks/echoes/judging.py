"""Tell the webhooks that our own writes caused from those that somebody else did.

A webhook carries the whole entity and not what changed (https://developers.kommo.com/docs/webhooks-general). What
changed is what differs from the last webhook of the entity, where there was one within the hour; else what the `old_*`
values say. A change is ours if a write of the last minutes asked for it. In doubt an event runs.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from kommo.hooks.echoes import values
from kommo.hooks.echoes.cases import STAGE, UPDATES, Case
from kommo.hooks.echoes.ledger import LIFE_MS, Entry, Moment, Names, Pending
from kommo.hooks.echoes.shown import Shown
from kommo.hooks.events import Event

#: Ledger entries by their subject.
Ledger = MutableMapping[str, Entry]

#: What Kommo itself changes along with a field.
_IMPLIED: Final[Mapping[str, Names]] = {
    "status_id": frozenset({"closed_at", "date_close", "loss_reason_id"}),
    "pipeline_id": frozenset({"status_id", "closed_at", "date_close", "loss_reason_id"}),
    "responsible_user_id": frozenset({"group_id", "main_user_id"}),
    "first_name": frozenset({"name"}),
    "last_name": frozenset({"name"}),
    "name": frozenset({"first_name", "last_name"}),
    "linked_company_id": frozenset({"company_name"}),
}

#: Stands for a change of which the item shows nothing.
_NOTHING_SEEN: Final = frozenset({""})


@dataclass(frozen=True)
class _Finding:
    """What one item tells anew: fields that we wrote, fields that changed otherwise."""

    own: Names = frozenset()
    foreign: Names = frozenset()

    def verdict(self, moment: Moment, author: str) -> bool:
        """Say whether all of it is ours; what tells nothing new is judged as what its author did in this second."""
        if self.own or self.foreign:
            return not self.foreign
        return moment.authors.get(author, bool(moment.own) and not moment.foreign)


def judge(ledger: Ledger, case: Case, received_ms: int) -> Event:
    """Return the event, marked if it is an echo; take from the ledger what it used, and note what it showed.

    `received_ms` is when its delivery was received, so that waiting in the inbox makes no difference. A task that we
    closed while somebody else changed it, too, is `task.updated`.
    """
    event, what = case.event, case.what
    entry = ledger[case.subjects[0]]
    if event.occurred_at is None:
        return _as_echo(event, is_echo=_is_timeless_echo(entry, what, received_ms))
    time = int(event.occurred_at.timestamp())
    moment = entry.moments.get(time)
    if moment is not None and what.digest in moment.contents:
        return _marked(case, _Finding(), moment, is_echo=moment.contents[what.digest])
    if event.type in UPDATES:
        finding = _change(entry, case, time, received_ms)
    else:
        creations = [] if moment else [ledger[subject] for subject in case.subjects[1:]]
        finding = _addition(creations, what, time, received_ms)
    moment = moment or Moment()
    is_echo = finding.verdict(moment, what.author)
    moment.note(finding.own, finding.foreign, what, is_echo=is_echo)
    entry.see(what, time, moment)
    return _marked(case, finding, moment, is_echo=is_echo)


def _marked(case: Case, finding: _Finding, moment: Moment, *, is_echo: bool) -> Event:
    event, about = case.event, case.about
    is_ours = None if about is None else _is_ours(about, case.what, finding, moment)
    if is_ours and not is_echo and event.type == "task.completed":
        return replace(event, type="task.updated")
    return _as_echo(event, is_echo=is_echo if is_ours is None else is_ours)


def _as_echo(event: Event, *, is_echo: bool) -> Event:
    return replace(event, is_echo=True) if is_echo else event


def _is_ours(about: Names, what: Shown, finding: _Finding, moment: Moment) -> bool | None:
    """Say who changed these fields; None if nobody did."""
    if about & finding.foreign:
        return False
    own = about & moment.own.keys()
    if own and all(moment.own[name] == what.exact.get(name, "") for name in own):
        return True
    return False if about & moment.foreign else None


def _change(entry: Entry, case: Case, time: int, received_ms: int) -> _Finding:
    """Compare an item with the last one of its entity, or else with its own old values, and with what was written."""
    what = case.what
    live = entry.live(received_ms, time)
    if entry.time is None or entry.is_late(time):
        own = _consume(entry, live, what, None, time) or _untold(entry, live, what, case.previous)
        return _Finding(own, case.previous - _implied(own))
    changed = entry.changed(what)
    if changed:
        own = _consume(entry, live, what, changed, time)
        return _Finding(own, changed - _implied(own))
    moment = entry.moments.get(time)
    if moment is not None and moment.has_told(what.author):
        return _Finding()
    own = _unchanged(entry, live, what, time)
    return _Finding(own, frozenset() if own else _NOTHING_SEEN)


def _consume(entry: Entry, live: Mapping[str, Pending], what: Shown, changed: Names | None, time: int) -> Names:
    """Take the writes that an item shows, each once; return their fields as far as they show."""
    own: set[str] = set()
    taken: list[str] = []
    shown = {name: _Fields.of(pending, what, entry, changed) for name, pending in live.items()}
    for position, (name, fields) in enumerate(shown.items()):
        news = fields.right if changed is None else fields.right & changed
        # What shows something else was overwritten since, by somebody or by a newer write of ours.
        overwritten = (changed or frozenset()).union(*(newer.right for newer in list(shown.values())[position + 1 :]))
        if news and not news <= own and fields.wrong <= overwritten:
            own |= fields.right
            taken.append(name)
    for name in taken:
        _supersede_older(entry, live, name, time)
    for name in taken:
        entry.consume(name)
    return frozenset(own)


def _supersede_older(entry: Entry, live: Mapping[str, Pending], name: str, time: int) -> None:
    """What an older write put into the same field was overwritten: Kommo may tell of both in one."""
    newer = live[name]
    for other, pending in live.items():
        if pending.at_ms < newer.at_ms and pending.fields.keys() & newer.fields.keys():
            entry.supersede(other, time)


def _unchanged(entry: Entry, live: Mapping[str, Pending], what: Shown, time: int) -> Names:
    """Find the write that changed nothing, because the values were there already or Kommo made others of them."""
    for name, pending in live.items():
        fields = _Fields.of(pending, what, entry, frozenset())
        if fields.right and not fields.wrong:
            _supersede_older(entry, live, name, time)
            entry.consume(name)
            return fields.right
    for name, pending in live.items():
        if not pending.spent:
            entry.spend(name)
            return frozenset(pending.fields) or _NOTHING_SEEN
    return frozenset()


def _untold(entry: Entry, live: Mapping[str, Pending], what: Shown, previous: Names) -> Names:
    """Find the write of which no webhook of this kind tells anything: a link, a task's duration."""
    for name, pending in live.items():
        fields = _Fields.of(pending, what, entry, None)
        if not (previous or pending.spent or fields.right or fields.wrong):
            entry.spend(name)
            return _NOTHING_SEEN
    return frozenset()


@dataclass(frozen=True)
class _Fields:
    """The fields of a write that an item shows as they were written, and those that it shows otherwise."""

    right: Names
    wrong: Names

    @classmethod
    def of(cls, pending: Pending, what: Shown, entry: Entry, changed: Names | None) -> "_Fields":
        right: set[str] = set()
        wrong: set[str] = set()
        for written, accepted in pending.fields.items():
            name = what.aliases.get(written) or entry.aliases.get(written) or written
            if values.CHANGED in accepted:
                right |= {name} & (changed or frozenset())
                continue
            matches = what.matches(name, accepted)
            if matches is not None:
                (right if matches else wrong).add(name)
        if changed and "tags" in pending.fields:
            right.update(name for name in changed if name.startswith("tag"))
        return cls(frozenset(right), frozenset(wrong))


def _implied(own: Names) -> Names:
    """Return the fields that we changed, with those that Kommo changes along."""
    return own.union(*(_IMPLIED[name] for name in own & _IMPLIED.keys()))


def _addition(creations: Sequence[Entry], what: Shown, time: int, received_ms: int) -> _Finding:
    """Find the creation of which a new entity shows all values."""
    for entry in creations:
        for name, pending in entry.live(received_ms, time).items():
            fields = _Fields.of(pending, what, entry, None)
            if fields.right and not fields.wrong:
                entry.consume(name)
                return _Finding(own=fields.right)
    return _Finding()


def _is_timeless_echo(entry: Entry, what: Shown, received_ms: int) -> bool:
    """Judge a stage from the Digital Pipeline, which is told without a time, besides the account's own webhook.

    It uses up nothing: the other may come later. https://developers.kommo.com/docs/webhooks-dp
    """
    for pending in entry.live(received_ms, received_ms // 1000).values():
        stage = Pending(pending.at_ms, {name: pending.fields[name] for name in STAGE & pending.fields.keys()})
        fields = _Fields.of(stage, what, entry, None)
        if fields.right and not fields.wrong:
            return True
    for time in sorted(entry.moments, reverse=True):
        moment = entry.moments[time]
        if STAGE & (moment.own.keys() | moment.foreign):
            is_recent = received_ms <= time * 1000 + LIFE_MS
            return is_recent and bool(_is_ours(STAGE, what, _Finding(), moment))
    return False
