"""How long to wait before something is tried again: exponential, with full jitter, bounded."""

import random
from typing import Final

#: Seconds: the longest wait after the first failure, and after any.
BASE_SECONDS: Final = 2.0
MAX_SECONDS: Final = 15 * 60.0


def backoff_ms(failures: int, *, at_least: float | None = None, draw: random.Random | None = None) -> int:
    """Give a random wait in ms between nothing and 2, 4, 8 … seconds, at most 15 minutes.

    `failures` counts the one just met. `at_least` seconds is what the other side asked for: waited in full, and
    a second of jitter on top at most, so that many who were told the same do not come back together.
    """
    rng = draw or random
    if at_least is not None:
        return int((at_least + rng.uniform(0, 1.0)) * 1000)
    return int(rng.uniform(0, min(MAX_SECONDS, BASE_SECONDS * 2 ** min(failures - 1, 20))) * 1000)
