"""Drain: take an account's deliveries in order, decode and normalise them, put their events into lanes."""

import time
import traceback
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from kommo.errors import DecodeError, named
from kommo.hooks.events import Event
from kommo.queue import LOOPS
from kommo.store.dead import DeadLetter
from kommo.store.echoes import Judging
from kommo.store.inbox import QUEUE, Batch, Delivery, Entry, RoutedEvent
from kommo.store.lanes import QUEUE as LANES
from kommo.store.stories import life_seconds
from workers.loop import TURN_SECONDS, Loop, serve_accounts
from workers.routing import events_of, steps_of
from workers.runtime import Runtime

_log = structlog.get_logger(__name__)
#: Deliveries that go through one script together, and events and steps after which it gets no more: while it runs,
#: Redis does nothing else.
_BATCH: Final = 32
_BATCH_STEPS: Final = 500
#: Types of events that one log line names: what a body calls its entities is part of it.
_EVENTS_LOGGED: Final = 20
#: How long an account stays with its drain unless the next batch renews it, in ms. After a death the account stands
#: still for as long. Two drains at once do no harm: the cursor lets only one of them through.
_HOLD_MS: Final = 3_000


def drain(runtime: Runtime) -> None:
    """Drain the accounts that have deliveries."""
    serve_accounts(runtime, Loop(QUEUE, partial(_drain_account, runtime), hold_ms=_HOLD_MS))


def _drain_account(runtime: Runtime, account_id: int, _more: int) -> None:
    turn_ends = time.monotonic() + TURN_SECONDS
    cursor = runtime.inbox.cursor(account_id)
    while True:
        entries, kinds_written = runtime.inbox.read_to_drain(account_id, after=cursor, limit=_BATCH)
        batch = _batch(runtime, account_id, cursor, entries, kinds_written)
        last = time.monotonic() >= turn_ends or runtime.stopping.is_set()
        committed = runtime.inbox.commit(batch, hold_ms=0 if last else _HOLD_MS)
        if committed.wake:
            runtime.waker.wake(LOOPS[LANES])
        if not committed.moved:
            _log.info("another drain was faster", account=account_id)
            return
        cursor = batch.new_cursor
        if last or not committed.more:
            return


@dataclass(frozen=True)
class _Decoded:
    """A delivery and its events, or the dead letter that it became."""

    entry: Entry
    events: Sequence[Event] = ()
    dead: DeadLetter | None = None


def _batch(
    runtime: Runtime, account_id: int, cursor: str, entries: Sequence[Entry], kinds_written: Collection[str]
) -> Batch:
    """Make a batch of as many entries as one script should take, at least one."""
    decoded = _decoded(entries)
    judging = runtime.echoes.judging(account_id, [event for one in decoded for event in one.events], kinds_written)
    events: list[RoutedEvent] = []
    dead: list[DeadLetter] = []
    steps, new_cursor = 0, cursor
    for one in decoded:
        routed, letter = _routed(runtime, one, judging)
        events += routed
        dead += [letter] if letter else []
        steps += sum(len(event.steps) + 1 for event in routed)
        new_cursor = one.entry.stream_id
        if steps >= _BATCH_STEPS:
            break
    story_seconds = life_seconds(runtime.settings.retention)
    return Batch(account_id, cursor, new_cursor, events, dead, judging.changes(), story_seconds)


def _decoded(entries: Sequence[Entry]) -> list[_Decoded]:
    """Decode entries up to as many events as a batch may have."""
    decoded: list[_Decoded] = []
    found = 0
    for entry in entries:
        if found >= _BATCH_STEPS:
            break
        try:
            one = _Decoded(entry, events_of(entry.delivery))
        except Exception as error:  # an undecodable delivery, or a fault of ours: neither may stop the account
            one = _Decoded(entry, dead=_dead_letter(entry.delivery, error))
        decoded.append(one)
        found += len(one.events)
    return decoded


def _routed(runtime: Runtime, one: _Decoded, judging: Judging) -> tuple[list[RoutedEvent], DeadLetter | None]:
    if one.dead:
        return [], one.dead
    delivery = one.entry.delivery
    try:
        judged = [judging.judged(event, delivery.received_ms) for event in one.events]
        routed = [_routed_event(runtime, one.entry, event) for event in judged]
    except Exception as error:  # a fault of ours
        return [], _dead_letter(delivery, error)
    _log.info(
        "drained",
        delivery=delivery.id,
        account=delivery.account_id,
        events=[event.type for event in judged[:_EVENTS_LOGGED]],
        more=max(0, len(judged) - _EVENTS_LOGGED),
        steps=sum(len(event.steps) for event in routed),
        echoes=sum(event.is_echo for event in routed),
    )
    return routed, None


def _routed_event(runtime: Runtime, entry: Entry, event: Event) -> RoutedEvent:
    steps = steps_of(runtime.router, event, entry.stream_id)
    return RoutedEvent(event.id, entry.stream_id, steps, event.is_echo, entry.delivery.id)


def _dead_letter(delivery: Delivery, error: Exception) -> DeadLetter:
    expected = isinstance(error, DecodeError)
    reason = error.reason if isinstance(error, DecodeError) else "normalising_failed"
    _log.log(
        30 if expected else 40,
        "delivery is a dead letter",
        delivery=delivery.id,
        account=delivery.account_id,
        reason=reason,
        error=named(error) if expected else type(error).__name__,
    )
    return DeadLetter(
        id=delivery.id,
        kind="delivery",
        account_id=delivery.account_id,
        reason=reason,
        error=named(error),
        at_ms=time.time_ns() // 1_000_000,
        delivery_id=delivery.id,
        traceback="" if expected else "".join(traceback.format_exception(error)),
        body=delivery.body,
        content_type=delivery.content_type,
    )
