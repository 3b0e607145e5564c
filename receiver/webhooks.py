"""The webhook doors: prove the sender, store the bytes, answer. Nothing is decoded here.

https://developers.kommo.com/docs/webhooks-general: an answer counts within 2 s, 100-299 is a success, a redirect is
not, and more than a hundred failures in two hours may switch the webhook off.
"""

import logging
import re
import secrets
import time
from dataclasses import dataclass
from typing import Final

import structlog
from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from kommo import log
from kommo.errors import KommoError, SignatureError, StoreUnavailable
from kommo.hooks.accounts import accounts_named
from kommo.hooks.signature import check_digest, verify_account, verify_header
from kommo.store.accounts import Accounts
from kommo.store.inbox import Delivery
from kommo.store.proofs import Proof
from receiver.answers import UNPROVEN
from receiver.batches import aside
from receiver.bodies import PROVEN_BYTES, UNPROVEN_BYTES, read_body
from receiver.changed_secrets import ChangedSecrets
from receiver.intake import Intake, Taken
from receiver.proofs_kept import KeptProofs, NothingKept
from receiver.strangers import Strangers

_log = structlog.get_logger(__name__)
_ACCOUNT: Final = re.compile(r"[1-9][0-9]{0,14}")
#: Longer content types are nobody's; they would only fill the inbox.
_CONTENT_TYPE_CHARS: Final = 200


@dataclass(frozen=True)
class Doors:
    """What the doors need: where deliveries go, whose they may be, and who is told."""

    intake: Intake
    accounts: Accounts
    kept: KeptProofs
    strangers: Strangers
    changed: ChangedSecrets

    def by_path(self, account: str, signature: str) -> Response:
        """Take a delivery whose URL proves the account."""
        with self.strangers.counting(request.environ):
            account_id = _account_id(account)
            self._prove_url(account_id, signature)
        return self._store(account_id, read_body(request.environ, limit=PROVEN_BYTES))

    def by_header(self, account: str) -> Response:
        """Take a delivery whose header or query proves the account named in the path."""
        if "signature" not in request.args:
            with self.strangers.attempt(request.environ):
                account_id = _account_id(account)
                body = _unproven_body(request.headers.get("X-Signature"))
                self._prove_header(account_id, body, required=True)
            return self._store(account_id, body)
        with self.strangers.counting(request.environ):
            account_id = _account_id(account)
            self._prove_url(account_id, _query_signature())
        body = read_body(request.environ, limit=PROVEN_BYTES)
        with self.strangers.counting(request.environ):
            self._prove_header(account_id, body, required=False)
        return self._store(account_id, body)

    def by_body(self) -> Response:
        """Take a delivery that names its account only in its body, found before anything is decoded."""
        # Whose signature the query has, only the body tells: one that has proven itself lately is let in to be read.
        known = self.changed.has_proven(request.args.get("signature", ""))
        with (self.strangers.counting if known else self.strangers.attempt)(request.environ):
            signature = _query_signature() if "signature" in request.args else None
            body = _unproven_body(request.headers.get("X-Signature") if signature is None else signature)
            named = accounts_named(body)
            if len(named) != 1:
                raise SignatureError("the body names no account, or more than one")
            account_id = named.pop()
            if signature is not None:
                self._prove_url(account_id, signature)
            self._prove_header(account_id, body, required=signature is None)
        return self._store(account_id, body)

    def _prove_url(self, account_id: int, signature: str) -> None:
        try:
            proof = self._proof(account_id)
        except StoreUnavailable:
            # It was never read here, and Redis is away: after a start in that time. Of what is no account nothing is
            # kept either, so that this counts as a failed proof although it may be a good one.
            self.kept.verify(account_id, signature)
            return
        try:
            verify_account(signature, secrets=proof.secrets, client_id=proof.client_id, account_id=account_id)
        except SignatureError:
            self.changed.failed(account_id, signature, request.user_agent.string)
            raise
        self.changed.proved(account_id, signature)

    def _proof(self, account_id: int) -> Proof:
        if self.accounts.remembers_proof(account_id):
            return self.accounts.proof(account_id)
        return aside(lambda: self.accounts.proof(account_id))

    def _prove_header(self, account_id: int, body: bytes, *, required: bool) -> None:
        presented = request.headers.get("X-Signature")
        if presented is None and not required:
            return
        proof = self._proof(account_id)
        try:
            verify_header(presented, secrets=proof.secrets, client_id=proof.client_id, account_id=account_id, body=body)
        except SignatureError:
            self.changed.failed(account_id, presented or "", request.user_agent.string)
            raise
        self.changed.proved(account_id)

    def refused(self, error: SignatureError) -> Response:
        """Answer who has not proven anything; what was wrong is for the log alone."""
        if (left_out := self.strangers.line()) is not None:
            remote = self.strangers.address(request.environ)
            _log.warning("delivery refused", reason=str(error), remote=remote, left_out=left_out)
        return Response(status=401)

    def not_proven(self, error: NothingKept) -> Response:
        """Have a request sent again that is a delivery or a guess."""
        request.environ[UNPROVEN] = True
        return self.not_stored(error)

    def not_stored(self, error: KommoError) -> Response:
        """Have a delivery sent again. The lines are limited: anybody can send what cannot be proven now."""
        if (left_out := self.strangers.line()) is not None:
            _log.error("delivery not stored: Kommo will send it again", reason=str(error), left_out=left_out)
        return Response(status=503)

    def plain(self, error: HTTPException) -> Response:
        """Answer without a page."""
        if (left_out := self.strangers.line()) is not None:
            remote = self.strangers.address(request.environ)
            _log.warning(
                "request refused", reason=error.description, status=error.code, remote=remote, left_out=left_out
            )
        response = Response(status=error.code)
        if isinstance(allowed := getattr(error, "valid_methods", None), list):
            response.headers["Allow"] = ", ".join(allowed)
        return response

    def _store(self, account_id: int, body: bytes) -> Response:
        delivery = Delivery(
            id=_delivery_id(),
            account_id=account_id,
            body=body,
            content_type=request.headers.get("Content-Type", "")[:_CONTENT_TYPE_CHARS],
            received_ms=time.time_ns() // 1_000_000,
        )
        taken = self.intake.take(delivery)
        # Of what is new, a worker says `drained`; a line here as well would cost as much as storing it.
        level = logging.DEBUG if taken is Taken.NEW else logging.INFO
        if log.is_wanted(level):
            _log.log(level, "delivery", delivery=delivery.id, account=account_id, bytes=len(body), outcome=taken.value)
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
    routes.register_error_handler(SignatureError, doors.refused)
    routes.register_error_handler(StoreUnavailable, doors.not_stored)
    routes.register_error_handler(NothingKept, doors.not_proven)
    # Of the app, because what no route takes belongs to no blueprint.
    routes.app_errorhandler(HTTPException)(doors.plain)
    return routes


def _account_id(account: str) -> int:
    if not _ACCOUNT.fullmatch(account):
        raise SignatureError("the path names no account")
    return int(account)


def _query_signature() -> str:
    given = request.args.getlist("signature")
    if len(given) > 1:
        raise SignatureError("more than one signature")
    return given[0]


def _unproven_body(presented: str | None) -> bytes:
    """Read the body that a proof is needed for, unless what was presented cannot be one."""
    check_digest(presented)
    return read_body(request.environ, limit=UNPROVEN_BYTES)


def _delivery_id() -> str:
    """Make an id that sorts by time: 48 bits of milliseconds, 80 random ones."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
