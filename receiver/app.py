"""Compose the receiver: a Flask app from the environment's settings."""

import os

import structlog
from flask import Flask

from kommo import log
from kommo.queue import Waker, publisher
from kommo.settings import Settings
from kommo.store.accounts import Accounts
from kommo.store.connection import RECEIVER_ANSWER, RECEIVER_CONNECT, connect
from kommo.store.fleet import Fleet
from kommo.store.inbox import Inbox
from kommo.store.keys import Keys
from receiver import health, webhooks

#: Without these no delivery can be proven or stored.
NEEDED = ("REDIS_URL", "KOMMO_CLIENT_ID", "KOMMO_CLIENT_SECRET")


def create_app(settings: Settings | None = None) -> Flask:
    """Make the WSGI app.

    Raises:
        SettingsError: the environment cannot be used; the text names every variable and its remedy.
    """
    if settings is None:
        log.configure()
        settings = Settings.from_environ(os.environ, need=NEEDED)
    for sentence in settings.unknown:
        structlog.get_logger(__name__).warning(sentence)

    app = Flask(__name__, static_folder=None)
    # A redirect counts as a failed delivery at Kommo: nothing may redirect, not even `//`.
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False

    redis = connect(settings.redis_url, connect_seconds=RECEIVER_CONNECT, answer_seconds=RECEIVER_ANSWER)
    keys = Keys(settings.shards)
    doors = webhooks.Doors(Inbox(redis, keys), Accounts(settings), Waker(publisher(settings.broker)))
    app.register_blueprint(webhooks.blueprint(doors))
    app.register_blueprint(health.blueprint(health.Health(redis, Fleet(redis), keys)))
    return app
