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
    │   │   └── Blocked       403 with a web page or no word at all: the address or the account is blocked
    │   ├── Conflict          409
    │   └── ServerError       5xx, or an answer that cannot be read
    │       └── Overloaded    504: too much in one request
    ├── NeedsAttention        the same call works again once a person or a new token has helped; 3xx
    │   ├── Unauthorized      401
    │   │   ├── AccessEnded   401 that no new token mends: revoked, locked, removed user, address not allowed
    │   │   └── ClientRefused  no renewal with the keys there are; nothing was sent
    │   └── PaymentRequired   402
    └── Refused               the same call will never work; any other 4xx
        ├── BadRequest        400, 422
        ├── Forbidden         403 in JSON: a missing right or scope; a feature that the account lacks
        ├── NotFound          404
        └── NotAllowed        405
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


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
    """A call to Kommo failed. The sentence names method, path, status, code, detail, request id and what to do.

    Neither the sentence nor an attribute holds a token, a body or the values of a query.
    """

    #: What to do about it, as a sentence for a person.
    remedy = ""

    def __init__(  # noqa: PLR0913 - a keyword for each thing that an answer says
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
        items: Mapping[str, Sequence[str]] = MappingProxyType({}),
        meaning: str = "",
        hint: str = "",
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
        #: The same by the `request_id` of the item in a batch that was found wrong.
        self.items = items
        #: What the vendor's list of error codes says of `code`: kommo.api.codes.
        self.meaning = meaning
        #: Kommo's own short reason, never translated: to branch on, as on "Token has been revoked".
        self.hint = hint
        super().__init__(self._sentence())

    @property
    def action(self) -> "Action":
        """What the program does about it: TREATMENTS."""
        if self.items:
            return Action.TAKE_OUT
        return next(_ACTIONS[kind] for kind in type(self).__mro__ if kind in _ACTIONS)

    def _sentence(self) -> str:
        parts = [f"{self.method} {self.path}"]
        if self.status is not None:
            parts.append(f"answered {self.status}")
        if self.code is not None:
            parts.append(f"(code {self.code}{f', {self.meaning}' if self.meaning else ''})")
        sentence = f"{' '.join(parts)}: {self.detail.rstrip('.')}"
        if self.validation:
            sentence += f" [{'; '.join(self.validation)}]"
        if self.request_id:
            sentence += f" (request {self.request_id})"
        return f"{sentence}. {self.remedy}" if self.remedy else sentence


class TryLater(ApiError):
    """The same call may work later."""

    remedy = "It is tried again"


class Unreachable(TryLater):
    """No answer within the deadline, or no connection. Whether Kommo did the work is not known."""

    remedy = "Nothing to do if it is rare: it is tried again"


class RateLimited(TryLater):
    """429: more requests than Kommo allows. https://developers.kommo.com/docs/limitations"""

    remedy = "It is tried again later; if it persists, lower KOMMO_RATE_LIMITS: something else uses the same limit"


class Blocked(RateLimited):
    """403 with a page or nothing: after repeated 429 Kommo answers no more. https://developers.kommo.com/docs/limitations"""

    remedy = (
        "No call goes out until one careful GET of the account has worked again; if it stays, find what exceeds the "
        "limit and ask Kommo's support to lift the block"
    )


class Conflict(TryLater):
    """409: somebody else was changing the same thing."""


class ServerError(TryLater):
    """5xx, or an answer that cannot be read."""

    remedy = "Kommo's side failed; it is tried again"


class Overloaded(ServerError):
    """504: Kommo did not finish in time. https://developers.kommo.com/docs/limitations"""

    remedy = "It is tried again with half as many entities in a request"


class NeedsAttention(ApiError):
    """The same call works again once a person, or a new token, has helped. As it is: a redirect."""

    remedy = "Check KOMMO_SUBDOMAIN and KOMMO_API_BASE: the account may have been renamed"


class Unauthorized(NeedsAttention):
    """401: the access token is not accepted."""

    remedy = "Check KOMMO_ACCESS_TOKEN and KOMMO_SUBDOMAIN: the token may have ended, been revoked or belong elsewhere"


class AccessEnded(Unauthorized):
    """401 or 403 that no new token mends: access was revoked, or the login is locked, removed or kept out by its IP."""

    remedy = "A person has to install the integration again, or give the account a new token: kommo accounts"


class ClientRefused(Unauthorized):
    """A token is not renewed for something that is to be mended here: client id, secret, redirect or address.

    `status` is None, since nothing was said about the account, and what is parked for a 401 need not be for this.
    """

    remedy = "Check KOMMO_CLIENT_ID, KOMMO_CLIENT_SECRET and KOMMO_REDIRECT_URI, or the account's own: kommo accounts"


class PaymentRequired(NeedsAttention):
    """402: the account's subscription has ended."""

    remedy = "The account's subscription has to be renewed in Kommo"


class Refused(ApiError):
    """The same call will never work. As it is: a 4xx that has no class of its own."""

    remedy = "Correct the call"


class BadRequest(Refused):
    """400 or 422: what was sent is not acceptable."""

    remedy = "Correct what the handler sends"


class Forbidden(Refused):
    """403 in JSON: a missing right or scope. Also 402, 425 and 426 with the code of a feature that is not there."""

    remedy = "Give the integration's user the right, or the integration the scope, in Kommo"


class NotFound(Refused):
    """404: there is no such thing, or it was deleted."""

    remedy = "Check the id: the entity may have been deleted"


class NotAllowed(Refused):
    """405: the API has no such method here."""

    remedy = "Check the method and the path in the API reference"


class Action(StrEnum):
    """What is done about an answer of Kommo's, wherever it comes."""

    DONE = "done"
    #: Take out the items that were named as wrong, send the rest again; give up an item that is wrong by itself.
    TAKE_OUT = "take out"
    GIVE_UP = "give up"
    #: Renew the access token once, and repeat the call once.
    RENEW = "renew"
    #: Keep the account's writes until a person has helped.
    PARK = "park"
    #: Keep the account's writes, but for one an hour that finds out whether it has been paid.
    PARK_PAYMENT = "park until paid"
    #: Let nothing out in the scope that is blocked, until one careful call has worked.
    STOP = "stop"
    #: Wait as long as Kommo says, allow fewer requests a second for a while, repeat.
    SLOW_DOWN = "slow down"
    #: Repeat with backoff and jitter.
    REPEAT = "repeat"
    #: Repeat with half as many entities in a request, down to one.
    HALVE = "halve"


@dataclass(frozen=True)
class Treatment:
    """One row of the table: which answers it is about, the error they raise, and what is done."""

    #: HTTP statuses; empty for what has none, as no answer at all.
    statuses: Collection[int]
    error: type[ApiError] | None
    action: Action
    #: What tells it from other answers with this status: one of the signs below. "" is everything else.
    sign: str = ""


#: The answer names the items of the request that are wrong (`validation-errors`).
ITEMS: Final = "items"
#: The answer says that no new token will help: the hint "Token has been revoked", or one of the codes 111-113.
ENDED: Final = "ended"
#: The answer is none of the API's: a web page, a bare word or nothing at all; or it has the code that says "blocked".
PAGE: Final = "page"
#: The answer has a code that the vendor's list calls passing, as 219: retry later.
AGAIN: Final = "again"
#: The answer has the code of a feature that the account lacks: customers.
FEATURE: Final = "feature"
#: The body was to be JSON and is not, or ends too early.
UNREADABLE: Final = "unreadable"

#: Statuses that leave the reason to the body. Those of access, payment and limits mean what they mean.
_LOOSE: Final = (400, *range(404, 429))

#: Every answer that Kommo can give, and what becomes of it. The first row that fits counts.
TREATMENTS: Final = (
    Treatment(range(200, 300), ServerError, Action.REPEAT, UNREADABLE),
    # 304: nothing is newer than If-Modified-Since.
    Treatment((*range(200, 300), 304), None, Action.DONE),
    # The account was renamed, or an address in the settings is wrong; followed, the token would go along.
    Treatment(range(300, 400), NeedsAttention, Action.RENEW),
    Treatment(_LOOSE, ServerError, Action.REPEAT, AGAIN),
    # Before 402: it is not the account that has to be paid for, and the other writes need not wait.
    Treatment((402, 425, 426), Forbidden, Action.GIVE_UP, FEATURE),
    Treatment((400, 422), BadRequest, Action.TAKE_OUT, ITEMS),
    Treatment((400, 422), BadRequest, Action.GIVE_UP),
    Treatment((401,), AccessEnded, Action.PARK, ENDED),
    Treatment((401,), Unauthorized, Action.RENEW),
    Treatment((402,), PaymentRequired, Action.PARK_PAYMENT),
    Treatment((403,), AccessEnded, Action.PARK, ENDED),
    Treatment((403,), Blocked, Action.STOP, PAGE),
    Treatment((403,), Forbidden, Action.GIVE_UP),
    Treatment((404,), NotFound, Action.GIVE_UP),
    Treatment((405,), NotAllowed, Action.GIVE_UP),
    # The server waited in vain, or is not ready: nothing is wrong with the call itself.
    Treatment((408, 425), ServerError, Action.REPEAT),
    Treatment((409,), Conflict, Action.REPEAT),
    Treatment((429,), RateLimited, Action.SLOW_DOWN),
    Treatment(range(400, 500), Refused, Action.GIVE_UP),
    Treatment((504,), Overloaded, Action.HALVE),
    Treatment(range(500, 1000), ServerError, Action.REPEAT),
    Treatment((), Unreachable, Action.REPEAT),
)

_ACTIONS: Final[Mapping[type, Action]] = {
    ApiError: Action.GIVE_UP,
    TryLater: Action.REPEAT,
    **{row.error: row.action for row in TREATMENTS if row.error and row.sign != ITEMS},
}


def treatment_of(status: int | None, signs: Collection[str] = ()) -> Treatment:
    """Give the row for an answer; `status` is None when there was none. What is no HTTP status is like a 500."""
    for row in TREATMENTS:
        if (status in row.statuses or (status is None and not row.statuses)) and (not row.sign or row.sign in signs):
            return row
    return treatment_of(500)


def named(error: BaseException) -> str:
    """Say an error in one line, its kind first."""
    return f"{type(error).__name__}: {error}"
