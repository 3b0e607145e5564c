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
from kommo.store.answers import Answers
from kommo.store.breaker import Breaker
from kommo.store.connection import RECEIVER_ANSWER, RECEIVER_CONNECT, connect
from kommo.store.fleet import Fleet
from kommo.store.inbox import Inbox
from kommo.store.keys import Keys
from kommo.store.vault import Vault
from receiver import health, webhooks
from receiver.answers import Counting
from receiver.changed_secrets import ChangedSecrets
from receiver.installs import disconnecting, doors, installing
from receiver.installs.admission import Admission
from receiver.installs.background import Background
from receiver.installs.calls import Calls
from receiver.installs.errands import Errands
from receiver.installs.installing import Installer
from receiver.installs.state import States
from receiver.intake import Intake
from receiver.proofs_kept import KeptProofs
from receiver.spool import Spool
from receiver.storing import Storing
from receiver.strangers import Strangers
from receiver.unspooling import Unspooling, Ways

#: Without these no delivery can be proven or stored.
NEEDED = ("REDIS_URL", "KOMMO_CLIENT_ID", "KOMMO_CLIENT_SECRET")


def create_app(settings: Settings | None = None) -> Flask:
    """Make the WSGI app.

    Raises:
        SettingsError: the environment cannot be used; the text names every variable and its remedy.
    """
    if settings is None:
        if not structlog.is_configured():  # gunicorn has done it, at the level that it was given
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
    waker, strangers = Waker(publisher(settings.broker)), Strangers(settings.trusted_proxies)
    breaker, spool, kept = Breaker(), Spool(settings.spool_dir), KeptProofs(settings.spool_dir)
    accounts = Accounts(settings, redis, keys, breaker=breaker, noticed=kept.note)
    if settings.token_keys:
        kept.learn(accounts)
    intake = app.extensions["intake"] = _intake(settings, redis, spool, breaker, waker)
    changed = ChangedSecrets(connect(settings.redis_url), settings.account_id)
    app.register_blueprint(webhooks.blueprint(webhooks.Doors(intake, accounts, kept, strangers, changed)))
    app.register_blueprint(health.blueprint(health.Health(redis, Fleet(redis), keys, changed, spool)))
    app.register_blueprint(doors.blueprint(_installs(settings, accounts, redis, waker, strangers)))
    _count_answers(app, settings)
    return app


def _intake(settings: Settings, redis: Redis, spool: Spool, breaker: Breaker, waker: Waker) -> Intake:
    """Put the way of a delivery together; what a former run left in the spool is brought into Redis from now on."""
    keys, patient = Keys(settings.shards), connect(settings.redis_url)
    quick = Storing(Inbox(redis, keys), waker)
    ways = Ways(lambda: health.probe(redis, keys), Storing(Inbox(patient, keys), waker), quick)
    intake = Intake(quick, spool, breaker, Unspooling(spool, breaker, ways))
    intake.start()
    return intake


def _count_answers(app: Flask, settings: Settings) -> None:
    """Count the answers around everything, with connections of their own: no request waits for them."""
    redis = connect(settings.redis_url)
    known = Accounts(settings, redis, Keys(settings.shards))
    own = [] if settings.account_id is None else [settings.account_id]
    counting = Counting(Answers(redis), lambda: [*known.ids(), *own])
    app.extensions["answers"] = counting
    app.wsgi_app = counting.wrapping(app.wsgi_app)  # type: ignore[assignment]  # the way that Flask documents


def _installs(settings: Settings, accounts: Accounts, redis: Redis, waker: Waker, strangers: Strangers) -> doors.Doors:
    """Put the doors of installations together: requests with short deadlines, errands with patience."""
    keys, calm, errands = Keys(settings.shards), connect(settings.redis_url), Errands(redis)
    stored, shared = Accounts(settings, calm, keys), Shared.on(calm, keys)
    calls = Calls(settings, stored, shared)
    admission = Admission(errands, installing.KIND)
    installer = Installer(settings, stored, Vault(settings.token_keys), calls, shared.parking, waker, admission)
    judge = disconnecting.Disconnecting(stored, calls, Inbox(calm, keys), shared.parking, waker)
    background = Background(errands, {installing.KIND: installer, disconnecting.KIND: judge}, calls.rest)
    states = States(settings.client_secrets)
    return doors.Doors(settings, accounts, admission, background, installer, states, strangers)
