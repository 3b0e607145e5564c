"""Tell deliveries that fail their proof since a secret was changed from the noise that strangers make.

Kommo goes on sending to the address that was registered with the former secret. That address has proven itself before,
and a guesser's never has: so digests of the signatures that proved are kept in Redis, and outlive a restart. What is
not among them raises the alarm when it comes again and again for an account that is known and proves nothing else.

A request only hands over what happened. A thread looks it up, so that the answer to a guess takes as long whether the
account is known or not, and whether Redis answers or not.

Keys, all under the tag `{proofs}`:

    kommo:{proofs}:proven:<account>  set     digests of what has proven the account; lives PROVEN_SECONDS
    kommo:{proofs}:failing           zset    account -> unix seconds of its last failure that was no noise
    kommo:{proofs}:told:<account>    string  the log has been told; lives TOLD_SECONDS
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from queue import Full, Queue
from typing import Any, Final

import structlog
from redis import Redis

from kommo.errors import StoreUnavailable
from kommo.store.connection import translated
from receiver.buckets import Buckets

#: Seconds for which it is remembered what has proven an account.
PROVEN_SECONDS: Final = 180 * 24 * 3600
#: Seconds between two lines about the same account, over all processes.
TOLD_SECONDS: Final = 600
#: Seconds after the last failure for which `/health/ready` gives the reason.
SHOWN_SECONDS: Final = 1800
#: How often something has to fail that has not proven itself before.
REPEATED: Final = 3
REASON: Final = (
    "deliveries fail their proof: was a secret changed? register the webhook again (the log names the account)"
)
#: Seconds without a proof after which failures may be Kommo's own.
_SILENT_SECONDS: Final = 60.0
#: How Kommo calls itself; older captures have other versions. It proves nothing.
_KOMMO: Final = "amoCRM-WebHook-client/"
#: Failures that are looked up, at once and a second: the rest is a flood, and what fails on purpose comes again.
_LOOKUPS: Final = 20
_LOOKUPS_A_SECOND: Final = 5.0
#: What may wait for the thread, accounts whose failures are counted, proofs that are known here.
_WAITING: Final = 200
_COUNTED: Final = 1000
_KNOWN: Final = 20_000
#: Seconds after which a proof is noted in Redis once more, so that it does not run out there.
_NOTED_SECONDS: Final = 24 * 3600
_TAG: Final = "kommo:{proofs}"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    account_id: int
    #: As presented; "" for a header, whose value may change with every body.
    signature: str
    is_kommos: bool = False
    failed: bool = True

    @property
    def digest(self) -> str:
        return sha256(self.signature.encode("utf-8", "replace")).hexdigest()[:32]


class ChangedSecrets:
    """Watches the proofs of this process; `own` is the account of the environment, known without having proven."""

    def __init__(self, redis: Redis, own: int | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._own = own
        self._clock = clock
        self._lookups = Buckets(burst=_LOOKUPS, per_second=_LOOKUPS_A_SECOND, names=1, clock=clock)
        self._known: set[str] = set()
        self._noted_until = clock() + _NOTED_SECONDS
        self._proved_at: dict[int, float] = {}
        self._counted: dict[int, tuple[str, int]] = {}
        self._seen: Queue[_Seen] = Queue(_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def proved(self, account_id: int, signature: str = "") -> None:
        """Note that an account has been proven, by the signature in its address or by a header."""
        name = signature or str(account_id)
        self._proved_at[account_id] = self._clock()
        if name in self._known and self._clock() < self._noted_until:
            return
        self._know(name)
        if not self._hand_over(_Seen(account_id, signature, failed=False)):
            self._known.discard(name)

    def has_proven(self, signature: str) -> bool:
        """Say whether a signature in an address has proven an account here within a day."""
        return signature in self._known

    def failed(self, account_id: int, signature: str, user_agent: str) -> None:
        """Note that what was presented has not proven the account."""
        if self._lookups.take(""):
            self._hand_over(_Seen(account_id, signature, is_kommos=user_agent.startswith(_KOMMO)))

    def reasons(self) -> list[str]:
        """Say what is wrong, for `/health/ready`; raises StoreUnavailable."""
        with translated():
            failing: Any = self._redis.zcount(f"{_TAG}:failing", time.time() - SHOWN_SECONDS, "+inf")
        return [REASON] if failing else []

    def _know(self, name: str) -> None:
        with self._lock:
            if len(self._known) >= _KNOWN or self._clock() >= self._noted_until:
                self._known.clear()
                self._proved_at.clear()
                self._noted_until = self._clock() + _NOTED_SECONDS
            self._known.add(name)

    def _hand_over(self, seen: _Seen) -> bool:
        with self._lock:
            # Not before the first use: a server that loads the app before it forks would leave the thread behind.
            if self._thread is None:
                self._thread = threading.Thread(target=self._look_into_all, name="changed-secrets", daemon=True)
                self._thread.start()
        try:
            self._seen.put_nowait(seen)
        except Full:
            return False
        return True

    def _look_into_all(self) -> None:
        while True:
            seen = self._seen.get()
            try:
                with translated():
                    (self._judge if seen.failed else self._note)(seen)
            except StoreUnavailable:
                # What fails comes again; what has proven is noted with the next delivery.
                self._known.discard(seen.signature or str(seen.account_id))

    def _note(self, seen: _Seen) -> None:
        key = f"{_TAG}:proven:{seen.account_id}"
        self._counted.pop(seen.account_id, None)
        pipe = self._redis.pipeline(transaction=False)
        pipe.sadd(key, seen.digest)
        pipe.expire(key, PROVEN_SECONDS)
        # Proven by what this process did not know: probably what was registered to mend it.
        pipe.zrem(f"{_TAG}:failing", seen.account_id)
        pipe.execute()

    def _judge(self, seen: _Seen) -> None:
        key = f"{_TAG}:proven:{seen.account_id}"
        pipe = self._redis.pipeline(transaction=False)
        pipe.sismember(key, seen.digest)
        pipe.exists(key)
        was_proof, is_known = pipe.execute()
        known = is_known or seen.account_id == self._own
        if was_proof or (known and self._is_silent(seen.account_id) and self._is_repeated(seen)):
            self._alarm(seen.account_id)

    def _is_silent(self, account_id: int) -> bool:
        """Say whether nothing has proven the account lately: else whoever fails is somebody else."""
        proved_at = self._proved_at.get(account_id)
        return proved_at is None or self._clock() - proved_at > _SILENT_SECONDS

    def _is_repeated(self, seen: _Seen) -> bool:
        """Count failures that are alike; guesses differ from one another, and what Kommo sends does not."""
        before, times = self._counted.get(seen.account_id, ("", 0))
        times = times + 1 if seen.is_kommos or seen.digest == before else 1
        if len(self._counted) >= _COUNTED:
            self._counted.clear()
        self._counted[seen.account_id] = (seen.digest, times)
        return times >= REPEATED

    def _alarm(self, account_id: int) -> None:
        pipe = self._redis.pipeline(transaction=False)
        pipe.zadd(f"{_TAG}:failing", {str(account_id): time.time()})
        pipe.zremrangebyscore(f"{_TAG}:failing", "-inf", time.time() - SHOWN_SECONDS)
        pipe.set(f"{_TAG}:told:{account_id}", 1, nx=True, ex=TOLD_SECONDS)
        if pipe.execute()[-1]:
            _log.error(
                "deliveries fail their proof: was the secret changed? register the webhook again", account=account_id
            )
