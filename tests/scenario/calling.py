"""Calls to the sandbox, as a person and as another integration make them."""

import json
import urllib.error
import urllib.request
from typing import Any

from sandbox import Sandbox
from tests.waiting import wait_for


def call(box: Sandbox, method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 - our own sandbox on loopback
        f"{box.url}{path}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Content-Type": "application/json", "Authorization": "Bearer scenario-token"},
    )
    return wait_for(lambda: _answer(request), every=0.3, what=f"{path} is answered")


def _answer(request: urllib.request.Request) -> Any:
    """Give the answer; None while the limit, which the program's own calls fill too, lets nobody in."""
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 429:
            raise
        return None


def command(box: Sandbox, command: str, **arguments: Any) -> Any:
    return call(box, "POST", f"/_sandbox/{command}", arguments)
