"""The files of the spool: what their names say, how far each is drained, and what is done about a damaged one.

A writer, which is a process, fills one file after the other: `WRITER.NUMBER.spool`. The first bytes of a file hold the
place up to which it is drained, so that whoever goes on after a death does not begin anew; records follow. A file that
was found damaged is called `….damaged.spool` until it is drained, and then kept as `….broken` for a person.
"""

import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import BinaryIO, Final

import structlog

from receiver import records
from receiver.records import Record

_log = structlog.get_logger(__name__)
#: Magic, the place up to which it is drained, checksum of that.
_HEADER: Final = struct.Struct(">8sQI")
_MAGIC: Final = b"KSPOOL1\n"
#: The place where the first record stands.
START: Final = _HEADER.size
_NAME: Final = re.compile(r"(?P<writer>[\w-]+)\.(?P<number>\d+)(?P<damaged>\.damaged)?\.spool")


def header(drained_to: int = START) -> bytes:
    """Write down how far a file is drained."""
    return _HEADER.pack(_MAGIC, drained_to, zlib.crc32(drained_to.to_bytes(8, "big")))


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of the spool. Its writer may take it away, with what could not be written to the end: it is empty then."""

    path: Path
    writer: str
    number: int
    is_damaged: bool = False
    #: Nobody writes to it any more: its writer has begun another one, or nobody is let in now.
    is_closed: bool = False

    def pieces(self) -> Iterator["Piece"]:
        """Read what is not drained yet. What cannot be read is told of a closed one; of another it ends the reading."""
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            at = self.drained_to(file)
            file.seek(at)
            while (piece := self._piece(file, at)) is not None:
                yield piece
                at = piece.end
                file.seek(at)

    def drained_to(self, file: BinaryIO) -> int:
        """Read up to where it is drained. A header that cannot be read means: from the beginning."""
        file.seek(0)
        found = file.read(START)
        if len(found) == START:
            place = int.from_bytes(found[8:16], "big")
            if found == header(place) and place >= START:
                return place
        return START

    def settle(self, pieces: Sequence["Piece"]) -> None:
        """Note that these pieces, the last of which ends where the next drain begins, are done with."""
        try:
            with self.path.open("r+b", buffering=0) as file:
                file.write(header(pieces[-1].end))
        except FileNotFoundError:
            return
        damaged = False
        for piece in pieces:
            if piece.record is None:
                damaged |= not piece.is_torn
                self._tell(piece)
        if damaged and not self.is_damaged:
            self.path.rename(self.path.with_name(f"{self.writer}.{self.number:06}.damaged.spool"))

    def finish(self) -> bool:
        """Remove a closed file that is wholly drained, or put it aside if it was damaged; say whether it was."""
        try:
            with self.path.open("rb") as file:
                if self.drained_to(file) < os.fstat(file.fileno()).st_size:
                    return False
        except FileNotFoundError:
            return True
        if self.is_damaged:
            self.path.rename(self.path.with_name(f"{self.writer}.{self.number:06}.broken"))
        else:
            self.path.unlink()
        return True

    def waiting(self) -> tuple[int, int]:
        """Count the records that are not drained yet, and their bytes."""
        with self.path.open("rb") as file:
            file.seek(self.drained_to(file))
            # Not mapped into memory: a writer may take back what it could not write to the end.
            found = list(records.lengths(file.read()))
        return len(found), sum(found)

    def _piece(self, file: BinaryIO, at: int) -> "Piece | None":
        record = records.read(file)
        if record is not None:
            return Piece(self, file.tell(), record)
        return self._gap(file, at) if self.is_closed else None

    def _gap(self, file: BinaryIO, at: int) -> "Piece | None":
        """Tell of what stands at a place and is no record: the end, one that a death has torn, or damage."""
        file.seek(at)
        rest = file.read()
        if not rest:
            return None
        begins = records.next_readable(rest)
        lost = len(rest) if begins is None else begins
        return Piece(self, at + lost, is_torn=begins is None, lost=lost)

    def _tell(self, gap: "Piece") -> None:
        if gap.is_torn:
            _log.warning("torn record dropped from the spool", file=self.path.name, bytes=gap.lost)
        else:
            _log.error("spool file damaged, what can be read is stored", file=self.path.name, bytes=gap.lost)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file: a record, or bytes that are none."""

    segment: Segment
    #: The place behind it.
    end: int
    record: Record | None = None
    is_torn: bool = False
    #: Bytes that are no record.
    lost: int = 0

    @property
    def weight(self) -> int:
        """Bytes of what it delivers."""
        return len(self.record.delivery.body) if self.record else 0


def segments(folder: Path, *, all_closed: bool) -> list[Segment]:
    """List the files of a folder, each writer's in the order in which they were filled.

    `all_closed`: nobody is let in to write now.
    """
    found = sorted(_named(folder), key=lambda one: (one.writer, one.number))
    followers = {first.path for first, second in pairwise(found) if first.writer == second.writer}
    return [
        Segment(one.path, one.writer, one.number, one.is_damaged, all_closed or one.path in followers) for one in found
    ]


def by_writer(found: Sequence[Segment]) -> list[list[Segment]]:
    """Put each writer's files together."""
    return [list(group) for _, group in groupby(found, key=lambda one: one.writer)]


def file_name(writer: str, number: int) -> str:
    """Name a file; the names of one writer's sort by number."""
    return f"{writer}.{number:06}.spool"


def _named(folder: Path) -> Iterator[Segment]:
    for entry in os.scandir(folder):
        if name := _NAME.fullmatch(entry.name):
            yield Segment(Path(entry.path), name["writer"], int(name["number"]), bool(name["damaged"]))
