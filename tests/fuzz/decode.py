"""Fuzz the way from bytes to events with atheris, by coverage: `python -m tests.fuzz.decode [libFuzzer's options]`.

Nothing else needs atheris, and it is not among the dependencies: `pip install atheris` in an environment of its own.
The recorded deliveries are the first inputs. The first byte of an input chooses the content type.
https://github.com/google/atheris
"""

import sys
import tempfile
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["kommo"]):
    from tests.unit.hooks.decoding import go_the_whole_way

from tests.unit.hooks.deliveries import CASES, body_of

_TYPES: Final = (None, "application/json", "application/x-www-form-urlencoded")


def decode(data: bytes) -> None:
    """Take an input the whole way; anything that is raised is a find."""
    if data:
        go_the_whole_way(data[1:], _TYPES[data[0] % len(_TYPES)])


def main() -> None:
    """Run until told to stop, or as long as `-max_total_time=` says."""
    with tempfile.TemporaryDirectory(prefix="kommo-fuzz-") as folder:
        for number, case in enumerate(CASES):
            Path(folder, case).write_bytes(bytes([number % len(_TYPES)]) + body_of(case))
        atheris.Setup([*sys.argv, folder], decode)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
