"""Match events to handlers. Does no I/O; what is wrong with a registration is an error while it is imported.

A handler is a function `(event, kommo)` and the routes that lead to it. A route is types of events and filters on
fields; a handler runs once for an event if any of its routes matches.
"""

import difflib
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, TypeVar

from kommo.errors import HandlersError
from kommo.hooks.events import EVENT_TYPES, Event, fields_of, number_fields_of

HandlerFunction = Callable[[Event, Any], object]

#: How often a handler that fails is run, unless it says otherwise, and the most that it may ask for.
ATTEMPTS: Final = 8
ATTEMPTS_LIMIT: Final = 100

#: Seconds that a handler may run, unless it says otherwise.
TIMEOUT_SECONDS: Final = 60.0

NAME_LIMIT: Final = 120

#: What every event has, whatever its kind, and may be filtered by.
EVENT_FIELDS: Final = frozenset({"account_id", "entity_id", "entity_type"})

#: Options to come; as filters they would silently never match.
RESERVED: Final = frozenset({"changed", "echoes", "debounce", "on_doubt", "stage"})

_FIELDS: Final = {event_type: fields_of(event_type) or frozenset() for event_type in EVENT_TYPES}
#: Fields that hold whole numbers in every entity that has them: a text never matches one.
_NUMBERS: Final = {"account_id"}.union(*map(number_fields_of, EVENT_TYPES)).difference(
    {"entity_id"}, *(fields - number_fields_of(event_type) for event_type, fields in _FIELDS.items())
)
_NAME: Final = re.compile(rf"[A-Za-z0-9_.:-]{{1,{NAME_LIMIT}}}")
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")
_UNKNOWN: Final = "unknown."
_COLLECTIONS: Final = (list, tuple, set, frozenset, range)
_PLAIN: Final = (str, int, float, Decimal, datetime, date, type(None))

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Filter:
    """A field and the values that it may have."""

    name: str
    values: Sequence[object]

    def accepts(self, event: Event) -> bool:
        """Say whether the event's field has one of the values; a field that is missing has the value None."""
        value = _field_of(event, self.name)
        if isinstance(value, str) and event.type.startswith(_UNKNOWN):
            # Its fields are as they came, and all of them came as texts.
            return _is_one_of(value, self.values) or _is_one_of(_as_whole(value), self.values)
        return _is_one_of(value, self.values)


def _is_one_of(value: object, values: Sequence[object]) -> bool:
    """Compare; a range is asked for whole numbers only, as it would count through to the end for anything else."""
    if isinstance(values, range):
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return is_whole and value in values
    return value in values


def _as_whole(text: str) -> int | str:
    return int(text) if _WHOLE.fullmatch(text) else text


@dataclass(frozen=True, slots=True)
class Route:
    """Types of events, wildcards included, and the filters that all have to accept."""

    types: tuple[str, ...]
    filters: tuple[Filter, ...] = ()

    def leads_from(self, event_type: str) -> bool:
        """Say whether events of this type may match."""
        return any(_covers(pattern, event_type) for pattern in self.types)

    def accepts(self, event: Event) -> bool:
        """Say whether every filter accepts an event of a type that may match.

        A field that cannot be read counts as a match: the handler then meets the fault itself, and the event ends
        as a dead letter with a traceback instead of nowhere.
        """
        try:
            return all(filter_.accepts(event) for filter_ in self.filters)
        except Exception:
            return True


@dataclass(frozen=True, slots=True)
class Handler:
    """A function under a name, and when it runs."""

    name: str
    function: HandlerFunction
    attempts: int = ATTEMPTS
    timeout_seconds: float = TIMEOUT_SECONDS
    routes: tuple[Route, ...] = ()


@dataclass(slots=True)
class _Registration:
    """What the `on` of one function have said so far; None is what nobody has said."""

    function: HandlerFunction
    name: str | None = None
    attempts: int | None = None
    timeout_seconds: float | None = None
    routes: list[Route] = field(default_factory=list)

    def handler(self) -> Handler:
        return Handler(
            self.name or _default_name(self.function),
            self.function,
            ATTEMPTS if self.attempts is None else self.attempts,
            TIMEOUT_SECONDS if self.timeout_seconds is None else self.timeout_seconds,
            tuple(self.routes),
        )

    def take(self, other: "_Registration") -> None:
        """Add what another `on` of the same function says; options that differ are an error."""
        label = _label(self.function)
        self.name = _agreed("handler", self.name, other.name, label)
        self.attempts = _agreed("attempts", self.attempts, other.attempts, label)
        self.timeout_seconds = _agreed("timeout", self.timeout_seconds, other.timeout_seconds, label)
        self.routes.extend(route for route in other.routes if route not in self.routes)


