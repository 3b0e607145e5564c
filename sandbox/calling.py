"""Calls that the service makes to an integration's own addresses: one GET, sent once, its answer hardly read.

Source: https://developers.kommo.com/docs/authorization-public
"""

from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

USER_AGENT = "amoService-oAuth-Code-Sender/1.0"

#: Seconds that each step of a call may take.
DEADLINE = 3.0


def call(url: str) -> int:
    """Return the status of the answer, 0 if none came; redirects are not followed."""
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=DEADLINE)
    except (ValueError, HTTPException):
        return 0
    try:
        connection.request("GET", f"{parts.path or '/'}?{parts.query}", headers={"User-Agent": USER_AGENT})
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()
