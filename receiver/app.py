"""Compose the receiver: a Flask app from the environment's settings."""

import os

import structlog
from flask import Flask
from redis import Redis

from kommo import log
from kommo.api.clients import Shared
from kommo.queue import Waker, publisher
from kommo.settings import Settings
from kommo.store.accounts import Accounts
from kommo.store.connection import RECEIVER_ANSWER, RECEIVER_CONNECT, connect
from kommo.store.fleet import Fleet
from kommo.store.inbox import Inbox
from kommo.store.keys import Keys
from kommo.store.vault import Vault
from receiver import health, webhooks
from receiver.installs import disconnecting, doors, installing
from receiver.installs.admission import Admission
from receiver.installs.background import Background
from receiver.installs.calls import Calls
from receiver.installs.errands import Errands
from receiver.installs.installing import Installer
from receiver.installs.state import States

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
    inbox, waker = Inbox(redis, keys), Waker(publisher(settings.broker))
    accounts = Accounts(settings, redis, keys)
    app.register_blueprint(webhooks.blueprint(webhooks.Doors(inbox, accounts, waker)))
    app.register_blueprint(health.blueprint(health.Health(redis, Fleet(redis), keys)))
    app.register_blueprint(doors.blueprint(_installs(settings, accounts, redis, waker)))
    return app


def _installs(settings: Settings, accounts: Accounts, redis: Redis, waker: Waker) -> doors.Doors:
    """Put the doors of installations together: requests with short deadlines, errands with patience."""
    keys, calm, errands = Keys(settings.shards), connect(settings.redis_url), Errands(redis)
    stored, shared = Accounts(settings, calm, keys), Shared.on(calm, keys)
    calls = Calls(settings, stored, shared)
    admission = Admission(errands, installing.KIND)
    installer = Installer(settings, stored, Vault(settings.token_keys), calls, shared.parking, waker, admission)
    judge = disconnecting.Disconnecting(stored, calls, Inbox(calm, keys), shared.parking, waker)
    background = Background(errands, {installing.KIND: installer, disconnecting.KIND: judge}, calls.rest)
    return doors.Doors(settings, accounts, admission, background, installer, States(settings.client_secrets))
