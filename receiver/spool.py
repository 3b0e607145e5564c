"""The spool: where proven deliveries lie on disk while Redis is away.

All receivers of a computer share one folder. As long as the file `in-use` stands in it, every one of them writes what
comes here instead of sending it to Redis; whoever drains takes it away when nothing is left (receiver.unspooling).

What is guaranteed:

- A delivery is answered only after its record is fsynced, and the folder too when its file is new. Those that come at
  once share one fsync; a process never has two writes to its file under way.
- A write that fails is taken back, and nothing is written behind it: the next one begins another file. A drainer may
  have read some of it before, so that a delivery whose answer was a 503 may be stored all the same, as one whose answer
  was lost on its way; one that was answered 200 is never passed over. Death in the middle of a write leaves a record
  that is torn, recognised as such by its checksum, and was answered to nobody.
- No delivery overtakes another one of its account that was answered before it came: while `in-use` stands nothing goes
  to Redis directly, and it goes away only while no writer is let in and every file is drained to its end. A writer that
  was kept waiting meanwhile finds it gone and is told to go to Redis.
- Deliveries that come at the same time have no order, here as in Redis. Receivers with folders of their own, as on
  two computers, know nothing of each other's.
"""

import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from kommo.errors import StoreUnavailable
from kommo.store.inbox import Delivery
from receiver import records
from receiver.gate import Gate
from receiver.records import Record
from receiver.segments import START, file_name, header, segments
from receiver.together import Together

_log = structlog.get_logger(__name__)
#: Bytes after which a writer begins another file: what is drained is removed a file at a time.
SEGMENT_BYTES: Final = 16 * 1024 * 1024
#: Bytes that one fsync is for, at most.
_BATCH_BYTES: Final = 16 * 1024 * 1024
#: Seconds that a request waits for its place on the disk; Kommo waits 2 s in all.
_SECONDS: Final = 1.5
#: Bytes that are written to find out whether there is room for a delivery.
_PROBE_BYTES: Final = 8192


@dataclass(frozen=True, slots=True)
class _Wish:
    record: Record
    #: Begin to use the spool if nobody does.
    begin: bool


@dataclass(frozen=True, slots=True)
class Census:
    """What lies in the folder, of all its writers."""

    deliveries: int
    bytes: int
    #: Unix seconds.
    since: float


