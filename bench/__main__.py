"""Run benchmarks and print their figures; ends with 1 when one misses its bound."""

import argparse
import os
import platform
import sys

from bench import decoding, growth, outbox, overload, whole_way

BENCHES = {
    "answering": whole_way.answering,
    "handling": whole_way.handling,
    "delay": whole_way.delay,
    "overload": overload.overload,
    "growth": growth.growth,
    "decoding": decoding.decoding,
    "limit": outbox.limit,
    "bulk": outbox.bulk,
    "merge": outbox.merge,
    "fairness": outbox.fairness,
}


def main() -> int:
    """Run what is asked for, all of it by default."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHES)}; all by default")
    names = parser.parse_args().names or list(BENCHES)
    if unknown := set(names) - BENCHES.keys():
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, Redis with fsync always")
    missed = 0
    for name in names:
        print(f"\n{name}: {BENCHES[name].__doc__}\n  again: python -m bench {name}", flush=True)
        for result in BENCHES[name]():
            missed += not result.is_good
            print(result, flush=True)
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
