"""Match events to handlers. Does no I/O; what is wrong with a registration is an error while it is imported.

A handler is a function `(event, kommo)` and the routes that lead to it. A route is types of events and filters on
fields; a handler runs once for an event if any of its routes matches.
"""

from kommo.router.filters import RESERVED
from kommo.router.matching import EVENT_FIELDS, Filter, Route
from kommo.router.options import (
    ATTEMPTS,
    ATTEMPTS_LIMIT,
    NAME_LIMIT,
    ON_DOUBT,
    TIMEOUT_SECONDS,
    Handler,
    HandlerFunction,
)
from kommo.router.routing import Router

__all__ = [
    "ATTEMPTS",
    "ATTEMPTS_LIMIT",
    "EVENT_FIELDS",
    "NAME_LIMIT",
    "ON_DOUBT",
    "RESERVED",
    "TIMEOUT_SECONDS",
    "Filter",
    "Handler",
    "HandlerFunction",
    "Route",
    "Router",
]