class Router:
    """A set of handlers; `Router(*routers)` is the set of all of theirs."""

    def __init__(self, *routers: "Router") -> None:
        self._registrations: list[_Registration] = []
        self._handlers: Mapping[str, Handler] = MappingProxyType({})
        self._by_type: Mapping[str, tuple[tuple[Handler, tuple[Route, ...]], ...]] = {}
        self._included = False
        self.include(*routers)

    def on(
        self,
        *types: str,
        handler: str | None = None,
        attempts: int | None = None,
        timeout: float | timedelta | None = None,
        where: Mapping[str, object] | None = None,
        **filters: object,
    ) -> Callable[[F], F]:
        """Register a function for types of events: exact, `*`, `lead.*`, `unknown.*`.

        `handler` is its name (default: module and function), `attempts` how often it may fail (1-100, default 8),
        `timeout` seconds or a timedelta (default 60 s). Filters name fields of the entity, or `account_id`,
        `entity_id`, `entity_type` of the event, with a value or a collection of values; `where` holds those whose
        name is an option's. A field that is missing matches only None. Events of unknown types are filtered on
        their raw texts. Raises HandlersError.
        """
        route = Route(_checked_types(types), _checked_filters(types, filters, where or {}))
        options = (_checked_name(handler), _checked_attempts(attempts), _checked_timeout(timeout))

        def register(function: F) -> F:
            _check_function(function)
            self._add([_Registration(function, *options, [route])])
            return function

        return register

    def include(self, *routers: "Router") -> None:
        """Take over the handlers of other routers, which are complete by then; raises HandlersError."""
        for router in routers:
            if not isinstance(router, Router):
                raise HandlersError(f"a Router includes routers, not {router!r:.80}")
            self._add(router._registrations)
            router._included = True

    def _add(self, registrations: Iterable[_Registration]) -> None:
        if self._included:
            raise HandlersError("this router is part of another one already, which would not hear of a new handler")
        merged = [_copy(registration) for registration in self._registrations]
        for registration in registrations:
            known = next((known for known in merged if known.function == registration.function), None)
            if known is None:
                merged.append(_copy(registration))
            else:
                known.take(registration)
        handlers = _by_name(registration.handler() for registration in merged)
        self._registrations, self._handlers = merged, MappingProxyType(handlers)
        self._by_type = {event_type: self._candidates(event_type) for event_type in EVENT_TYPES}

    def _candidates(self, event_type: str) -> tuple[tuple[Handler, tuple[Route, ...]], ...]:
        return tuple(
            (handler, routes)
            for handler in self._handlers.values()
            if (routes := tuple(route for route in handler.routes if route.leads_from(event_type)))
        )

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """All handlers by name, in the order of their registration."""
        return self._handlers

    def matching(self, event: Event) -> list[Handler]:
        """Return the handlers that an event is for, each once, in the order of their registration."""
        candidates = self._by_type.get(event.type)
        if candidates is None:
            candidates = self._candidates(event.type)
        return [handler for handler, routes in candidates if any(route.accepts(event) for route in routes)]


def _covers(pattern: str, event_type: str) -> bool:
    return pattern in {"*", event_type} or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))


def _field_of(event: Event, name: str) -> object:
    # The account is the proven one, whatever a body says of itself.
    if name == "account_id":
        return event.account_id
    known = _FIELDS.get(event.type)
    if known is None:
        return getattr(event, name) if name in EVENT_FIELDS else event.raw.get(name)
    if name in known:
        return getattr(event.entity, name)
    return getattr(event, name) if name in EVENT_FIELDS else None


def _checked_types(types: Sequence[object]) -> tuple[str, ...]:
    if not types:
        raise HandlersError('router.on needs types of events: @router.on("lead.added")')
    checked = []
    for event_type in types:
        if not isinstance(event_type, str):
            raise HandlersError(f'types of events are texts, as in @router.on("lead.added"), not {event_type!r:.80}')
        if not _is_known(event_type):
            raise HandlersError(f"there is no event {event_type!r}{_suggestion(event_type, _patterns())}")
        checked.append(event_type)
    return tuple(dict.fromkeys(checked))


def _patterns() -> frozenset[str]:
    return EVENT_TYPES | {f"{event_type.partition('.')[0]}.*" for event_type in EVENT_TYPES} | {"*", "unknown.*"}


def _is_known(event_type: str) -> bool:
    return event_type in _patterns() or (event_type.startswith(_UNKNOWN) and "*" not in event_type)


