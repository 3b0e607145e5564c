"""Careful calls: is what Kommo has blocked open again? One call, when it is due, by one process of the fleet."""

import threading
from collections.abc import Iterator
from contextlib import suppress

import structlog

from kommo.api.turnstile import AccountTurnstile
from kommo.api.writes import API
from kommo.errors import ApiError, Blocked, RateLimited, RequestError, SettingsError, StoreUnavailable
from kommo.store.limiter import Slot
from workers.runtime import Runtime

_log = structlog.get_logger(__name__)


class Careful:
    """A way past a block for the one call that tries it. It takes no slot: nobody else may pass."""

    def __init__(self, behind: AccountTurnstile) -> None:
        self._behind = behind

    def admit(self, method: str, path: str) -> bool:  # noqa: ARG002 - a parked account can be asked for as well
        return False

    def worked(self, method: str) -> None:
        """Nothing depends on it."""

    def untried(self) -> None:
        """Nothing depends on it."""

    def acquire(self, seconds: float) -> Slot | None:  # noqa: ARG002 - there is nothing to wait for
        return Slot("careful", self._behind.scopes)

    def release(self, slot: Slot) -> None:
        """There was none."""

    def heed(self, error: ApiError, method: str) -> None:
        if isinstance(error, Blocked):
            self._behind.heed(error, method)


def address_of(runtime: Runtime) -> str:
    """Name the scope of the address that this process calls from."""
    return f"ip:{runtime.settings.egress}"


def probe(runtime: Runtime) -> bool:
    """Make the careful call that is due, if there is one; True when there was."""
    claimed = runtime.shared.brakes.claim_probe(address=address_of(runtime))
    if claimed is None:
        return False
    scope, account_id = claimed
    for candidate in _candidates(runtime, scope, account_id):
        with suppress(SettingsError):
            turnstile = runtime.clients.known_turnstile(candidate)
            if turnstile is not None:
                _ask(runtime, scope, turnstile)
                return True
    # Nobody is left who could be asked for, and so nobody who could call.
    _release(runtime, scope)
    return True


def _candidates(runtime: Runtime, scope: str, account_id: int) -> Iterator[int]:
    """Give the account that met the block; and, as its token may be gone, all that share the address."""
    yield account_id
    if scope.startswith("ip:"):
        own = runtime.accounts.environment()
        yield from (other for other in (*runtime.accounts.ids(), *([own.account_id] if own else [])))


def _ask(runtime: Runtime, scope: str, turnstile: AccountTurnstile) -> None:
    """Ask for the account with the token as it is: an answer 401 shows as well as a 200 that the way is open."""
    try:
        runtime.clients.careful(turnstile.account_id, Careful(turnstile))("GET", f"{API}/account")
    except Blocked as error:
        _log.error("still blocked by Kommo", scope=scope, error=str(error))
    except RateLimited as error:
        _release(runtime, scope)
        turnstile.heed(error, "GET")
    except (ApiError, RequestError) as error:
        if getattr(error, "status", None) is None:
            # No answer says nothing; the claim ends by itself, and it is tried again.
            _log.warning("not known whether Kommo still blocks", scope=scope, error=str(error))
        else:
            _release(runtime, scope)
    else:
        _release(runtime, scope)


def _release(runtime: Runtime, scope: str) -> None:
    runtime.shared.brakes.release(scope)
    _log.info("no longer blocked by Kommo", scope=scope)


class Prober:
    """Makes careful calls apart from the sweeper, who must not wait for Kommo."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._busy = threading.Lock()

    def look(self) -> None:
        """Begin a careful call in a thread of its own, unless one is under way here."""
        if not self._busy.acquire(blocking=False):
            return
        threading.Thread(target=self._probe, name="prober", daemon=True).start()

    def _probe(self) -> None:
        try:
            probe(self._runtime)
        except StoreUnavailable as error:
            _log.warning("no careful call", error=str(error))
        except Exception:  # whatever it was, the next one must come
            _log.exception("careful call failed")
        finally:
            self._busy.release()
