"""A plain receiver: check the signature, hand the body to a Celery task that decodes it and handles what it holds.

As in Celery's own documentation: the task is sent with `delay()`, its arguments are JSON, it is acknowledged late, and
there is no result backend. The decoding is ours, so that what is compared is the way and not the decoder. A delivery of
the benchmarks holds one event, so that it is a task an event.
"""

import hmac
import os
from hashlib import sha256

from celery import Celery
from flask import Flask, Response, abort, request
from redis import Redis

from kommo.hooks.normalise import normalise

CLIENT = os.environ.get("KOMMO_CLIENT_ID", "")
SECRET = os.environ.get("KOMMO_CLIENT_SECRET", "")
REDIS_URL = os.environ.get("REDIS_URL", "redis://")

app = Flask(__name__)
celery = Celery("plain", broker=REDIS_URL.replace("unix://", "redis+socket://"))
celery.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, task_ignore_result=True)
redis = Redis.from_url(REDIS_URL)


@app.post("/hook/<int:account_id>/<signature>/")
def hook(account_id: int, signature: str) -> Response:
    """Take a delivery: prove it, hand it on."""
    expected = hmac.new(SECRET.encode(), f"{CLIENT}|{account_id}".encode(), sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        abort(401)
    handle.delay(request.get_data(as_text=True), account_id)
    return Response(status=200)


@celery.task  # type: ignore[untyped-decorator]  # Celery has no types
def handle(body: str, account_id: int) -> None:
    """Decode a delivery and handle its events: count them, as the handler of ours does."""
    for _ in normalise(body.encode(), content_type="", account_id=account_id, delivery_id="plain"):
        redis.incr("test:handled")
