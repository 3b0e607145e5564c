"""Every error of this project, in one tree. A leaf: it imports nothing of the project.

KommoError
├── SettingsError             the environment; every mistake at once
├── HandlersError             a handler module or a registration; raised while loading
├── DecodeError               a delivery's bytes are not what Kommo sends
│   ├── BodyTooLarge
│   ├── TooManyFields
│   ├── TooDeep
│   └── AccountMismatch       the body names another account than the one that was proven
├── SignatureError            no proof, or a wrong one
├── StoreError                what lies in Redis
│   └── StoreUnavailable      Redis is away: not reached, loading, full, read-only
├── RequestError              a call that is wrong before it is sent
└── ApiError                  what Kommo answered, or that it did not; sorted by what the caller must do
    ├── TryLater              the same call may work later; `.after` seconds when Kommo said so
    │   ├── Unreachable       no answer: network, TLS, deadline
    │   ├── RateLimited       429
    │   └── ServerError       5xx, or an answer that cannot be read
    ├── NeedsAttention        the same call works again once a person or a new token has helped
    │   ├── Unauthorized      401
    │   └── PaymentRequired   402
    └── Refused               the same call will never work
        ├── BadRequest        400, 422
        ├── Forbidden         403
        └── NotFound          404

Retry and Reject are not errors but a handler's words: "again, later" and "never again".
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

#: Seconds that a handler may ask to wait at most: 30 days.
LONGEST_RETRY: Final = 30 * 24 * 3600


class KommoError(Exception):
    """Anything this project raises on purpose."""


class SettingsError(KommoError):
    """The environment cannot be used; `problems` holds one sentence a variable, each with its remedy."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class HandlersError(KommoError):
    """A handler module cannot be loaded, or a registration names what does not exist."""


class DecodeError(KommoError):
    """A delivery cannot be decoded; `reason` is a short name that a dead letter carries."""

    reason = "undecodable"


class BodyTooLarge(DecodeError):
    """More bytes than allowed."""

    reason = "body_too_large"


class TooManyFields(DecodeError):
    """More fields than allowed."""

    reason = "too_many_fields"


class TooDeep(DecodeError):
    """Nested deeper than allowed."""

    reason = "too_deep"


class AccountMismatch(DecodeError):
    """The body names another account than the one whose proof it came with."""

    reason = "account_mismatch"


class SignatureError(KommoError):
    """The sender could not be proven. Says nothing of what would have been right."""


class StoreError(KommoError):
    """Something about the work that lies in Redis."""


class StoreUnavailable(StoreError):
    """Redis cannot store or answer now: not reached in time, loading, full, read-only, no cluster."""


class RequestError(KommoError):
    """A call to Kommo that is wrong before it is sent: nothing was spent."""


class ApiError(KommoError):
    """A call to Kommo failed. The sentence names method, path, status, detail and what to do."""

    #: What to do about it, as a sentence for a person.
    remedy = ""

    def __init__(
        self,
        detail: str,
        *,
        method: str,
        path: str,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        after: float | None = None,
        validation: Sequence[str] = (),
    ) -> None:
        self.detail = detail
        self.method = method
        self.path = path
        self.status = status
        self.code = code
        self.request_id = request_id
        #: Seconds to wait, when Kommo said so.
        self.after = after
        #: `path: detail` of each validation error.
        self.validation = tuple(validation)
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        parts = [f"{self.method} {self.path}"]
        if self.status is not None:
            parts.append(f"answered {self.status}")
        if self.code is not None:
            parts.append(f"(code {self.code})")
        sentence = f"{' '.join(parts)}: {self.detail}"
        if self.validation:
            sentence += f" [{'; '.join(self.validation)}]"
        if self.request_id:
            sentence += f" (request {self.request_id})"
        return f"{sentence}. {self.remedy}" if self.remedy else sentence


class TryLater(ApiError):
    """The same call may work later."""


class Unreachable(TryLater):
    """No answer within the deadline, or no connection. Whether Kommo did the work is not known."""

    remedy = "Nothing to do if it is rare: it is tried again"


class RateLimited(TryLater):
    """429: more requests than Kommo allows. https://developers.kommo.com/docs/limitations"""

    remedy = "It is tried again later; if it persists, lower KOMMO_RATE_LIMITS: something else uses the same limit"


class ServerError(TryLater):
    """5xx, or an answer that cannot be read."""

    remedy = "Kommo's side failed; it is tried again"


class NeedsAttention(ApiError):
    """The same call works again once a person, or a new token, has helped."""


class Unauthorized(NeedsAttention):
    """401: the access token is not accepted."""

    remedy = "Check KOMMO_ACCESS_TOKEN and KOMMO_SUBDOMAIN: the token may have ended, been revoked or belong elsewhere"


class PaymentRequired(NeedsAttention):
    """402: the account's subscription has ended."""

    remedy = "The account's subscription has to be renewed in Kommo"


class Refused(ApiError):
    """The same call will never work."""


class BadRequest(Refused):
    """400 or 422: what was sent is not acceptable."""

    remedy = "Correct what the handler sends"


class Forbidden(Refused):
    """403: a missing right or scope, or the address is blocked."""

    remedy = "Give the integration the right in Kommo; an HTML page here means that the address was blocked"


class NotFound(Refused):
    """404: there is no such thing, or it was deleted."""

    remedy = "Check the id: the entity may have been deleted"


def named(error: BaseException) -> str:
    """Say an error in one line, its kind first."""
    return f"{type(error).__name__}: {error}"


def _seconds(after: object) -> float:
    seconds = after.total_seconds() if isinstance(after, timedelta) else after
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_RETRY:
        raise ValueError(f"Retry(after=): a timedelta, or seconds, from 0 to 30 days, not {after!r:.80}")
    return float(seconds)


class Retry(Exception):
    """Raised by a handler: run it again later. Not an error, and not logged as one.

    `after` is a timedelta or seconds, 30 days at most (else ValueError); without it the usual backoff decides. It shows
    in `event.attempt` but does not use up the handler's `attempts=`, which are for failures: a handler that waits stops
    itself by `event.attempt`.
    """

    def __init__(self, reason: str = "", *, after: timedelta | float | None = None) -> None:
        self.reason = reason
        self.after = None if after is None else _seconds(after)
        super().__init__(reason or "the handler asked to run again")


class Reject(Exception):
    """Raised by a handler: give up on this event at once. It becomes a dead letter with the reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
