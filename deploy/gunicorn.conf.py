"""How gunicorn serves the receiver: `gunicorn -c deploy/gunicorn.conf.py "receiver:create_app()"`."""

import os
import sys
from typing import Any

from kommo.errors import SettingsError
from kommo.settings import Settings
from receiver.app import NEEDED

bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"
# Threads, because a request waits only for Redis: 43 % more answers than as many single-threaded processes here. Ours
# gives a thread to a request that is there, and not to one that comes.
worker_class = "receiver.gunicorn_worker.BufferingWorker"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = 8
# Kommo waits 2 s. A worker that has not even reported for 15 s is stuck.
timeout = 15
graceful_timeout = 8
keepalive = 15
backlog = 2048
# The longest line is that of an installation: Kommo's code and our own signed state.
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
# The one that receiver/framing.py was compared with.
http_parser = "python"
# A socket in the home folder that would be everybody's.
control_socket_disable = True
logger_class = "receiver.gunicorn_logs.StructuredLogger"
proc_name = "kommo-receiver"


def on_starting(_server: Any) -> None:
    """Refuse to start with what cannot work, in one sentence instead of a traceback per worker."""
    try:
        Settings.from_environ(os.environ, need=NEEDED)
    except SettingsError as error:
        sys.exit(f"The receiver cannot start.\n{error}")
