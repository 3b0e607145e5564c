"""Deliveries as Kommo sends them: each again until it is answered 200, those of a lead one after the other."""

import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from kommo.hooks.signature import url_signature
from tests.chaos.reckoning import Event
from tests.scenario.fleet import ACCOUNT, CLIENT, SECRET

#: Seconds before a delivery is sent again; Kommo takes minutes.
_AGAIN_SECONDS = 0.2
#: Kommo's patience.
_ANSWER_SECONDS = 2.0
_BASE_TIME = 1_790_000_000


@dataclass
class Traffic:
    """Some senders, each with leads of its own, that together keep to a rate."""

    port: int
    leads: Sequence[int]
    events: int
    rate: float
    senders: int = 8
    sent: list[Event] = field(default_factory=list)
    #: Seconds to each answer of 200, and how many answers were none.
    times: list[float] = field(default_factory=list)
    bad: int = 0
    #: When each event was taken, by the monotonic clock.
    taken: dict[Event, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send_all, args=(place,)) for place in range(self.senders)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def is_over(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def p99_ms(self) -> float:
        times = sorted(self.times)
        return times[int(len(times) * 0.99)] * 1000 if times else 0.0

    def _send_all(self, place: int) -> None:
        mine = self.leads[place :: self.senders]
        path = f"/webhooks/{ACCOUNT}/{url_signature(SECRET, CLIENT, ACCOUNT)}/"
        began = time.monotonic()
        for turn in range(place, self.events, self.senders):
            time.sleep(max(0.0, began + turn / self.rate - time.monotonic()))
            step = turn // self.senders
            event = mine[step % len(mine)], 1 + step // len(mine)
            while not self._is_taken(path, event):
                time.sleep(_AGAIN_SECONDS)
            with self._lock:
                self.sent.append(event)
                self.taken[event] = time.monotonic()

    def _is_taken(self, path: str, event: Event) -> bool:
        began = time.monotonic()
        status = _status(self.port, path, body(event))
        with self._lock:
            if status == 200:
                self.times.append(time.monotonic() - began)
            else:
                self.bad += 1
        return status == 200


def body(event: Event) -> bytes:
    """Make the delivery of an event: the lead's update number so-and-so."""
    lead, number = event
    return (
        f"leads[update][0][id]={lead}&leads[update][0][price]={number}&leads[update][0][name]=Lead+{lead}"
        f"&leads[update][0][updated_at]={_BASE_TIME + number}&account[id]={ACCOUNT}"
    ).encode()


def _status(port: int, path: str, content: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Connection": "close"}
        connection.request("POST", path, content, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
