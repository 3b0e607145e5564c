"""What a handler is, and the check of its options and of its function while it is imported."""

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from kommo.errors import HandlersError
from kommo.hooks.events import Event
from kommo.router.matching import Route

HandlerFunction = Callable[[Event, Any], object]

#: How often a handler that fails is run, unless it says otherwise, and the most that it may ask for.
ATTEMPTS: Final = 8
ATTEMPTS_LIMIT: Final = 100

#: Seconds that a handler may run, unless it says otherwise.
TIMEOUT_SECONDS: Final = 60.0

NAME_LIMIT: Final = 120

#: What may become of a creation whose answer was lost: look for it and repeat it if it is not there, repeat it without
#: looking, or park it as a dead letter.
ON_DOUBT: Final = ("look", "repeat", "park")

_NAME: Final = re.compile(rf"[A-Za-z0-9_.:-]{{1,{NAME_LIMIT}}}")


@dataclass(frozen=True, slots=True)
class Handler:
    """A function under a name, and when it runs."""

    name: str
    function: HandlerFunction
    attempts: int = ATTEMPTS
    timeout_seconds: float = TIMEOUT_SECONDS
    #: Whether it also runs for what our own writes caused.
    echoes: bool = False
    #: What becomes of a creation that it asked for when the answer was lost: one of ON_DOUBT.
    on_doubt: str = ON_DOUBT[0]
    routes: tuple[Route, ...] = ()


def checked_name(name: object) -> str | None:
    """Return the name; raises HandlersError."""
    if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name)):
        raise HandlersError(f"handler={name!r:.150}: a name has 1-{NAME_LIMIT} letters, digits or any of _ . : -")
    return name


def checked_attempts(attempts: object) -> int | None:
    """Return the number; raises HandlersError."""
    if attempts is None:
        return None
    if isinstance(attempts, bool) or not isinstance(attempts, int) or not 1 <= attempts <= ATTEMPTS_LIMIT:
        raise HandlersError(f"attempts= is a whole number from 1 to {ATTEMPTS_LIMIT}, not {attempts!r:.80}")
    return attempts


def checked_timeout(timeout: object) -> float | None:
    """Return the seconds; raises HandlersError."""
    if timeout is None:
        return None
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        raise HandlersError(f"timeout= is a timedelta or a number of seconds above 0, not {timeout!r:.80}")
    return float(seconds)


def checked_echoes(echoes: object) -> bool | None:
    """Return the option; raises HandlersError."""
    if echoes is not None and not isinstance(echoes, bool):
        raise HandlersError(f"echoes= is True or False, not {echoes!r:.80}; a filter of this name goes into where=")
    return echoes


def checked_on_doubt(on_doubt: object) -> str | None:
    """Return the option; raises HandlersError."""
    if on_doubt is not None and not (isinstance(on_doubt, str) and on_doubt in ON_DOUBT):
        choices = ", ".join(repr(choice) for choice in ON_DOUBT)
        raise HandlersError(f"on_doubt= is one of {choices}, not {on_doubt!r:.80}; a filter goes into where=")
    return on_doubt


def check_function(function: object) -> None:
    """Refuse what is no plain function of two arguments; raises HandlersError."""
    name = label(function)
    if not callable(function):
        raise HandlersError(f"{name} is not a function")
    called = function if inspect.isroutine(function) else getattr(function, "func", type(function).__call__)
    if any(_is_lazy(candidate) for candidate in (function, called)):
        raise HandlersError(f"{name} is async or a generator; a handler is a plain function, run in a thread")
    try:
        inspect.signature(function).bind(object(), object())
    except (TypeError, ValueError) as error:
        raise HandlersError(f"{name} cannot be called as handler(event, kommo): {error}") from error


def _is_lazy(function: object) -> bool:
    return (
        inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
        or inspect.isgeneratorfunction(function)
    )


def label(function: object) -> str:
    """Name a function for an error."""
    name = getattr(function, "__qualname__", None) or repr(function)
    return f"{getattr(function, '__module__', '?')}.{name}"[:200]


def default_name(function: HandlerFunction) -> str:
    """Return module and function; raises HandlersError for what has no name."""
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__name__', '')}"
    if not _NAME.fullmatch(name) or name.startswith(".") or name.endswith("."):
        raise HandlersError(f"{label(function)} has no name of its own; give it one: handler='...'")
    return name
