"""Hints: they leave off the caller's thread, become one where they are many, and their loss is nobody's failure."""

import threading
from typing import Any

import pytest
from celery import Celery

from kommo.queue import CHORES, LOOPS, QUEUES, Waker, celery_url, configure, publisher, task_name
from tests.waiting import wait_for


class Broker:
    """Stands for the app that sends: writes down what it is asked to, and may be held up or broken."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Event()
        self.failure: Exception | None = None

    def send_task(self, name: str, **options: Any) -> None:
        self.asked.set()
        self.open.wait(5)
        self.sent.append((name, options))
        if self.failure:
            raise self.failure

    def names(self) -> list[str]:
        return [name for name, _ in self.sent]


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def waker(broker: Broker) -> Waker:
    return Waker(broker)


def test_a_hint_names_the_task_of_its_queue_and_does_not_outlive_its_use(broker: Broker, waker: Waker) -> None:
    waker.wake("drain")
    waker.close()
    ((name, options),) = broker.sent
    assert name == "workers.drain"
    assert options == {"queue": "drain", "expires": 60, "retry": False}


def test_whoever_wakes_does_not_wait_for_the_broker(broker: Broker, waker: Waker) -> None:
    broker.open.clear()
    for _ in range(100):
        waker.wake("run")
    assert broker.sent == []
    broker.open.set()
    waker.close()


def test_hints_that_have_not_gone_yet_are_one(broker: Broker, waker: Waker) -> None:
    broker.open.clear()
    waker.wake("run")
    assert broker.asked.wait(5)
    for _ in range(50):
        waker.wake("run")
        waker.wake("flush")
    broker.open.set()
    waker.close()
    assert sorted(broker.names()) == ["workers.flush", "workers.run", "workers.run"]


def test_a_broker_that_fails_costs_a_hint_and_no_more(broker: Broker, waker: Waker) -> None:
    broker.failure = OSError("no route")
    waker.wake("run")
    wait_for(lambda: broker.sent)
    broker.failure = None
    waker.wake("drain")
    waker.close()
    assert broker.names() == ["workers.run", "workers.drain"]


def test_a_hint_that_cannot_be_sent_is_handed_to_whoever_can_do_without(broker: Broker, waker: Waker) -> None:
    served: list[str] = []
    waker.otherwise = served.append
    broker.failure = OSError("no route")
    waker.wake("run")
    wait_for(lambda: served, what="handed over")
    broker.failure = None
    waker.wake("flush")
    waker.close()
    assert served == ["run"]


def test_closing_without_a_hint_ends_at_once(waker: Waker) -> None:
    waker.close()


def test_closing_sends_what_is_wanted_first(broker: Broker, waker: Waker) -> None:
    for queue in QUEUES:
        waker.wake(queue)
    waker.close()
    assert set(broker.names()) == {task_name(queue) for queue in QUEUES}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("redis://:pw@cache.example:6379/1", "redis://:pw@cache.example:6379/1"),
        ("rediss://cache.example", "rediss://cache.example"),
        ("unix:///run/redis/redis.sock", "redis+socket:///run/redis/redis.sock"),
        ("unix:///tmp/a b.sock", "redis+socket:///tmp/a%20b.sock"),
        ("amqp://queue.example//", "amqp://queue.example//"),
    ],
)
def test_celery_is_told_of_a_socket_file_in_its_own_words(given: str, meant: str) -> None:
    assert celery_url(given) == meant


def test_every_queue_has_a_task_that_is_routed_into_it() -> None:
    app = publisher("redis://127.0.0.1:1/0")
    assert set(QUEUES) == {*LOOPS.values(), CHORES}
    assert app.conf.task_routes == {f"workers.{queue}": {"queue": queue} for queue in QUEUES}


def test_hints_are_never_acknowledged_repeated_or_answered() -> None:
    app = Celery("some app", set_as_current=False)
    configure(app, "unix:///run/redis.sock")
    assert app.conf.broker_transport_options["ack_emulation"] is False
    assert app.conf.result_backend is None
    assert app.conf.task_publish_retry is False
    assert app.conf.accept_content == ["json"]


def test_who_only_sends_does_not_hang_on_a_dead_connection() -> None:
    sends = publisher("redis://127.0.0.1:1/0").conf.broker_transport_options
    receives = Celery("some app", set_as_current=False)
    configure(receives, "redis://127.0.0.1:1/0")
    assert sends["socket_timeout"] == 5
    # A consumer waits for its next message for longer than any such limit.
    assert "socket_timeout" not in receives.conf.broker_transport_options


def test_making_a_publisher_reaches_for_no_broker() -> None:
    assert publisher("redis://127.0.0.1:1/0").conf.broker_url == "redis://127.0.0.1:1/0"
