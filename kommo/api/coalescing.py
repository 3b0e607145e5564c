"""One request for identical reads at the same time: who asks while another waits for the answer gets the same one."""

import copy
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, NamedTuple

from kommo.api.pages import Send
from kommo.api.protocol import Params, query_pairs

#: Set in a flight whose leader was torn away (SystemExit, KeyboardInterrupt): whoever waited begins anew.
_ABANDONED: Final = object()


class Landed(NamedTuple):
    """A result, and whether several askers got the same object."""

    value: Any
    shared: bool


@dataclass(slots=True)
class _Flight:
    result: Future[Any] = field(default_factory=Future)
    joined: int = 0


class SingleFlight:
    """Does one thing once for all threads that ask for it while it is under way. Remembers nothing afterwards."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._under_way: dict[Hashable, _Flight] = {}

    def do(self, key: Hashable, work: Callable[[], Any]) -> Landed:
        """Return what `work` returns, or what it returns to the thread that is at it; its errors are shared too."""
        while True:
            with self._lock:
                flight = self._under_way.get(key)
                if flight is None:
                    flight = self._under_way[key] = _Flight()
                    break
                flight.joined += 1
            value = flight.result.result()
            if value is not _ABANDONED:
                return Landed(value, True)
        return self._lead(key, flight, work)

    def forget(self) -> None:
        """Let nobody join what is under way now: what is asked from here on may have another answer."""
        with self._lock:
            self._under_way.clear()

    def _lead(self, key: Hashable, flight: _Flight, work: Callable[[], Any]) -> Landed:
        try:
            value = work()
        except Exception as error:
            self._close(key, flight)
            flight.result.set_exception(error)
            raise
        except BaseException:
            self._close(key, flight)
            flight.result.set_result(_ABANDONED)
            raise
        shared = self._close(key, flight)
        flight.result.set_result(value)
        return Landed(value, shared)

    def _close(self, key: Hashable, flight: _Flight) -> bool:
        """End the joining before the result is there, so that no answer is older than the question."""
        with self._lock:
            if self._under_way.get(key) is flight:
                del self._under_way[key]
            return flight.joined > 0


class Coalescer:
    """A `Send` that makes one request of identical GETs at the same time; share one among an account's clients.

    Nothing is kept once the answer is there. A write lets no later read join one that was under way, so that this
    process reads what it has written.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._reads = SingleFlight()

    def __call__(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Make the call, or wait for the answer of an identical one; raises what the call raises."""
        call = (method, path, params, json, headers) if headers else (method, path, params, json)
        if method != "GET" or json is not None:
            try:
                return self._send(*call)
            finally:
                self._reads.forget()
        key = (path, tuple(query_pairs(params or ())), tuple(sorted((headers or {}).items())))
        landed = self._reads.do(key, lambda: self._send(*call))
        # Every asker may change its answer: nobody gets the object that others copy from.
        return copy.deepcopy(landed.value) if landed.shared else landed.value
