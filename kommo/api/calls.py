"""One call to Kommo: wait for a slot of the rate limit, send, give the slot back, read the answer."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

import structlog

from kommo.api.protocol import Params, Request, build, decipher
from kommo.api.transport import Transport
from kommo.errors import RateLimited

#: Seconds that a call waits for its turn.
PATIENCE_SECONDS: Final = 20.0

#: Seconds without calls after a 429 that does not say how many.
PAUSE_SECONDS: Final = 1.0

#: `RateLimited.code` when it was our own limit that gave no turn: nothing was sent.
NO_TURN: Final = "no_turn"

Slot = TypeVar("Slot")


class Turnstile(Protocol[Slot]):
    """The rate limit of one account, shared by the fleet: a slot is held until the response has come."""

    def acquire(self, seconds: float) -> Slot | None:
        """Wait for a slot, for so long at most; None when there was none."""
        ...

    def release(self, slot: Slot) -> None:
        """Give a slot back, once the response is there or will not come."""
        ...

    def pause(self, seconds: float) -> None:
        """Let nobody pass for so long: Kommo has said that it is too much."""
        ...


@dataclass(frozen=True, slots=True)
class Access:
    """Where an account's calls go, and the token that opens."""

    base_url: str
    token: str = field(repr=False)


class Caller(Generic[Slot]):
    """Makes an account's calls; an instance is the `send` of a Client. Safe for threads if its parts are."""

    def __init__(
        self,
        access: Access,
        transport: Transport,
        turnstile: Turnstile[Slot],
        *,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = access
        self._transport = transport
        self._turnstile = turnstile
        self._patience = patience
        self._clock = clock
        self._log = structlog.get_logger(__name__)

    def __call__(self, method: str, path: str, params: Params | None = None, json: object = None) -> Any:
        """Make one call and return the parsed answer, None for 204; raises the ApiError family, RequestError."""
        request = build(method, path, params, json, base_url=self._access.base_url, token=self._access.token)
        asked = self._clock()
        slot = self._turnstile.acquire(self._patience)
        if slot is None:
            detail = f"no turn within {self._patience:g} s, nothing was sent"
            raise RateLimited(detail, method=method, path=path, code=NO_TURN)
        began = self._clock()
        status: int | None = None
        try:
            response = self._transport.send(request)
            status = response.status
            return decipher(request, status, response.headers, response.body)
        except RateLimited as error:
            # Before the slot is free again, so that nobody slips through in between.
            self._turnstile.pause(PAUSE_SECONDS if error.after is None else error.after)
            raise
        finally:
            self._turnstile.release(slot)
            self._report(request, status, waited=began - asked, took=self._clock() - began)

    def _report(self, request: Request, status: int | None, *, waited: float, took: float) -> None:
        """One line a call, without query values or bodies; `status` is None when there was no answer."""
        self._log.info(
            "api call",
            method=request.method,
            path=request.path,
            status=status,
            ms=_ms(took),
            waited_ms=_ms(waited),
        )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
