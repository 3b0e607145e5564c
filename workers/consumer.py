"""Celery's consumer, as if it had been started with --without-gossip --without-mingle --without-heartbeat.

They cost a second at the start and delay the return after a Redis restart; nothing here needs them, because the
fleet is kept in Redis.
"""

from collections.abc import Mapping
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer


class Consumer(CeleryConsumer):  # type: ignore[misc]  # Celery has no types
    """The default consumer that asks and tells its siblings nothing."""

    def __init__(self, *args: Any, worker_options: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        options = dict(worker_options or {}, without_gossip=True, without_mingle=True, without_heartbeat=True)
        super().__init__(*args, worker_options=options, **kwargs)
