"""One call to Kommo: wait for a slot of the rate limit, send, give the slot back, read the answer."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import structlog

from kommo.api.address import api_base
from kommo.api.protocol import Params, Request, build, decipher
from kommo.api.transport import Transport
from kommo.errors import Action, ApiError, NeedsAttention, RateLimited, Refused, TryLater

#: Seconds that a call waits for its turn.
PATIENCE_SECONDS: Final = 20.0

#: `RateLimited.code` when it was our own limit that gave no turn: nothing was sent.
NO_TURN: Final = "no_turn"

Slot = TypeVar("Slot")


class Turnstile(Protocol[Slot]):
    """The way to Kommo for one account's calls: its rate limit, shared by the fleet, and whether it may call at all."""

    def admit(self, method: str, path: str) -> bool:
        """Raise an ApiError when no such call may go out now; True for a call that tries whether it may again."""
        ...

    def worked(self, method: str) -> None:
        """Say that a call that was to try has worked."""
        ...

    def untried(self) -> None:
        """Say that a call that was to try could not find out."""
        ...

    def acquire(self, seconds: float) -> Slot | None:
        """Wait for a slot, held until the response has come, for so long at most; None when there was none.

        Raises RateLimited at once when Kommo wants to be left alone for longer.
        """
        ...

    def release(self, slot: Slot) -> None:
        """Give a slot back, once the response is there or will not come."""
        ...

    def heed(self, error: ApiError, method: str) -> None:
        """Draw the consequences that an answer has for all calls; before the slot is given back."""
        ...


@dataclass(frozen=True, slots=True)
class Access:
    """Where an account's calls go, and the token that opens."""

    base_url: str
    token: str = field(repr=False)

    @classmethod
    def at(cls, subdomain: str, token: str, override: str = "") -> Self:
        """Give the access to an account by its name or host, or where KOMMO_API_BASE says; raises RequestError."""
        return cls(api_base(subdomain, override or None), token)


class Tokens(Protocol):
    """An account's access, as the fleet knows it now."""

    def access(self) -> Access:
        """Give the address and a token that has not ended; raises Unauthorized, AccessEnded."""
        ...

    def renewed(self, refused: Access) -> Access | None:
        """Give what to try after an answer 401 or a redirect; None when there is nothing new.

        The fleet renews a token once, whoever is refused: who comes later gets what the first one brought.
        """
        ...


@dataclass(frozen=True, slots=True)
class FixedAccess:
    """An access that cannot be renewed."""

    given: Access

    def access(self) -> Access:
        return self.given

    def renewed(self, refused: Access) -> Access | None:  # noqa: ARG002 - a long-lived token is all there is
        return None


#: Told of every request that had a slot: its status (None: no answer), seconds waited for the slot, seconds taken.
Report = Callable[[Request, int | None, float, float], None]


def send_paid(
    request: Request,
    transport: Transport,
    turnstile: Turnstile[Slot],
    *,
    patience: float,
    report: Report,
    clock: Callable[[], float] = time.monotonic,
) -> Any:
    """Send a request once there is a slot for it, and return the parsed answer; raises the ApiError family."""
    asked = clock()
    slot = turnstile.acquire(patience)
    if slot is None:
        detail = f"no turn within {patience:g} s, nothing was sent"
        raise RateLimited(detail, method=request.method, path=request.path, code=NO_TURN)
    began = clock()
    status: int | None = None
    try:
        response = transport.send(request)
        status = response.status
        return decipher(request, status, response.headers, response.body)
    except TryLater as error:
        # Before the slot is free again, so that nobody slips through in between.
        turnstile.heed(error, request.method)
        raise
    finally:
        turnstile.release(slot)
        report(request, status, began - asked, clock() - began)


class Caller(Generic[Slot]):
    """Makes an account's calls; an instance is the `send` of a Client. Safe for threads if its parts are."""

    def __init__(
        self,
        tokens: Tokens,
        transport: Transport,
        turnstile: Turnstile[Slot],
        *,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._transport = transport
        self._turnstile = turnstile
        self._patience = patience
        self._clock = clock
        self._log = structlog.get_logger(__name__)

    def __call__(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Make one call and return the parsed answer, None for 204 and 304; raises the ApiError family, RequestError.

        A token that is refused is renewed once, and the call repeated once.
        """
        tries = self._turnstile.admit(method, path)
        try:
            answer = self._renewing((method, path, params, json, headers))
        except NeedsAttention:
            raise
        except Refused:
            # Kommo looked at what was sent, so that the account can be called again.
            if tries:
                self._turnstile.worked(method)
            raise
        except Exception:
            if tries:
                self._turnstile.untried()
            raise
        if tries:
            self._turnstile.worked(method)
        return answer

    def _renewing(self, call: tuple[str, str, Params | None, object, Mapping[str, str] | None]) -> Any:
        access = self._tokens.access()
        try:
            return self._once(build(*call, base_url=access.base_url, token=access.token))
        except NeedsAttention as error:
            renewed = self._renewed(access, call[0]) if error.action is Action.RENEW else None
            if renewed is None:
                self._turnstile.heed(error, call[0])
                raise
        return self._again(build(*call, base_url=renewed.base_url, token=renewed.token))

    def _renewed(self, refused: Access, method: str) -> Access | None:
        """Ask for a new token. What Kommo says then concerns all calls; what this process lacks concerns only it."""
        try:
            return self._tokens.renewed(refused)
        except NeedsAttention as error:
            if error.status is not None:
                self._turnstile.heed(error, method)
            raise

    def _again(self, request: Request) -> Any:
        try:
            return self._once(request)
        except NeedsAttention as error:
            self._turnstile.heed(error, request.method)
            raise

    def _once(self, request: Request) -> Any:
        return send_paid(
            request, self._transport, self._turnstile, patience=self._patience, report=self._report, clock=self._clock
        )

    def _report(self, request: Request, status: int | None, waited: float, took: float) -> None:
        """One line a call, without query values or bodies; `status` is None when there was no answer."""
        self._log.info(
            "api call",
            method=request.method,
            path=request.path,
            **({"entities": request.entities} if request.entities else {}),
            status=status,
            ms=_ms(took),
            waited_ms=_ms(waited),
        )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
