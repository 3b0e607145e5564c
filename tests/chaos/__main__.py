"""Play the scenarios and print what became of every delivery; ends with 1 when one was lost or came out of order.

`python -m tests.chaos` plays the short ones, `--long` those that take half an hour; the same `--seed` kills the same
things at the same times.
"""

import argparse
import random
import sys

from tests.chaos.scenarios import LONG, SHORT, Run, play

_COLUMNS = (
    "scenario",
    "seconds",
    "kills",
    "sent",
    "not 200",
    "p99 ms",
    "waited s",
    "handled",
    "lost",
    "twice",
    "disordered",
    "notes",
    "lost",
    "twice",
)


def main() -> int:
    """Play what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios to play; all by default")
    parser.add_argument("--long", action="store_true", help="the long ones")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="what is killed, and when")
    given = parser.parse_args()
    scenarios = LONG if given.long else SHORT
    if unknown := set(given.names) - {scenario.name for scenario in scenarios}:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(one.name for one in scenarios)}")
    print(f"seed {given.seed}\n\n| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}", flush=True)
    runs = []
    for scenario in scenarios:
        if not given.names or scenario.name in given.names:
            runs.append(play(scenario, given.seed))
            print(_row(runs[-1]), flush=True)
    wrong = [f"{run.scenario.name}: {what}" for run in runs for what in _wrong(run)]
    print("\n" + ("\n".join(wrong) if wrong else "Nothing lost, nothing out of order."))
    return 1 if wrong else 0


def _row(run: Run) -> str:
    got, traffic = run.result, run.traffic
    assert got is not None
    assert traffic is not None
    cells: list[object] = [run.scenario.name, f"{run.seconds:.0f}", run.killed, got.sent, traffic.bad]
    cells += (f"{traffic.p99_ms():.0f}", f"{run.waited:.1f}")
    cells += (got.handled, got.lost, got.twice, got.disordered, got.notes, got.notes_lost, got.notes_twice)
    return f"| {' | '.join(map(str, cells))} |"


def _wrong(run: Run) -> list[str]:
    return run.wrong if run.wrong or run.is_good else ["events or notes were lost, or came out of order"]


if __name__ == "__main__":
    sys.exit(main())
