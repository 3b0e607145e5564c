"""Sending deliveries: one courier for each destination, off the path of any request."""

import time
from collections import Counter, deque
from itertools import count, islice
from threading import Condition
from typing import Any

from sandbox.courier import Courier
from sandbox.delivery import Attempt, Delivery
from sandbox.ladder import WEBHOOK_LADDER, Ladder, is_bad, next_wait
from sandbox.payloads.form import CONTENT_TYPE
from sandbox.subscriptions import Webhook
from sandbox.wire import Wire

#: Deliveries kept in the log, with their bodies.
KEPT = 20_000


class Sender:
    """Take deliveries, send them, repeat them as the ladder says, and switch bad webhooks off."""

    def __init__(self, *, timeout: float, time_scale: float) -> None:
        self._timeout = timeout
        self._time_scale = time_scale
        self._changed = Condition()
        self._couriers: dict[str, Courier] = {}
        self._log: deque[Delivery] = deque(maxlen=KEPT)
        self._states: Counter[str] = Counter()
        self._ids = count(1)
        self._stopped = False

    def send(
        self,
        destination: str,
        body: bytes,
        *,
        kind: str,
        hook: Webhook | None = None,
        ladder: Ladder = WEBHOOK_LADDER,
        content_type: str = CONTENT_TYPE,
    ) -> Delivery:
        """Queue a body; returns at once."""
        with self._changed:
            delivery = Delivery(next(self._ids), kind, destination, body, content_type, ladder, hook)
            self._log.append(delivery)
            self._states["pending"] += 1
            if self._stopped:
                self._settle(delivery, "dropped")
            else:
                self._courier(destination).take(delivery)
        return delivery

    def again(self, delivery: Delivery) -> Delivery:
        """Send the same bytes once more, as a delivery of its own: what a receiver sees as a duplicate."""
        return self.send(
            delivery.destination,
            delivery.body,
            kind=delivery.kind,
            hook=delivery.hook,
            ladder=delivery.ladder,
            content_type=delivery.content_type,
        )

    def find(self, number: int) -> Delivery | None:
        """Return the delivery with that id, if the log still has it."""
        with self._changed:
            return next((delivery for delivery in self._log if delivery.id == number), None)

    def since(self, number: int) -> list[dict[str, Any]]:
        """Return the deliveries after that id, oldest first."""
        with self._changed:
            return [delivery.as_json() for delivery in self._log if delivery.id > number]

    def latest(self, number: int) -> list[dict[str, Any]]:
        """Return so many deliveries, the newest first."""
        with self._changed:
            return [delivery.as_json() for delivery in islice(reversed(self._log), number)]

    def by_state(self) -> dict[str, int]:
        """Return how many deliveries are in each state, all since the start."""
        with self._changed:
            return {state: self._states[state] for state in ("pending", "delivered", "failed", "dropped")}

    def settled(self, timeout: float) -> bool:
        """Wait until no delivery is pending, repeated ones included; tell whether that came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._states["pending"] == 0, timeout)

    def stop(self) -> None:
        """Cut what is under way and end the couriers; what still waits stays pending."""
        with self._changed:
            self._stopped = True
            couriers = list(self._couriers.values())
        for courier in couriers:
            courier.stop()

    def _courier(self, destination: str) -> Courier:
        if destination not in self._couriers:
            self._couriers[destination] = Courier(self._attempt)
        return self._couriers[destination]

    def _attempt(self, wire: Wire, delivery: Delivery) -> float | None:
        """Try once; return the seconds until the next attempt, if one is due."""
        if delivery.hook is not None and delivery.hook.disabled:
            self._finish(delivery, "dropped")
            return None
        answer = self._exchange(wire, delivery)
        wait = next_wait(delivery.ladder, len(delivery.attempts), answer)
        self._judge(delivery, answer)
        if wait is None:
            self._finish(delivery, "failed" if is_bad(answer) else "delivered")
            return None
        return wait * self._time_scale

    def _exchange(self, wire: Wire, delivery: Delivery) -> int:
        at, started = time.time(), time.monotonic()
        answer = wire.exchange(
            delivery.destination, delivery.body, content_type=delivery.content_type, timeout=self._timeout
        )
        delivery.attempts.append(Attempt(at, answer, round((time.monotonic() - started) * 1000, 2)))
        return answer

    def _judge(self, delivery: Delivery, answer: int) -> None:
        hook = delivery.hook
        if hook is not None and hook.bad_answers.note(answer, time.monotonic()):
            hook.disabled = True

    def _finish(self, delivery: Delivery, state: str) -> None:
        with self._changed:
            self._settle(delivery, state)

    def _settle(self, delivery: Delivery, state: str) -> None:
        self._states[delivery.state] -= 1
        self._states[state] += 1
        delivery.state = state
        self._changed.notify_all()
