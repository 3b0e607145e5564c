"""A plain receiver: check the signature, decode, one Celery task per event.

As in Celery's own documentation: the task is sent with `delay()`, its arguments are JSON, it is acknowledged late and
there is no result backend. The decoding is ours, so that what is compared is the way and not the decoder.
"""

import hmac
import os
from hashlib import sha256
from typing import Any

from celery import Celery
from flask import Flask, Response, abort, request
from redis import Redis

from kommo.hooks.normalise import normalise

CLIENT = os.environ.get("KOMMO_CLIENT_ID", "")
SECRET = os.environ.get("KOMMO_CLIENT_SECRET", "")

app = Flask(__name__)
celery = Celery("plain", broker=os.environ.get("REDIS_URL", "redis://").replace("unix://", "redis+socket://"))
celery.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, task_ignore_result=True)
redis = Redis.from_url(os.environ.get("REDIS_URL", "redis://"))


@app.post("/hook/<int:account_id>/<signature>/")
def hook(account_id: int, signature: str) -> Response:
    """Take a delivery: prove it, hand it on."""
    expected = hmac.new(SECRET.encode(), f"{CLIENT}|{account_id}".encode(), sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        abort(401)
    take.delay(request.get_data(as_text=True), account_id)
    return Response(status=200)


@celery.task  # type: ignore[untyped-decorator]  # Celery has no types
def take(body: str, account_id: int) -> None:
    """Decode a delivery, and make a task of each of its events."""
    for event in normalise(body.encode(), content_type="", account_id=account_id, delivery_id="plain"):
        handle.delay(event.to_record())


@celery.task  # type: ignore[untyped-decorator]  # Celery has no types
def handle(event: dict[str, Any]) -> None:
    """Handle an event: count it, as our handler does."""
    redis.incr(f"handled:{event['type']}")
