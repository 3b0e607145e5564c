"""Steps whose lease once ended unfinished: they run alone, so that a poisonous one is found and its neighbours are not.

When a process ends, all leases that it held end with it, and nobody knows which handler it was. So each of these steps
has a process for itself the next time, and only what happens then counts against it (see `outcome.is_poison`). How long
it is kept apart grows with each crash that happened in company, and ends: a slow handler must not hold up the others.
Nor must many of them: after each the process is open to the others for as long as it was not.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from kommo.errors import StoreUnavailable
from kommo.store.chains import Lease
from workers.patience import patiently
from workers.runtime import Runtime
from workers.solitude import Claim

_log = structlog.get_logger(__name__)
#: Seconds for which a step waits until the others of its process have ended, and then for which they wait for it.
#: Doubled with each further crash in company; so poison that takes its time is found as well.
APART_SECONDS: Final = 5.0
_DOUBLINGS: Final = 7
#: ms after which a step is looked at again that may not claim its process now.
_NEXT_MS: Final = 500


def apart_seconds(lease: Lease) -> float:
    """Say for how long a suspected step is kept apart from others at most."""
    in_company = lease.crashes - lease.alone
    return float(APART_SECONDS * 2 ** min(max(in_company - 1, 0), _DOUBLINGS))


def run_apart(runtime: Runtime, lease: Lease, run: Callable[[Lease], None]) -> None:
    """Run a suspected step when nothing else runs in this process, or hand it back if it is another one's turn."""
    with runtime.solitude.claiming() as claim:
        if claim is None:
            runtime.lanes.give_back([lease], delay_ms=_NEXT_MS)
            return
        seconds = apart_seconds(lease)
        with runtime.keeper.holding(runtime.lanes, lease, seconds=2 * seconds):
            alone = claim.alone_within(seconds, unless=runtime.stopping.is_set)
            if runtime.stopping.is_set():
                runtime.lanes.give_back([lease])
                return
            if alone and not patiently(partial(runtime.lanes.mark, lease, alone=True)):
                return
        if alone:
            _run_alone(runtime, lease, claim, run, seconds)
        else:
            with claim.in_company():
                run(lease)


def _run_alone(runtime: Runtime, lease: Lease, claim: Claim, run: Callable[[Lease], None], seconds: float) -> None:
    company = threading.Timer(seconds, _let_others_in, (runtime, lease, claim))
    company.daemon = True
    company.start()
    try:
        run(lease)
    finally:
        company.cancel()


def _let_others_in(runtime: Runtime, lease: Lease, claim: Claim) -> None:
    """End a step's solitude, and before that its mark: from now on it may be a neighbour that ends the process."""
    try:
        patiently(partial(runtime.lanes.mark, lease, alone=False))
    except StoreUnavailable as error:
        # Its lease is over long since. A process that stayed closed would be worse than a crash counted wrongly.
        _log.warning("a step is no longer alone, and still marked so", chain=lease.chain, error=str(error))
    finally:
        claim.end()
