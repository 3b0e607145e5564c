"""Celery's part of the program: names of tasks and queues, and hints that say "there is work".

The work itself lies in Redis under leases. Losing or doubling a hint is harmless, so hints are never stored,
acknowledged, retried or given a time; docs/adr/0002-redis-holds-the-work.md has the figures.
"""

import threading
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlsplit

import structlog
from celery import Celery
from kombu.transport import redis as kombu_redis

_log = structlog.get_logger(__name__)

#: What the work lies in, and the task (and queue of the same name) that serves it.
LOOPS: Final = {"inbox": "drain", "lanes": "run", "outbox": "flush"}
CHORES: Final = "chores"
QUEUES: Final = (*LOOPS.values(), CHORES)
#: Seconds after which a hint that nobody took is not worth taking: the sweepers have noticed long before.
_HINT_SECONDS: Final = 60


def task_name(queue: str) -> str:
    """Name the task that serves a queue."""
    return f"workers.{queue}"


def celery_url(redis_url: str) -> str:
    """Write a Redis URL the way Celery wants it: a socket file has another scheme there."""
    parts = urlsplit(redis_url)
    return f"redis+socket://{quote(parts.path)}" if parts.scheme == "unix" else redis_url


def configure(app: Celery, broker: str) -> None:
    """Set an app up for hints through `broker`."""
    # A closed connection makes kombu restore unacknowledged messages over it and die of that, at the second kill of
    # Redis after 4 of 15 at best. Without acknowledgements there is nothing to restore.
    kombu_redis.Channel.do_restore = False
    app.conf.update(
        broker_url=celery_url(broker),
        broker_transport_options={"ack_emulation": False, "socket_connect_timeout": 2, "socket_keepalive": True},
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        result_backend=None,
        task_ignore_result=True,
        task_store_eager_result=False,
        task_default_queue=CHORES,
        task_routes={task_name(queue): {"queue": queue} for queue in QUEUES},
        task_serializer="json",
        accept_content=["json"],
        task_publish_retry=False,
    )


class Waker:
    """Sends hints from a thread of its own, so that neither a request nor a loop ever waits for Celery.

    Hints for the same queue that have not gone yet are one hint.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        #: What to do with a hint that cannot be sent. A worker runs the loop itself: the broker may be the same Redis
        #: that is full, and would stay full if nobody worked.
        self.otherwise: Callable[[str], None] = lambda _: None
        self._wanted: set[str] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def wake(self, queue: str) -> None:
        """Ask for a loop on `queue` (one of QUEUES); returns at once."""
        with self._changed:
            self._wanted.add(queue)
            # Not before the first use: a server that loads the app before it forks would leave the thread behind.
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_all, name="waker", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Send what is wanted and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def _send_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._closed)
                wanted, self._wanted = self._wanted, set()
                if not wanted and self._closed:
                    return
            for queue in wanted:
                self._send(queue)

    def _send(self, queue: str) -> None:
        try:
            self._app.send_task(task_name(queue), queue=queue, expires=_HINT_SECONDS, retry=False)
        except Exception as error:  # whatever the broker's client raises, a lost hint is harmless
            _log.warning("hint not sent; a sweeper will notice the work", queue=queue, error=type(error).__name__)
            self.otherwise(queue)


def publisher(broker: str) -> Any:
    """Make an app that can send hints and knows no tasks."""
    app = Celery("kommo", set_as_current=False)
    configure(app, broker)
    # A consumer waits in BRPOP for longer than this; who only sends must not hang on a dead connection, nor try to open
    # one for seconds: what the hint was for waits meanwhile.
    options = {**app.conf.broker_transport_options, "socket_timeout": 5, "max_retries": 0}
    app.conf.broker_transport_options = options
    return app
