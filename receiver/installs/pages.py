"""Pages for the person who installs: what happened, and what to do. They work without scripts and show no secret."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final, Literal

from flask import Response
from jinja2 import Environment, PackageLoader, Template
from markupsafe import Markup

#: Addresses with a code, a state or a signature in them go to nobody, and nothing of theirs stays.
_HEADERS: Final = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
)
Tone = Literal["good", "wait", "bad", "plain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page: a title, sentences, what is to be done, and what Kommo answered."""

    status: int = 200
    tone: Tone = "plain"
    title: str
    text: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    todo: tuple[str, ...] = ()
    said: str = ""
    #: Seconds after which the browser loads the page anew; 0 for never.
    reload: int = 0

    def response(self) -> Response:
        """Render the page."""
        html = _template().render(page=self, style=Markup(_style()))  # noqa: S704 - our own file
        return Response(html, self.status, mimetype="text/html")


def guarded(response: Response) -> Response:
    """Add what keeps an answer of these doors out of caches, logs and frames; nothing but our own style may load."""
    response.headers.update(_HEADERS)
    response.headers["Content-Security-Policy"] = _policy()
    return response


@cache
def _template() -> Template:
    return Environment(loader=PackageLoader("receiver.installs"), autoescape=True).get_template("page.html")


@cache
def _style() -> str:
    return (files("receiver.installs") / "templates" / "page.css").read_text("utf-8").strip()


@cache
def _policy() -> str:
    digest = b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
