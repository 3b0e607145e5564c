"""Speak HTTP to a port in raw bytes: what clients and attackers send and no library would."""

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kommo.hooks.signature import body_signature, url_signature

ACCOUNT: Final = 31_555_001
CLIENT: Final = "c0ffee00-integration"
SECRET: Final = "present-secret-of-the-tests"
FORMER: Final = "former-secret-of-the-tests"
SIGNATURE: Final = url_signature(SECRET, CLIENT, ACCOUNT)
FORMER_SIGNATURE: Final = url_signature(FORMER, CLIENT, ACCOUNT)
DOOR: Final = f"/webhooks/{ACCOUNT}/{SIGNATURE}/"

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def lead(number: int = 1, *, at: int | None = 1_795_000_000, text: str = "Anna") -> bytes:
    """A lead that came in, as Kommo reports it; without `at` an item that carries no time."""
    time = f"&leads[add][0][last_modified]={at}" if at else ""
    return f"leads[add][0][id]={number}&leads[add][0][name]={text}{time}&account[id]={ACCOUNT}".encode()


def body_proof(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Signature": body_signature(secret, body)}


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 when the connection ended without an answer."""

    status: int
    head: str
    body: bytes


def request(head: str, body: bytes = b"") -> bytes:
    """Write a request: lines of the head as they are, Host added."""
    first, *lines = head.strip().splitlines()
    return "\r\n".join([first, "Host: hooks.example.org", *lines, "", ""]).encode("latin-1") + body


def post(path: str, body: bytes, *lines: str) -> bytes:
    return request("\n".join([f"POST {path} HTTP/1.1", f"Content-Length: {len(body)}", *lines]), body)


def chunked(path: str, *chunks: bytes, end: bytes = b"0\r\n\r\n", lines: Sequence[str] = ()) -> bytes:
    parts = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return request("\n".join([f"POST {path} HTTP/1.1", "Transfer-Encoding: chunked", *lines]), parts + end)


def speak(port: int, sent: bytes, *, ends: bool = False, seconds: float = 5.0, source: str = "127.0.0.1") -> Answer:
    """Send bytes on a connection of their own and read one answer; `ends`: nothing more will be sent.

    `source` may be any address of 127.0.0.0/8, which are all this computer.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=seconds, source_address=(source, 0)) as connection:
        try:
            connection.sendall(sent)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        except ConnectionError:
            # It has answered without reading on; the answer is still there to be read.
            pass
        return _answer(connection)


def _answer(connection: socket.socket) -> Answer:
    received = bytearray()
    while (complete := _complete(received)) is None:
        part = _receive(connection)
        if not part:
            break
        received += part
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    status = int(text.split(" ", 2)[1]) if text.startswith("HTTP/1.") else 0
    return Answer(status, text, body[:complete])


def _complete(received: bytearray) -> int | None:
    """The length of the body once all of it is there."""
    head, end, body = bytes(received).partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if end and length and len(body) >= int(length[1]):
        return int(length[1])
    return None


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except ConnectionError:
        return b""
