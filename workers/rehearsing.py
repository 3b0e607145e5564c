"""Rehearsing: run a handler here, with a real event, and note the calls it makes instead of sending them."""

import re
import traceback
from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlencode

from kommo.api.client import Client
from kommo.api.later import Later, Step
from kommo.api.pages import Send
from kommo.api.protocol import Params, query_pairs
from kommo.api.resources.metadata import Metadata
from kommo.errors import named
from kommo.hooks.events import Event
from kommo.router import Handler
from kommo.verdicts import Reject, Retry
from workers.asked_calls import AskedCall, call_of

Kind = Literal["read", "now", "later"]
Ending = Literal["done", "stopped", "failed", "retry", "reject"]
_HERE: Final = (__file__,)
_ID: Final = re.compile(r"/([0-9]+)$")


class _Stopped(BaseException):
    """Ends a handler where nobody knows what Kommo would say. No Exception: a handler that catches those must not."""


@dataclass(frozen=True, slots=True)
class NotedCall:
    """A call: a `read`, one that changes something `now`, or one for `later`. Only reads may have been sent."""

    kind: Kind
    call: AskedCall


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a handler did with an event; `note` says why it ended otherwise than well."""

    handler: str
    ending: Ending
    calls: Sequence[NotedCall] = ()
    note: str = ""


@dataclass(frozen=True)
class Reads:
    """How reads are really answered: the way to Kommo, and the names of the account that handlers share."""

    send: Send
    metadata: Metadata


@dataclass
class _Stand:
    """Stands for the way to Kommo: notes what is sent, and answers what can be answered without it."""

    reads: Reads | None
    calls: list[NotedCall] = field(default_factory=list)

    def __call__(
        self,
        method: str,
        path: str,
        params: Params | None,
        json: object,
        headers: Mapping[str, str] | None = None,
        /,
    ) -> Any:
        query = urlencode(list(query_pairs(params or {})))
        asked = AskedCall(method, f"{path}?{query}" if query else path, json)
        self.calls.append(NotedCall("read" if method == "GET" else "now", asked))
        if method == "GET":
            if self.reads is None:
                raise _Stopped("it asks Kommo; --with-reads lets it")
            return self.reads.send(method, path, params, json, headers)
        if method != "PATCH":
            raise _Stopped("what Kommo would answer to this is not known")
        return _echo(path, json)


def rehearse(event: Event, handler: Handler, reads: Reads | None = None) -> Rehearsed:
    """Run a handler on an event and say what it asked for; raises nothing that it raises.

    A read stops it unless `reads` are given. So does what creates or removes something at once: what follows depends on
    the answer. A change is answered as if Kommo had made it. None of them is sent.
    """
    later = Later(Step(event.account_id, event.id, handler.name, event.delivery_id))
    stand = _Stand(reads)
    metadata = reads.metadata if reads else None
    ending: Ending = "done"
    note = ""
    try:
        handler.function(event, Client(stand, account_id=event.account_id, later=later, metadata=metadata))
        return Rehearsed(handler.name, "done", [*stand.calls, *_asked(later)])
    except _Stopped as stopped:
        return Rehearsed(handler.name, "stopped", [*_asked(later), *stand.calls], str(stopped))
    except Retry as error:
        ending, note = "retry", error.reason
    except Reject as error:
        ending, note = "reject", error.reason
    except (Exception, SystemExit, CancelledError) as error:
        ending, note = "failed", f"{named(error)}{_place(error)}"
    return Rehearsed(handler.name, ending, stand.calls, note)


def _asked(later: Later) -> list[NotedCall]:
    return [NotedCall("later", call_of(write)) for write in later.writes]


def _echo(path: str, json: object) -> Any:
    """Answer a change as Kommo does when it was made, with what was sent."""
    if isinstance(json, list):
        return {"_embedded": {path.rpartition("/")[2]: json}}
    own = _ID.search(path)
    return {**(json if isinstance(json, Mapping) else {}), **({"id": int(own[1])} if own else {})}


def _place(error: BaseException) -> str:
    """Say where in the handler's code it was raised."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename not in _HERE]
    return f" ({frames[0].filename}:{frames[0].lineno})" if frames else ""
