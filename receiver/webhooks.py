"""The webhook doors: prove the sender, store the bytes, answer. Only a body that repeats another one is decoded here.

https://developers.kommo.com/docs/webhooks-general: an answer counts within 2 s, 100-299 is a success, a redirect is
not, and more than a hundred failures in two hours may switch the webhook off.
"""

import re
import secrets
import time
from dataclasses import dataclass
from typing import Final

import structlog
from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from kommo.errors import SignatureError, StoreUnavailable
from kommo.hooks.accounts import accounts_named
from kommo.hooks.normalise import has_timeless_item
from kommo.hooks.signature import verify_account, verify_header
from kommo.queue import LOOPS, Waker
from kommo.store.accounts import Accounts
from kommo.store.inbox import QUEUE, Delivery, Inbox, Stored
from receiver.bodies import PROVEN_BYTES, UNPROVEN_BYTES, read_body

_log = structlog.get_logger(__name__)
_ACCOUNT: Final = re.compile(r"[1-9][0-9]{0,14}")
#: Longer content types are nobody's; they would only fill the inbox.
_CONTENT_TYPE_CHARS: Final = 200


@dataclass(frozen=True)
class Doors:
    """What the doors need: where deliveries go, whose they may be, and who is told."""

    inbox: Inbox
    accounts: Accounts
    waker: Waker

    def by_path(self, account: str, signature: str) -> Response:
        """Take a delivery whose URL proves the account."""
        account_id = _account_id(account)
        self._prove_url(account_id, signature)
        return self._store(account_id, read_body(request.environ, limit=PROVEN_BYTES))

    def by_header(self, account: str) -> Response:
        """Take a delivery whose header or query proves the account named in the path."""
        account_id = _account_id(account)
        if (signature := _query_signature()) is not None:
            self._prove_url(account_id, signature)
            body = read_body(request.environ, limit=PROVEN_BYTES)
        else:
            body = read_body(request.environ, limit=UNPROVEN_BYTES)
        self._prove_header(account_id, body, required=signature is None)
        return self._store(account_id, body)

    def by_body(self) -> Response:
        """Take a delivery that names its account only in its body, found before anything is decoded."""
        body = read_body(request.environ, limit=UNPROVEN_BYTES)
        named = accounts_named(body)
        if len(named) != 1:
            raise SignatureError("the body names no account, or more than one")
        account_id = named.pop()
        if (signature := _query_signature()) is not None:
            self._prove_url(account_id, signature)
        self._prove_header(account_id, body, required=signature is None)
        return self._store(account_id, body)

    def _prove_url(self, account_id: int, signature: str) -> None:
        proof = self.accounts.proof(account_id)
        verify_account(signature, secrets=proof.secrets, client_id=proof.client_id, account_id=account_id)

    def _prove_header(self, account_id: int, body: bytes, *, required: bool) -> None:
        presented = request.headers.get("X-Signature")
        if presented is None and not required:
            return
        proof = self.accounts.proof(account_id)
        verify_header(presented, secrets=proof.secrets, client_id=proof.client_id, account_id=account_id, body=body)

    def _store(self, account_id: int, body: bytes) -> Response:
        delivery = Delivery(
            id=_delivery_id(),
            account_id=account_id,
            body=body,
            content_type=request.headers.get("Content-Type", "")[:_CONTENT_TYPE_CHARS],
            received_ms=time.time_ns() // 1_000_000,
        )
        stored, wake = self.inbox.add(delivery)
        if stored is Stored.DUPLICATE and has_timeless_item(body, delivery.content_type):
            stored, wake = self.inbox.add(delivery, droppable=False)
        if wake:
            self.waker.wake(LOOPS[QUEUE])
        _log.info("delivery", delivery=delivery.id, account=account_id, bytes=len(body), outcome=stored.name.lower())
        return Response(status=200)


def blueprint(doors: Doors) -> Blueprint:
    """Make the routes; with and without the trailing slash, never a redirect."""
    routes = Blueprint("webhooks", __name__)
    for rule, view in (
        ("/webhooks/", doors.by_body),
        ("/webhooks/<account>/", doors.by_header),
        ("/webhooks/<account>/<signature>/", doors.by_path),
    ):
        # Both forms by name: left to strict_slashes, a wrong method without the slash comes out as a 404.
        for form in (rule, rule.removesuffix("/")):
            routes.add_url_rule(form, view.__name__, view, methods=["POST"], provide_automatic_options=False)
    routes.register_error_handler(SignatureError, _refused)
    routes.register_error_handler(StoreUnavailable, _not_stored)
    # Of the app, because what no route takes belongs to no blueprint.
    routes.app_errorhandler(HTTPException)(_plain)
    return routes


def _account_id(account: str) -> int:
    if not _ACCOUNT.fullmatch(account):
        raise SignatureError("the path names no account")
    return int(account)


def _query_signature() -> str | None:
    given = request.args.getlist("signature")
    if len(given) > 1:
        raise SignatureError("more than one signature")
    return given[0] if given else None


def _delivery_id() -> str:
    """Make an id that sorts by time: 48 bits of milliseconds, 80 random ones."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def _refused(error: SignatureError) -> Response:
    _log.warning("delivery refused", reason=str(error), remote=request.remote_addr)
    return Response(status=401)


def _not_stored(error: StoreUnavailable) -> Response:
    _log.error("delivery not stored: Kommo will send it again", reason=str(error))
    return Response(status=503)


def _plain(error: HTTPException) -> Response:
    """Answer without a page."""
    _log.warning("request refused", reason=error.description, status=error.code, remote=request.remote_addr)
    response = Response(status=error.code)
    if isinstance(allowed := getattr(error, "valid_methods", None), list):
        response.headers["Allow"] = ", ".join(allowed)
    return response
