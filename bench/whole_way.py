"""Benchmarks of the whole way, beside what a team would build instead: answering, handling, delay."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from bench.load import Load, requests
from bench.peers import running
from bench.peers.running import Side
from bench.results import Result
from bench.surroundings import ACCOUNT, Surroundings

_ROUNDS: Final = 4
#: Deliveries of one round.
_A_ROUND: Final = 2000
_PACED: Final = 1000
_AT_REST: Final = 300

_BEGAN: Final = f"test:began:{ACCOUNT}"

_Start = Callable[[Surroundings], Side]


def answering() -> Iterator[Result]:
    """POST to answer, a connection each, Redis with fsync always: ours, Flask alone, the plain one, the node ones.

    Rounds in turn, the best of each side.
    """
    no_node = running.why_no_node()
    starts: list[_Start] = [running.hello, running.plain, running.ours]
    starts += [] if no_node else [running.node_hello, running.node]
    with Surroundings(KOMMO_HANDLERS="bench.counting_handlers") as here:
        sides = [start(here) for start in starts]
        best = _best(sides)
        for name, rate in best.items():
            yield Result(f"{name}: answers a second", rate)
        if no_node:
            yield Result(f"Express + BullMQ: not measured, {no_node}", 0)
        yield Result("ours to the plain one", best["ours"] / best["Flask + task.delay()"], at_least=2.2)
        yield Result("ours to Flask hello", best["ours"] / best["Flask hello"], at_least=0.6)
        side = next(side for side in sides if side.name == "ours")
        got = _loaded(side, 10 * _PACED, 5_000_000, rate=_PACED)
        yield Result(f"ours at {_PACED} deliveries a second: p50 ms", got["p50_ms"])
        yield Result(f"ours at {_PACED} deliveries a second: p99 ms", got["p99_ms"], at_most=25)


def _best(sides: list[Side]) -> dict[str, float]:
    rates: dict[str, float] = {}
    for turn in range(_ROUNDS):
        for side in sides:
            got = _loaded(side, _A_ROUND, 1 + turn * _A_ROUND)
            rates[side.name] = max(rates.get(side.name, 0), got["per_second"])
    return rates


def handling() -> Iterator[Result]:
    """POST to handled, events a second from the first POST on, workers running: ours, the plain one, Express + BullMQ.

    Rounds in turn, the best of each side.
    """
    no_node = running.why_no_node()
    cases: list[tuple[_Start, Callable[[Surroundings], list[subprocess.Popen[bytes]]]]] = [
        (running.plain, running.plain_workers),
        (running.ours, running.our_workers),
    ]
    cases += [] if no_node else [(running.node, running.node_workers)]
    best: dict[str, float] = {}
    for _ in range(3):
        for start, workers in cases:
            # A side at a time: the workers of the others would take part of the cores even when they rest.
            with Surroundings(KOMMO_HANDLERS="bench.counting_handlers") as here:
                workers(here)
                side = start(here)
                _warm(here, side)
                best[side.name] = max(best.get(side.name, 0), _handled_a_second(here, side))
    for name, rate in best.items():
        yield Result(f"{name}: events a second", rate)
    if no_node:
        yield Result(f"Express + BullMQ: not measured, {no_node}", 0)
    yield Result("ours to the plain one", best["ours"] / best["Flask + task.delay()"], at_least=2)


def _handled_a_second(here: Surroundings, side: Side) -> float:
    before = _handled(here)
    began = time.perf_counter()
    _loaded(side, 2 * _A_ROUND, 100_000)
    here.wait(lambda: _handled(here) >= before + 2 * _A_ROUND, seconds=120, what="all are handled")
    return 2 * _A_ROUND / (time.perf_counter() - began)


def _warm(here: Surroundings, side: Side) -> None:
    _loaded(side, 200, 1)
    here.wait(lambda: _handled(here) >= 200, seconds=60, what="the first are handled")


def delay() -> Iterator[Result]:
    """POST to the start of the handler, one delivery at a time with rest between."""
    with Surroundings(KOMMO_HANDLERS="bench.counting_handlers", BENCH_TIMES="1") as here:
        running.our_workers(here)
        side = running.ours(here)
        _warm(here, side)
        here.redis.delete(_BEGAN)
        sent: dict[str, float] = {}
        for number in range(_AT_REST):
            # Not in step with anything that looks at the work by the clock.
            time.sleep(0.1 + 0.037 * (number % 7))
            sent[str(900_000 + number)] = time.time()
            _loaded_here(side, 900_000 + number)
        here.wait(lambda: _length(here) >= _AT_REST, seconds=30, what="all are handled")
        rows: Any = here.redis.lrange(_BEGAN, 0, -1)
    began = dict(row.decode().split() for row in rows)
    delays = sorted((float(began[number]) - at) * 1000 for number, at in sent.items())
    yield Result("delay at rest: p50 ms", delays[len(delays) // 2], at_most=15)
    yield Result("delay at rest: p99 ms", delays[int(len(delays) * 0.99)], at_most=60)


def _loaded(side: Side, number: int, first: int, *, rate: float = 0) -> dict[str, float]:
    got: dict[str, float] = json.loads(running.load(side, number=number, first=first, rate=rate))
    if got["bad"]:
        raise RuntimeError(f"{side.name}: {got['bad']:.0f} of {number} deliveries were not answered with 200")
    return got


def _loaded_here(side: Side, first: int) -> None:
    outcome = Load(("127.0.0.1", side.port), requests(side.path, first), 1).closed(1)
    if outcome.bad:
        raise RuntimeError(f"{side.name}: a delivery was not answered with 200")


def _handled(here: Surroundings) -> int:
    count: Any = here.redis.get("test:handled")
    return int(count or 0)


def _length(here: Surroundings) -> int:
    length: Any = here.redis.llen(_BEGAN)
    return int(length)
