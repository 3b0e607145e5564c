"""Register handlers, put routers together, and match events to them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Literal, TypeVar

from kommo.errors import HandlersError
from kommo.hooks.events import EVENT_TYPES, Event
from kommo.router import options
from kommo.router.filters import checked_filters, checked_types
from kommo.router.matching import Route
from kommo.router.options import Handler, HandlerFunction

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")


@dataclass(slots=True)
class _Registration:
    """What the `on` of one function have said so far; None is what nobody has said."""

    function: HandlerFunction
    name: str | None = None
    attempts: int | None = None
    timeout_seconds: float | None = None
    echoes: bool | None = None
    on_doubt: str | None = None
    routes: list[Route] = field(default_factory=list)

    def handler(self) -> Handler:
        return Handler(
            self.name or options.default_name(self.function),
            self.function,
            options.ATTEMPTS if self.attempts is None else self.attempts,
            options.TIMEOUT_SECONDS if self.timeout_seconds is None else self.timeout_seconds,
            bool(self.echoes),
            self.on_doubt or options.ON_DOUBT[0],
            tuple(self.routes),
        )

    def take(self, other: "_Registration") -> None:
        """Add what another `on` of the same function says; options that differ are an error."""
        label = options.label(self.function)
        self.name = _agreed("handler", self.name, other.name, label)
        self.attempts = _agreed("attempts", self.attempts, other.attempts, label)
        self.timeout_seconds = _agreed("timeout", self.timeout_seconds, other.timeout_seconds, label)
        self.echoes = _agreed("echoes", self.echoes, other.echoes, label)
        self.on_doubt = _agreed("on_doubt", self.on_doubt, other.on_doubt, label)
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
        echoes: bool | None = None,
        on_doubt: Literal["look", "repeat", "park"] | None = None,
        where: Mapping[str, object] | None = None,
        **filters: object,
    ) -> Callable[[F], F]:
        """Register a function for types of events: exact, `*`, `lead.*`, `unknown.*`.

        `handler` is its name (default: module and function), `attempts` how often it may fail (1-100, default 8),
        `timeout` seconds or a timedelta (default 60 s). With `echoes` it also runs for what our own writes caused.
        `on_doubt` says what becomes of a creation that it asked for when the answer was lost: "look" for it where
        that can be done and repeat it if it is not there (default), "repeat" it, or "park" it for a person.

        Filters name fields of the entity, or `account_id`, `entity_id`, `entity_type` of the event, with a value or
        a collection of values; `where` holds those whose name is an option's. A field that is missing matches only
        None. Events of unknown types are filtered on their raw texts. Raises HandlersError.
        """
        route = Route(checked_types(types), checked_filters(types, filters, where or {}))
        said = (
            options.checked_name(handler),
            options.checked_attempts(attempts),
            options.checked_timeout(timeout),
            options.checked_echoes(echoes),
            options.checked_on_doubt(on_doubt),
        )

        def register(function: F) -> F:
            options.check_function(function)
            self._add([_Registration(function, *said, [route])])
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
            both = f"{options.label(named[handler.name].function)} and {options.label(handler.function)}"
            raise HandlersError(f"{both} are both called {handler.name}; give one a name of its own: handler='...'")
        named[handler.name] = handler
    return named
