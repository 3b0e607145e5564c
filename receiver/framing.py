"""Tell from the bytes of a request that arrive whether all of it is there. Does no I/O and judges nothing.

What is wrong counts as arrived: the server's own parser then says why it is refused, without waiting for more.
"""

import re
from enum import Enum, auto
from typing import Final

from receiver.bodies import PROVEN_BYTES, UNPROVEN_BYTES

#: Bytes of a request line and headers; what a webhook brings has a few hundred.
HEAD_BYTES: Final = 32 * 1024
#: Bytes of the line in front of a chunk.
_CHUNK_LINE_BYTES: Final = 256

_FIELDS: Final = re.compile(rb"\r\n(content-length|transfer-encoding|expect)[ \t]*:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)")
#: A path that brings its proof, so that the body may be longer.
_WITH_PROOF: Final = re.compile(rb"post /webhooks/[0-9]{1,15}/[^/? ]+/? ")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE: Final = re.compile(rb"([0-9a-f]{1,8})[ \t]*(?:;|$)", re.IGNORECASE)


class Progress(Enum):
    """How far a request has come."""

    MORE = auto()
    #: All of it is there.
    WHOLE = auto()
    #: Enough is there to refuse it; the rest is not waited for.
    ENOUGH = auto()
    #: The body's framing is one that nobody here knows: where it ends cannot be said.
    UNKNOWN_FRAMING = auto()
    #: The head is longer than any honest one.
    HEAD_TOO_LONG = auto()


class Arriving:
    """The bytes of one request so far; what follows it on a kept connection may be among them."""

    __slots__ = ("_chunk", "_end", "_head_end", "_most", "brings_proof", "data", "expects_continue")

    def __init__(self) -> None:
        self.data = bytearray()
        #: The client waits for a word before it sends the body.
        self.expects_continue = False
        #: Its path is that of a webhook with a signature.
        self.brings_proof = False
        self._head_end = 0
        self._end: int | None = None
        self._chunk = 0
        self._most = UNPROVEN_BYTES

    def feed(self, data: bytes) -> Progress:
        """Add bytes and say how far the request has come."""
        start = max(0, len(self.data) - 3)
        self.data += data
        if not self._head_end:
            found = self.data.find(b"\r\n\r\n", start)
            if found < 0:
                return Progress.HEAD_TOO_LONG if len(self.data) > HEAD_BYTES else Progress.MORE
            if found > HEAD_BYTES:
                return Progress.HEAD_TOO_LONG
            self._head_end = found + 4
            return self._read_head(bytes(self.data[: found + 2]).lower())
        return self._body_progress()

    def _read_head(self, head: bytes) -> Progress:
        self.brings_proof = _WITH_PROOF.match(head) is not None
        self._most = PROVEN_BYTES if self.brings_proof else UNPROVEN_BYTES
        lengths: list[bytes] = []
        codings: list[bytes] = []
        for field in reversed(list(_FIELDS.finditer(head))):
            if field[1] != b"expect":
                (lengths if field[1] == b"content-length" else codings).append(field[2])
            elif field[2] == b"100-continue":
                # The word is given by who gathers the request; who gets it whole must not say it again.
                self.expects_continue = True
                del self.data[field.start() : field.end()]
                self._head_end -= field.end() - field.start()
        if codings:
            self._chunk = self._head_end
            return Progress.UNKNOWN_FRAMING if lengths or codings != [b"chunked"] else self._body_progress()
        if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0] if lengths else b"0"):
            return Progress.ENOUGH
        length = int(lengths[0]) if lengths else 0
        self._end = self._head_end + length
        return Progress.ENOUGH if length > self._most else self._body_progress()

    def _body_progress(self) -> Progress:
        if self._end is None:
            return self._chunked_progress()
        return Progress.WHOLE if len(self.data) >= self._end else Progress.MORE

    def _chunked_progress(self) -> Progress:
        """Go on from chunk to chunk as far as they are there."""
        while self._chunk < len(self.data):
            line_end = self.data.find(b"\r\n", self._chunk, self._chunk + _CHUNK_LINE_BYTES)
            if line_end < 0:
                return Progress.MORE if len(self.data) - self._chunk < _CHUNK_LINE_BYTES else Progress.ENOUGH
            size = _CHUNK_SIZE.match(self.data, self._chunk, line_end)
            if not size:
                return Progress.ENOUGH
            if int(size[1], 16) == 0:
                return self._trailer_progress(line_end)
            self._chunk = line_end + 2 + int(size[1], 16) + 2
        # Small chunks weigh up to six times what they bring: twice the limit is patience enough.
        return Progress.ENOUGH if len(self.data) - self._head_end > 2 * self._most else Progress.MORE

    def _trailer_progress(self, line_end: int) -> Progress:
        """The end of the last chunk's line begins the empty line, if no trailer comes between."""
        found = self.data.find(b"\r\n\r\n", line_end)
        if found < 0:
            return Progress.MORE if len(self.data) - line_end < _CHUNK_LINE_BYTES else Progress.ENOUGH
        self._end = found + 4
        return Progress.WHOLE