class Spool:
    """A folder with deliveries that wait, as one process uses it; safe for threads. It is made when it is needed."""

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self.gate = Gate(folder)
        self._mark = folder / "in-use"
        self._segment_bytes = segment_bytes
        self._writer: _Writer | None = None
        #: Held while something is written. Requests of a batch do not come through the row in which threads wait.
        self._writing = threading.Lock()
        self._together: Together[_Wish, bool] = Together(
            self._write, weight=lambda wish: len(wish.record.delivery.body), most=_BATCH_BYTES
        )

    @property
    def is_used(self) -> bool:
        """Whether deliveries have to come here; a third of a microsecond."""
        return os.access(self._mark, os.F_OK)

    def put(self, delivery: Delivery, *, droppable: bool = True, tried: bool = False, begin: bool) -> bool:
        """Write a delivery down for good; False, and nothing is written, when nobody uses the spool any more.

        `begin`: use it from now on. `tried`: it may be in Redis already. `droppable` is that of Inbox.add.

        Raises:
            StoreUnavailable: the folder cannot be written; the sentence says what to do.
        """
        record = Record(delivery, time.time_ns(), droppable, tried)
        with self._explained():
            return self._together.put(_Wish(record, begin), seconds=_SECONDS)

    def take_up(self) -> bool:
        """Use the spool if a former run has left deliveries in it; say whether it is used."""
        try:
            if not self.is_used and segments(self.folder, all_closed=False):
                with self.gate.shared():
                    self._mark.touch(0o600)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unusable(error) from error
        return self.is_used

    def end(self) -> None:
        """Use it no more. Only for who is alone in the folder and has found every file drained."""
        self._mark.unlink(missing_ok=True)

    def set_aside(self, record: Record) -> Path:
        """Keep a record that Redis refuses for a person, away from those that wait."""
        path = self.folder / f"{record.delivery.id}.broken"
        with path.open("wb") as file:
            path.chmod(0o600)
            file.write(header() + records.encode(record))
            file.flush()
            os.fsync(file.fileno())
        return path

    def census(self) -> Census | None:
        """Count what lies here; None when the spool is not used."""
        try:
            since = self._mark.stat().st_mtime
            counts = [one.waiting() for one in segments(self.folder, all_closed=False)]
        except OSError:
            # Drained meanwhile, or a folder that `check` tells of.
            return None
        return Census(sum(count for count, _ in counts), sum(size for _, size in counts), since)

    def check(self) -> None:
        """Find out whether a delivery could be written now.

        Raises:
            StoreUnavailable: it could not; the sentence says what to do.
        """
        with self._explained():
            self._make_folder()
            probe = self.folder / f"{_writer_name()}.probe"
            try:
                probe.write_bytes(bytes(_PROBE_BYTES))
            finally:
                probe.unlink(missing_ok=True)

    def _write(self, wishes: Sequence[_Wish], ends: float) -> Sequence[bool]:
        begin = any(wish.begin for wish in wishes)
        if begin:
            self._make_folder()
        with self.gate.shared(), self._at_the_file(ends):
            if not self.is_used:
                if not begin:
                    return [False] * len(wishes)
                self._mark.touch(0o600)
                _log.warning("deliveries go to the spool", folder=str(self.folder))
            self._open_writer().append([records.encode(wish.record) for wish in wishes])
        return [True] * len(wishes)

    @contextmanager
    def _at_the_file(self, ends: float) -> Iterator[None]:
        """Be the only one of this process that writes. No request may be left for another one within this."""
        if not self._writing.acquire(timeout=max(0.0, ends - time.monotonic())):
            raise TimeoutError("the write before this one has taken too long")
        try:
            yield
        finally:
            self._writing.release()

    def _open_writer(self) -> "_Writer":
        if self._writer is None or self._writer.process != os.getpid():
            self._writer = _Writer(self.folder, self._segment_bytes)
        return self._writer

    def _make_folder(self) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(0o700, parents=True, exist_ok=True)
            _sync_folder(self.folder.parent)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(
            f"KOMMO_SPOOL_DIR={self.folder} cannot be written ({error.strerror or error}): "
            "make room there, or point it to a folder on a disk that the receiver may write to"
        )


class _Writer:
    """The files of this process, one after the other; for one thread at a time."""

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        self.process = os.getpid()
        self._folder = folder
        self._name = _writer_name()
        self._most = segment_bytes
        self._number = 0
        self._path = folder
        self._file: int | None = None

    def append(self, encoded: Sequence[bytes]) -> None:
        """Write records to the end of the file and down to the disk, all or none."""
        file = self._current()
        before = os.fstat(file).st_size
        try:
            _write_all(file, b"".join(encoded))
            os.fsync(file)
        except BaseException:
            # Whatever it was: half of a record may stand there.
            self._undo(file, before)
            raise

    def _current(self) -> int:
        """Give the file to write to: another one when it is full, or was drained and removed."""
        if self._file is not None:
            if _is_there(self._path, self._file) and os.fstat(self._file).st_size < self._most:
                return self._file
            self._leave()
        return self._begin()

    def _begin(self) -> int:
        self._number += 1
        self._path = self._folder / file_name(self._name, self._number)
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write_all(file, header())
            _sync_folder(self._folder)
        except OSError:
            os.close(file)
            self._path.unlink()
            raise
        self._file = file
        return file

    def _undo(self, file: int, size: int) -> None:
        """Take back what was written behind `size`, and leave the file.

        A drainer may have read it, and notes then that the file is drained up to there: what was written in its place
        would never be read.
        """
        # What cannot even be taken back is torn, or was answered to nobody.
        with suppress(OSError):
            if size > START:
                os.ftruncate(file, size)
            else:
                # Nothing else is in it, and a disk that stays full would get such a file from every write.
                self._path.unlink()
        self._leave()

    def _leave(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def _writer_name() -> str:
    # Sorts by time; a process may end and another one get its number.
    return f"{time.time_ns():019}-{os.getpid()}-{secrets.token_hex(3)}"


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _is_there(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
