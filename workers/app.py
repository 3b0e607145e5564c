"""Compose the fleet: the Celery app, and each process's runtime. `celery -A workers.app worker -P threads`."""

import os
import signal
import sys
import threading
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Final

import structlog
from celery import Celery, signals

from kommo import log
from kommo.api.clients import check_address
from kommo.errors import KommoError, SettingsError, StoreUnavailable
from kommo.queue import QUEUES, configure
from kommo.settings import Settings
from kommo.store.connection import connect
from kommo.store.fleet import Fleet
from workers.celery_pool import CeleryPool
from workers.drain import drain
from workers.flush import flush
from workers.handlers import load
from workers.leaving import Leaving
from workers.life import let_go, look_after_child, look_after_worker
from workers.run import run
from workers.runtime import Gates, Runtime, capacity_of_children, capacity_of_threads
from workers.sweeper import Sweeper

#: Threads of a worker unless -c says otherwise: most wait for Kommo or Redis at any moment.
THREADS: Final = 16
_THREADS_POOL: Final = "celery.concurrency.thread"
_GREEN_POOLS: Final = ("celery.concurrency.gevent", "celery.concurrency.eventlet")
#: Seconds between two looks at what may be dropped from the inboxes.
_TRIM_SECONDS: Final = 60.0
#: Seconds between two looks at tokens that nobody uses.
_RENEW_SECONDS: Final = 3600.0
#: Seconds between two looks at the accounts' webhooks.
_WEBHOOKS_SECONDS: Final = 300.0

_LOOPS: Final = {"drain": drain, "run": run, "flush": flush}

app = Celery("workers", include=["workers.tasks"])


class _Process:
    """This process's runtime. A prefork child inherits its parent's memory, but must not use its connections."""

    lock = threading.Lock()
    runtime: Runtime | None = None
    pid = 0
    capacity = capacity_of_threads(THREADS)
    #: What may run in this process itself: less than that in the parent of prefork children.
    here: Mapping[str, int] | None = None
    leaving: Leaving | None = None
    is_child = False


def settings_or_exit() -> Settings:
    """Read the settings, or end the process with one clear text."""
    try:
        return Settings.from_environ(os.environ, need=["REDIS_URL"])
    except SettingsError as error:
        sys.exit(f"Workers and beat cannot start.\n{error}")


def runtime() -> Runtime:
    """Give this process's runtime; made at first use, and anew after a fork."""
    with _Process.lock:
        if _Process.runtime is None or _Process.pid != os.getpid():
            settings = settings_or_exit()
            gates = Gates(_Process.capacity, _Process.here)
            _Process.runtime = Runtime.compose(settings, load(settings.handlers), gates)
            _Process.pid = os.getpid()
        return _Process.runtime


@app.on_configure.connect
def _configure(sender: Any, **_: Any) -> None:
    configure(sender, settings_or_exit().broker)
    sender.conf.update(
        task_queues={name: {"exchange": name, "routing_key": name} for name in QUEUES},
        worker_consumer="workers.consumer:Consumer",
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # Beat's default keeps a file; what is done a minute late does no harm, so memory is enough.
        beat_scheduler="celery.beat:Scheduler",
        beat_schedule={
            "trim": {"task": "workers.chores", "schedule": _TRIM_SECONDS, "options": {"expires": _TRIM_SECONDS}},
            "renew": {
                "task": "workers.chores.renew",
                "schedule": _RENEW_SECONDS,
                "options": {"expires": _RENEW_SECONDS},
            },
            "webhooks": {
                "task": "workers.chores.webhooks",
                "schedule": _WEBHOOKS_SECONDS,
                "options": {"expires": _WEBHOOKS_SECONDS},
            },
        },
    )


@signals.setup_logging.connect
def _log(loglevel: Any = None, **_: Any) -> None:
    log.configure(level=loglevel if isinstance(loglevel, str) else "INFO")