def _suggestion(name: str, known: AbstractSet[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(sorted(known))}"


def _checked_filters(
    types: Sequence[str], filters: Mapping[str, object], where: Mapping[str, object]
) -> tuple[Filter, ...]:
    for name in sorted(RESERVED & filters.keys()):
        raise HandlersError(f"{name}= is not available in this version")
    for name in sorted(filters.keys() & where.keys()):
        raise HandlersError(f"{name} is given twice, as a keyword and in where=")
    known = _filterable(types)
    if known is not None:
        for name in (*filters, *where):
            if name not in known:
                raise HandlersError(f"{', '.join(types)}: there is no field {name!r}{_suggestion(name, known)}")
    checked = tuple(Filter(name, _values(name, wanted)) for name, wanted in {**filters, **where}.items())
    for filter_ in checked if known is not None else ():
        _check_numbers(filter_.name, filter_.values)
    return checked


def _check_numbers(name: str, values: Sequence[object]) -> None:
    """Refuse a text for a field of numbers; a range is not walked through, it holds none."""
    for value in () if isinstance(values, range) or name not in _NUMBERS else values:
        if isinstance(value, str):
            raise HandlersError(f"{name} is a whole number, and {value!r:.80} is a text: it would never match")


def _filterable(types: Sequence[str]) -> frozenset[str] | None:
    """The names that a filter may have, or None when any may, as nobody knows the fields of an unknown type."""
    if any(pattern.startswith(_UNKNOWN) for pattern in types):
        return None
    covered = [known for known in EVENT_TYPES if any(_covers(pattern, known) for pattern in types)]
    return EVENT_FIELDS.union(*(_FIELDS[event_type] for event_type in covered))


def _values(name: str, wanted: object) -> Sequence[object]:
    """A range stays as it is; anything but plain values is refused, since its comparison could fail later."""
    if isinstance(wanted, range):
        return wanted
    values = tuple(wanted) if isinstance(wanted, _COLLECTIONS) else (wanted,)
    if not values:
        raise HandlersError(f"{name}= is an empty collection, which nothing matches")
    for value in values:
        if not isinstance(value, _PLAIN):
            raise HandlersError(f"{name}= takes plain values or a collection of them, not {value!r:.80}")
    return values


def _checked_name(name: object) -> str | None:
    if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name)):
        raise HandlersError(f"handler={name!r:.150}: a name has 1-{NAME_LIMIT} letters, digits or any of _ . : -")
    return name


def _checked_attempts(attempts: object) -> int | None:
    if attempts is None:
        return None
    if isinstance(attempts, bool) or not isinstance(attempts, int) or not 1 <= attempts <= ATTEMPTS_LIMIT:
        raise HandlersError(f"attempts= is a whole number from 1 to {ATTEMPTS_LIMIT}, not {attempts!r:.80}")
    return attempts


def _checked_timeout(timeout: object) -> float | None:
    if timeout is None:
        return None
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        raise HandlersError(f"timeout= is a timedelta or a number of seconds above 0, not {timeout!r:.80}")
    return float(seconds)


def _check_function(function: object) -> None:
    label = _label(function)
    if not callable(function):
        raise HandlersError(f"{label} is not a function")
    called = function if inspect.isroutine(function) else getattr(function, "func", type(function).__call__)
    if any(_is_lazy(candidate) for candidate in (function, called)):
        raise HandlersError(f"{label} is async or a generator; a handler is a plain function, run in a thread")
    try:
        inspect.signature(function).bind(object(), object())
    except (TypeError, ValueError) as error:
        raise HandlersError(f"{label} cannot be called as handler(event, kommo): {error}") from error


def _is_lazy(function: object) -> bool:
    return (
        inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
        or inspect.isgeneratorfunction(function)
    )


def _label(function: object) -> str:
    name = getattr(function, "__qualname__", None) or repr(function)
    return f"{getattr(function, '__module__', '?')}.{name}"[:200]


def _default_name(function: HandlerFunction) -> str:
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__name__', '')}"
    if not _NAME.fullmatch(name) or name.startswith(".") or name.endswith("."):
        raise HandlersError(f"{_label(function)} has no name of its own; give it one: handler='...'")
    return name


T = TypeVar("T")


def _agreed(option: str, one: T | None, other: T | None, label: str) -> T | None:
    if one is not None and other is not None and one != other:
        raise HandlersError(f"{label} has two values of {option}=: {one} and {other}; a handler has one")
    return other if one is None else one


def _copy(registration: _Registration) -> _Registration:
    copy = _Registration(registration.function)
    copy.take(registration)
    return copy


def _by_name(handlers: Iterable[Handler]) -> dict[str, Handler]:
    named: dict[str, Handler] = {}
    for handler in handlers:
        if handler.name in named:
            both = f"{_label(named[handler.name].function)} and {_label(handler.function)}"
            raise HandlersError(f"{both} are both called {handler.name}; give one a name of its own: handler='...'")
        named[handler.name] = handler
    return named
