"""Count how deliveries are answered, against the rule by which Kommo switches a webhook off.

Counting costs a request a look at its status; a thread tells Redis about once a second, and keeps what it could not
tell. The same thread says that a receiver lives: from a time in which none did, deliveries may be missing.

https://developers.kommo.com/docs/webhooks-general
"""

import re
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

import structlog

from kommo.errors import KommoError, StoreUnavailable
from kommo.store.answers import NO_ACCOUNT, RULE_SECONDS, SLOW, Answers, Tally

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_log = structlog.get_logger(__name__)
#: Seconds between two tellings.
SEND_SECONDS: Final = 1.0
#: Kommo does not wait longer for an answer, whatever it is.
PATIENCE_SECONDS: Final = 2.0
#: Seconds between two notes that a receiver lives, and after which the first is made.
LIVES_SECONDS: Final = 60.0
_FIRST_SECONDS: Final = 5.0
#: Seconds for which it is taken as known which accounts there are.
_KNOWN_SECONDS: Final = 30.0
#: The key under which a door notes in a request's environ that it could neither prove it nor refuse it. Anybody may
#: send such a request: its answer says nothing of whether deliveries can be taken.
UNPROVEN: Final = "kommo.unproven"
#: Accounts that are counted between two tellings; a stranger may name any.
_ACCOUNTS: Final = 1_000
#: Beginning with several slashes is served like beginning with one.
_DOORS: Final = re.compile("/+webhooks(?:/([1-9][0-9]{0,14})(?:/.*)?|/?)", re.DOTALL)


class Counting:
    """The answers of this process. `known` names the accounts there are; all others count as none."""

    def __init__(
        self,
        answers: Answers,
        known: Callable[[], Collection[int]],
        *,
        every: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._answers = answers
        self._known = known
        self._every = SEND_SECONDS if every is None else every
        self._clock = clock
        self._lock = threading.Lock()
        self._tally = Tally()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._accounts: Collection[int] = ()
        self._accounts_read = 0.0
        #: Since when deliveries can be taken here; None while they cannot.
        self._able_since: float | None = clock()
        self._next_sign = clock() + _FIRST_SECONDS

    def wrapping(self, app: "WSGIApplication") -> "WSGIApplication":
        """Put the counting around a WSGI app: what it raises is counted as well."""

        def counted(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
            self._begin()
            door = _DOORS.fullmatch(environ.get("PATH_INFO", ""))
            if door is None:
                return app(environ, start_response)
            began, answered = time.monotonic(), [500]

            def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
                answered[0] = int(status[:3])
                return start_response(status, headers, *exc_info)

            try:
                return app(environ, start)
            finally:
                account_id, seconds = int(door[1] or NO_ACCOUNT), time.monotonic() - began
                self.count(account_id, answered[0], seconds=seconds, is_unproven=UNPROVEN in environ)

        return counted

    def count(self, account_id: int, status: int, *, seconds: float, is_unproven: bool = False) -> None:
        """Count one answer: bad is what is not 100-299, and what has taken Kommo's patience.

        `is_unproven`: as UNPROVEN notes it.
        """
        now, bad = self._clock(), not 100 <= status < 300 or seconds > PATIENCE_SECONDS
        with self._lock:
            times = self._tally.bad_at if bad else self._tally.good_at
            if account_id not in times and len(times) >= _ACCOUNTS:
                account_id = NO_ACCOUNT
            times[account_id] = now
            if bad:
                name = SLOW if 100 <= status < 300 else str(status)
                self._tally.bad[int(now // 60), account_id, name] += 1
            if not is_unproven:
                self._note_ability(able=not bad or status < 500, now=now)

    def tell(self) -> None:
        """Tell what was counted and that this receiver lives; what cannot be told now is kept."""
        with self._lock:
            tally, self._tally = self._tally, Tally()
            able_since = self._able_since
        try:
            kept = self._of_known(tally)
            if kept:
                self._answers.add(kept)
        except StoreUnavailable:
            self._keep(tally)
            return
        now = self._clock()
        if able_since is not None and now >= self._next_sign:
            self._next_sign = now + LIVES_SECONDS
            if self._answers.lived(seconds=now - able_since):
                _log.warning("no receiver took deliveries for a while; what Kommo has given up is looked for")

    def close(self) -> None:
        """End the thread; what it has not told is lost."""
        self._closed.set()

    def _note_ability(self, *, able: bool, now: float) -> None:
        if not able:
            self._able_since = None
        elif self._able_since is None:
            self._able_since = now

    def _of_known(self, tally: Tally) -> Tally:
        """Put accounts that are none under one number, and leave out what strangers were refused there."""
        now = self._clock()
        if now >= self._accounts_read + _KNOWN_SECONDS:
            self._accounts, self._accounts_read = frozenset(self._known()), now
        # A good answer is a proof.
        known = {NO_ACCOUNT, *self._accounts, *tally.good_at}
        kept = Tally(good_at=tally.good_at, bad_at={})
        for (minute, account_id, status), number in tally.bad.items():
            place = account_id if account_id in known else NO_ACCOUNT
            if place == NO_ACCOUNT and status.startswith("4"):
                continue
            kept.bad[minute, place, status] += number
            kept.bad_at[place] = max(kept.bad_at.get(place, 0.0), tally.bad_at.get(account_id, 0.0))
        return kept

    def _keep(self, tally: Tally) -> None:
        """Keep what was not told, as far as it counts by Kommo's rule."""
        oldest = (self._clock() - RULE_SECONDS) // 60
        with self._lock:
            tally.merge(self._tally)
            for name in [name for name in tally.bad if name[0] < oldest]:
                del tally.bad[name]
            self._tally = tally

    def _begin(self) -> None:
        # Not before the first request: a server that loads the app before it forks would leave the thread behind.
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="answers", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(self._every):
            try:
                self.tell()
            except KommoError as error:
                _log.warning("answers not counted", error=str(error))
            except Exception:  # whatever it was, the next telling must come
                _log.exception("answers not counted")
