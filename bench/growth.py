"""Benchmark of growth: what an event costs with a thousand, a hundred thousand and a million waiting."""

import time
from collections.abc import Callable, Iterator
from threading import Timer
from typing import Any, Final

from redis import Redis

from bench.results import Result
from bench.surroundings import ACCOUNT, Surroundings
from kommo import Router, log
from kommo.settings import Settings
from kommo.store.inbox import Batch, Delivery, Inbox, RoutedEvent, Step
from kommo.store.keys import Keys
from kommo.store.lanes import Lanes
from workers.drain import drain
from workers.run import run
from workers.runtime import Gates, Runtime, capacity_of_threads

router = Router()
SIZES: Final = (1_000, 100_000, 1_000_000)
#: Seconds for which a loop is watched at most.
_WATCHED: Final = 4.0
_TOGETHER: Final = 500
_ROUNDS: Final = 3


@router.on("lead.updated")
def handled(_event: Any, _kommo: Any) -> None:
    """Do nothing: what is measured is what comes around it."""


def growth() -> Iterator[Result]:
    """Time of one event in drain and in run, one loop in this process, with ever more deliveries or steps waiting."""
    for what, fill, loop, counter in (("drain", _fill_inbox, drain, "events"), ("run", _fill_lanes, run, "steps_done")):
        costs: dict[int, float] = {}
        for size in SIZES:
            costs[size] = min(_cost(size, fill, loop, counter) for _ in range(_ROUNDS if size < SIZES[-1] else 1))
            yield Result(f"{what}, {size:,} waiting: µs an event", costs[size])
        yield Result(f"{what}: growth", costs[SIZES[-1]] / costs[SIZES[0]], at_most=1.3)


def _cost(size: int, fill: Callable[[Redis, int], None], loop: Callable[[Runtime], None], counter: str) -> float:
    log.configure(level="WARNING")
    with Surroundings() as here:
        fill(here.redis, size)
        # What was put in at once makes Redis write its file anew, which takes a core and the disk for some seconds.
        here.wait(lambda: not _rewrites(here.redis), seconds=120, what="Redis has rewritten its file")
        runtime = Runtime.compose(Settings.from_environ(here.environ), router, Gates(capacity_of_threads(4)))
        stop = Timer(_WATCHED, runtime.stopping.set)
        stop.start()
        began = time.perf_counter()
        loop(runtime)
        seconds = time.perf_counter() - began
        stop.cancel()
        done = int(here.redis.hget(Keys().stats(ACCOUNT), counter) or 0)
        runtime.close()
    return seconds / done * 1_000_000


def _rewrites(redis: Redis) -> bool:
    persistence: Any = redis.info("persistence")
    return bool(persistence["aof_rewrite_in_progress"] or persistence["aof_rewrite_scheduled"])


def _fill_inbox(redis: Redis, size: int) -> None:
    inbox = Inbox(redis, Keys())
    for start in range(0, size, _TOGETHER):
        inbox.add_together([(_delivery(number), True) for number in range(start, min(size, start + _TOGETHER))])


def _delivery(number: int) -> Delivery:
    body = f"leads[update][0][id]={number + 1}&leads[update][0][updated_at]=1790000000&account[id]={ACCOUNT}"
    return Delivery(f"{number:032x}", ACCOUNT, body.encode(), "application/x-www-form-urlencoded", 1_790_000_000_000)


def _fill_lanes(redis: Redis, size: int) -> None:
    """Put steps into lanes of their own, as a drain does that has gone ahead."""
    inbox = Inbox(redis, Keys())
    (handler,) = router.handlers
    inbox.add(_delivery(0))
    cursor, (entry,) = "0-0", inbox.read(ACCOUNT, after="0-0", limit=1)
    for start in range(0, size, _TOGETHER):
        events = [_routed(number, entry.stream_id, handler) for number in range(start, min(size, start + _TOGETHER))]
        inbox.commit(Batch(ACCOUNT, cursor, entry.stream_id, events, []), hold_ms=0)
        cursor = entry.stream_id


def _routed(number: int, stream_id: str, handler: str) -> RoutedEvent:
    event = (
        f'{{"id":"{number:032x}","type":"lead.updated","account_id":{ACCOUNT},"entity_type":"lead","entity_id":'
        f'{number + 1},"occurred_at":"2026-09-21T13:33:20+00:00","raw":{{"id":"{number + 1}"}},'
        f'"delivery_id":"{0:032x}"}}'
    )
    record = f'{{"handler":"{handler}","stream":"{stream_id}","event":{event}}}'.encode()
    return RoutedEvent(f"{number:032x}", stream_id, [Step(Lanes.name("lead", number + 1, handler), record)])
