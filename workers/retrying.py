"""Retrying dead letters: what goes back into which queue, and when it cannot."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from kommo.api.bulk import kind_of
from kommo.api.doubt import search_for
from kommo.api.writes import Write
from kommo.errors import KommoError, named
from kommo.hooks.events import Event
from kommo.hooks.normalise import normalise
from kommo.queue import LOOPS
from kommo.store.dead import DeadLetter, KeptLetter
from kommo.store.fleet import LIFE_MS, Fleet
from kommo.store.inbox import Delivery, Inbox, Step
from kommo.store.lanes import AskedWrite
from kommo.store.outbox import ALONE, DOUBTFUL, FAILED, RESULT_SECONDS, Outbox, item_of
from kommo.store.returns import Back, DeliveryBack, Returns, StepBack, WriteBack

#: Reasons with which a creation may have been done all the same.
_MAYBE_DONE: Final = frozenset({"in_doubt", "sending_failed", "crashed", "attempts_exhausted"})


class CannotRetry(KommoError):
    """A dead letter cannot go back; says why, and what can be done instead."""


@dataclass(frozen=True)
class Retrying:
    """The way back for dead letters, of those who work with the same Redis as the fleet."""

    inbox: Inbox
    outbox: Outbox
    fleet: Fleet
    returns: Returns
    wake: Callable[[str], None]
    #: The writes that went back; what needs them may go back after them.
    _returned: set[str] = field(default_factory=set, init=False)

    def retry(self, kept: KeptLetter, *, force: bool = False) -> bool:
        """Put a letter's work back; False when somebody else has taken the letter meanwhile.

        `force` sends back what only seems to be in vain, or might be done twice. Raises CannotRetry.
        """
        letter = kept.letter
        back: Back
        if letter.kind == "step":
            back = self._step(letter, force=force)
        elif letter.kind == "write":
            back = self._write(letter, force=force)
        else:
            back = self._delivery(letter, force=force)
        put = self.returns.put_back(kept, back)
        if put.done and isinstance(back, WriteBack):
            self._returned.add(back.write_id)
        if put.wake:
            self.wake(LOOPS[back.queue])
        return put.done

    def _step(self, letter: DeadLetter, *, force: bool) -> StepBack:
        if letter.reason == "handler_gone" and not force and not self._is_known(letter.handler):
            raise CannotRetry(
                f"no living worker knows the handler {letter.handler}: start one that does, or --force, and it waits "
                "for one"
            )
        return step_of(letter)

    def _is_known(self, handler: str) -> bool:
        unseen = self.fleet.handler_unseen_ms(handler)
        return unseen is not None and unseen <= LIFE_MS

    def _write(self, letter: DeadLetter, *, force: bool) -> WriteBack:
        write = write_of(letter)
        self._check_needs(write)
        doubtful = _may_be_done(letter, write)
        if doubtful:
            # It says when to look from: what was made then has to be found.
            write = replace(write, on_doubt="look" if write.on_doubt == "park" else write.on_doubt)
        else:
            write = replace(write, asked_at=datetime.now(UTC))
        if letter.reason == "in_doubt" and not force and (write.on_doubt == "repeat" or search_for(write) is None):
            raise CannotRetry(
                "nobody knows whether Kommo has done it, and it cannot be looked for: look in Kommo yourself, then "
                "drop it, or --force to send it again"
            )
        kind = kind_of(write).removeprefix(ALONE)
        item = item_of(f"{DOUBTFUL if doubtful else ALONE}{kind}", json.dumps(write.to_record()).encode())
        return WriteBack(AskedWrite(write.chain, item), write.id)

    def _check_needs(self, write: Write) -> None:
        results = self.outbox.results(write.account_id, write.needs)
        age = (datetime.now(UTC) - write.asked_at).total_seconds()
        for needed in write.needs:
            if results.get(needed) == FAILED:
                raise CannotRetry(f"it needs the result of the write {needed}, which has failed: retry that one first")
            if needed not in results and needed not in self._returned and age > RESULT_SECONDS:
                raise CannotRetry(
                    f"the result of the write {needed} that it needs is not known any more: make the change in Kommo "
                    "yourself, then drop it"
                )

    def _delivery(self, letter: DeadLetter, *, force: bool) -> DeliveryBack:
        try:
            events_of(letter)
        except Exception as error:  # undecodable still, or a fault of ours that is still there
            if not force:
                raise CannotRetry(
                    f"this version cannot read it either: {named(error)}. --force puts it back all the same"
                ) from error
        entries = self.inbox.find(letter.delivery_id, [letter.account_id])
        entries = [entry for entry in entries if entry.delivery.id == letter.delivery_id]
        received_ms = entries[0].delivery.received_ms if entries else letter.at_ms
        delivery = Delivery(letter.delivery_id, letter.account_id, letter.body, letter.content_type, received_ms)
        return DeliveryBack(delivery, [entry.stream_id for entry in entries])


def events_of(letter: DeadLetter) -> list[Event]:
    """Give the events of a dead delivery as this version reads them; raises DecodeError."""
    return normalise(
        letter.body, content_type=letter.content_type, account_id=letter.account_id, delivery_id=letter.delivery_id
    )


def step_of(letter: DeadLetter) -> StepBack:
    """Give a dead step as it lay in its lane; raises CannotRetry when this version cannot read it."""
    try:
        lane = letter.item["chain" if letter.body else "lane"]
        item: dict[str, Any] = json.loads(letter.body) if letter.body else _without_lane(letter.item)
        Event.from_record(item["event"])
        return StepBack(Step(str(lane), _compact(item)), str(item["stream"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CannotRetry(_UNREADABLE.format(named(error))) from error


def write_of(letter: DeadLetter) -> Write:
    """Give a dead write; raises CannotRetry when this version cannot read it."""
    try:
        return Write.from_record(json.loads(_record_in(letter.body)) if letter.body else letter.item)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CannotRetry(_UNREADABLE.format(named(error))) from error


_UNREADABLE: Final = (
    "this version cannot read how it was stored ({}): retry it with the version that stored it, or read the bytes with "
    "`kommo dead show` and drop it"
)


def _record_in(item: bytes) -> bytes:
    """What follows the kind of an item; one that was stored before there were kinds is its record alone."""
    kind, _, record = item.partition(b"\n")
    return record or kind.lstrip(f"{ALONE}{DOUBTFUL}".encode())


def _may_be_done(letter: DeadLetter, write: Write) -> bool:
    return write.action == "create" and (letter.reason in _MAYBE_DONE or letter.body.startswith(DOUBTFUL.encode()))


def _without_lane(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != "lane"}


def _compact(item: Mapping[str, Any]) -> bytes:
    """Write a step as a drain does: a runner that cannot read it still finds its stream id."""
    return json.dumps(item, separators=(",", ":")).encode()