@signals.celeryd_init.connect
def _size(conf: Any, options: dict[str, Any], **_: Any) -> None:
    """Choose the pool's size for threads, and refuse to start with handlers that cannot be loaded."""
    pool = getattr(options.get("pool"), "__module__", "")
    if pool in _GREEN_POOLS:
        sys.exit("Workers and beat cannot start.\n-P gevent and -P eventlet are not supported: use threads or prefork")
    threads = pool == _THREADS_POOL
    if threads and not options.get("concurrency"):
        conf.worker_concurrency = THREADS
    settings = settings_or_exit()
    try:
        check_address(settings)
        load(settings.handlers)
        _check_shards(settings)
    except KommoError as error:
        sys.exit(f"Workers and beat cannot start.\n{error}")


def _check_shards(settings: Settings) -> None:
    redis = connect(settings.redis_url)
    try:
        Fleet(redis).check_shards(settings.shards)
    except StoreUnavailable:
        return  # Celery waits for Redis; the number is the same when it is back
    finally:
        redis.close()


@signals.worker_ready.connect
def _begin(sender: Any, **_: Any) -> None:
    """Start sweeping, in the process that outlives the pool's children."""
    size = sender.controller.concurrency
    threads = sender.controller.pool_cls.__module__ == _THREADS_POOL
    _Process.capacity = capacity_of_threads(size) if threads else capacity_of_children(size)
    # Handlers that are run by processes may not be safe for threads.
    _Process.here = None if threads else {**_Process.capacity, "lanes": 1}
    here = runtime()
    queues = sorted(sender.app.amqp.queues.consume_from)
    here.waker.otherwise = partial(_serve_here, queues)
    for sentence in here.settings.unknown:
        structlog.get_logger(__name__).warning(sentence)
    names = sorted(here.router.handlers)
    if names:
        structlog.get_logger(__name__).info("handlers", handlers=names)
    else:
        structlog.get_logger(__name__).warning("no handlers: deliveries are drained for nobody; check KOMMO_HANDLERS")
    # With children it would be their parent who runs the handlers, while they are only busy.
    Sweeper(here, here.waker.otherwise if threads else lambda _: None).start()
    pool = CeleryPool(sender.controller.pool, size)
    _Process.leaving = look_after_worker(here, pool, queues, threads=threads)
    # Celery's own way asks the pool to end its tasks, which threads cannot, and waits for them for ever.
    signal.signal(signal.SIGQUIT, _told)


def _serve_here(queues: Collection[str], task: str) -> None:
    """Run a loop outside the pool, because the hints for it do not arrive; if this worker is for it at all."""
    if task in queues:
        threading.Thread(target=_LOOPS[task], args=(runtime(),), name=f"{task} here", daemon=True).start()


@signals.worker_process_init.connect
def _child(**_: Any) -> None:
    """A prefork child runs one loop at a time, and may have to end by itself."""
    _Process.capacity, _Process.here, _Process.is_child = capacity_of_children(1), None, True
    _Process.leaving = look_after_child(runtime())


@signals.task_prerun.connect
def _listen(**_: Any) -> None:
    """Let a child end its step when it is told to; the pool's own way would look like an error of the handler."""
    if _Process.is_child and signal.getsignal(signal.SIGTERM) is not _told:
        signal.signal(signal.SIGTERM, _told)
        signal.signal(signal.SIGQUIT, _told)


def _told(signum: int, _frame: object) -> None:
    if _Process.leaving is not None:
        _Process.leaving.begin(at_once=signum == signal.SIGQUIT)


@signals.worker_shutting_down.connect
def _stop(**_: Any) -> None:
    if _Process.leaving is not None:
        _Process.leaving.begin()


@signals.worker_shutdown.connect
def _leave(**_: Any) -> None:
    """Say at once that this worker is gone; it would be noticed in 5 s."""
    if _Process.runtime is not None:
        let_go(_Process.runtime)
    if _Process.leaving is not None and _Process.leaving.code:
        os._exit(_Process.leaving.code)
