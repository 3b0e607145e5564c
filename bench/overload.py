"""Benchmark of overload: one account floods the receiver, faster than the workers can follow."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from bench.load import Load, requests
from bench.peers import running
from bench.peers.running import Side
from bench.results import Result
from bench.surroundings import ACCOUNT, CLIENT, ROOT, Surroundings
from kommo.hooks.signature import url_signature

_BURST: Final = 50_000
_AT_ONCE: Final = 32
#: Another account of the same integration, with a delivery now and then.
_OTHER: Final = ACCOUNT + 1
_OTHER_EVERY: Final = 0.5


def overload() -> Iterator[Result]:
    """A burst of 50,000 deliveries of one account, 32 connections at a time, and another account meanwhile."""
    with Surroundings(KOMMO_HANDLERS="bench.counting_handlers", BENCH_TIMES="1") as here:
        running.our_workers(here)
        side = running.ours(here)
        Load(("127.0.0.1", side.port), requests(side.path, 1), 200).closed(8)
        empty = _memory(here)
        got, sent = _flood(side)
        waiting = _BURST - _handled(here)
        weighs = (_memory(here) - empty) / _BURST
        here.wait(lambda: len(_began(here)) >= len(sent), seconds=60, what="the other account's events began")
        began = _began(here)
        delays = sorted(began[number] - at for number, at in sent.items())
    yield Result("burst: answers a second", got["per_second"])
    yield Result("burst: answers other than 200", got["bad"], at_most=0)
    yield Result("burst: p99 of the answers, ms", got["p99_ms"], at_most=500)
    yield Result("burst: events not handled yet at its end", waiting)
    yield Result("burst: bytes of Redis a delivery of 1.9 kB, handled or waiting", weighs, at_most=8_000)
    yield Result(
        f"burst: longest delay of another account's event, of {len(delays)}, ms", delays[-1] * 1000, at_most=1000
    )


def _flood(side: Side) -> tuple[dict[str, float], dict[str, float]]:
    """Run the burst; give what came of it, and when the other account's deliveries were sent."""
    command = [sys.executable, "-m", "bench.load", "--port", str(side.port), "--path", side.path]
    command += ["--number", str(_BURST), "--first", "10000", "--at-once", str(_AT_ONCE)]
    path = f"/webhooks/{_OTHER}/{url_signature('bench-secret', CLIENT, _OTHER)}/"
    sent: dict[str, float] = {}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as burst:
        while burst.poll() is None:
            time.sleep(_OTHER_EVERY)
            number = 1 + len(sent)
            sent[str(number)] = time.time()
            content = (line.replace(str(ACCOUNT).encode(), str(_OTHER).encode()) for line in requests(path, number))
            if Load(("127.0.0.1", side.port), content, 1).closed(1).bad:
                raise RuntimeError("a delivery of the other account was not answered with 200")
        assert burst.stdout is not None
        return json.loads(burst.stdout.read()), sent


def _began(here: Surroundings) -> dict[str, float]:
    rows: Any = here.redis.lrange(f"test:began:{_OTHER}", 0, -1)
    return {number: float(at) for number, at in (row.decode().split() for row in rows)}


def _handled(here: Surroundings) -> int:
    return int(here.redis.get("test:handled") or 0)


def _memory(here: Surroundings) -> int:
    memory: Any = here.redis.info("memory")
    return int(memory["used_memory"])
