"""Faults on demand: which requests they hit, how often, and what becomes of the answer."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from itertools import count
from threading import Lock
from typing import Any, TypedDict

from sandbox.pages import NAMES
from sandbox.problems import ApiError
from sandbox.state import Json

#: answer: another answer; close_before, close_after: none, without or with the work done; truncate: the
#: connection ends within the body; hang: nothing comes until the client goes away.
KINDS = ("answer", "close_before", "close_after", "truncate", "hang")


class FaultFields(TypedDict, total=False):
    """How a fault is described; every field may be left out."""

    method: str | None
    path: str | None
    status: int | None
    page: str | None
    body: Any
    content_type: str | None
    headers: dict[str, str]
    times: int | None
    kind: str
    after_work: bool
    delay: float
    larger_than: int | None


_TYPES: dict[str, tuple[type, ...]] = {
    "method": (str, type(None)),
    "path": (str, type(None)),
    "status": (int, type(None)),
    "page": (str, type(None)),
    "content_type": (str, type(None)),
    "headers": (dict,),
    "times": (int, type(None)),
    "kind": (str,),
    "after_work": (bool,),
    "delay": (int, float),
    "larger_than": (int, type(None)),
}


@dataclass
class FaultRule:
    """A fault: the requests that it hits, and what happens to them.

    `times` None means until it is cleared; `delay` is in seconds; `larger_than` hits only JSON arrays with
    more items. Without status, page and body the real answer is the one that is delayed or broken.
    """

    method: str | None = None
    path: str | None = None
    status: int | None = None
    page: str | None = None
    body: Any = None
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    times: int | None = 1
    kind: str = "answer"
    after_work: bool = False
    delay: float = 0.0
    larger_than: int | None = None
    id: int = 0
    hits: int = 0

    @property
    def says_something(self) -> bool:
        """Whether it brings an answer of its own."""
        return self.status is not None or self.page is not None or self.body is not None

    @property
    def waits_last(self) -> bool:
        """Whether the work is done before the delay."""
        return self.after_work or self.kind == "close_after"

    @property
    def lets_work(self) -> bool:
        """Whether the request does its work, and only the answer suffers."""
        return self.waits_last or (self.kind in ("answer", "truncate") and not self.says_something)

    def hit_by(self, method: str, path: str, items: int) -> bool:
        """Tell whether such a request runs into it."""
        if self.times is not None and self.hits >= self.times:
            return False
        if self.method is not None and self.method.upper() != method:
            return False
        return matches_path(self.path, path) and (self.larger_than is None or items > self.larger_than)

    def as_json(self) -> Json:
        """Return it for the list of faults."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def matches_path(pattern: str | None, path: str) -> bool:
    """Tell whether a path begins with a pattern or, if it has wildcards, is matched by it whole."""
    if pattern is None:
        return True
    return fnmatchcase(path, pattern) if any(sign in pattern for sign in "*?[") else path.startswith(pattern)


class Faults:
    """Keep the faults in the order in which they were asked for; the first that fits is the one that hits."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rules: list[FaultRule] = []
        self._ids = count(1)

    def add(self, given: FaultFields | Json) -> FaultRule:
        """Add a fault; raises ApiError 400 for a description that makes no sense."""
        wrong = list(_mistakes(dict(given)))
        if wrong:
            raise ApiError(400, "; ".join(wrong))
        with self._lock:
            rule = FaultRule(**{**given, "id": next(self._ids)})
            self._rules.append(rule)
            return rule

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._rules.clear()

    def all(self) -> list[Json]:
        """Return all faults since they were last cleared, spent ones too, with the number of their hits."""
        with self._lock:
            return [rule.as_json() for rule in self._rules]

    def strike(self, method: str, path: str, items: int) -> FaultRule | None:
        """Return the fault that a request runs into, counted."""
        with self._lock:
            found = next((rule for rule in self._rules if rule.hit_by(method, path, items)), None)
            if found is not None:
                found.hits += 1
            return found


def _mistakes(given: Json) -> Iterator[str]:
    yield from (f"a fault has no {name}" for name in given.keys() - _TYPES.keys() - {"body"})
    yield from (f"{name} has another type" for name, value in given.items() if not _fits(name, value))
    if given.get("kind", "answer") not in KINDS:
        yield "kind has to be one of " + ", ".join(KINDS)
    if given.get("page") not in (None, *NAMES):
        yield "page has to be one of " + ", ".join(NAMES)
    status = given.get("status")
    if isinstance(status, int) and not 200 <= status <= 599:
        yield "status has to be between 200 and 599"


def _fits(name: str, value: Any) -> bool:
    wanted = _TYPES.get(name, (object,))
    return isinstance(value, wanted) and (bool in wanted or object in wanted or not isinstance(value, bool))
