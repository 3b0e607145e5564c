"""The spool's folder without Redis: what is written, what a death or a full disk leaves behind, who is let in."""

import os
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kommo.errors import KommoError, StoreUnavailable
from kommo.store.inbox import Delivery
from receiver.segments import Piece, segments
from receiver.spool import Spool
from tests.integration.workers.logs import Lines, logged
from tests.unit.receiver.test_batches import run_together
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]


def delivery(number: int, body: bytes = b"leads[add][0][id]=1") -> Delivery:
    return Delivery(f"d{number:06}", 31_555_001, body, "text/plain", 1_795_000_000_000 + number)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "disk" / "spool"


@pytest.fixture
def spool(folder: Path) -> Spool:
    return Spool(folder)


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


def pieces(folder: Path, *, all_closed: bool = True) -> list[Piece]:
    return [piece for one in segments(folder, all_closed=all_closed) for piece in one.pieces()]


def ids(folder: Path) -> list[str]:
    return [piece.record.delivery.id for piece in pieces(folder) if piece.record]


def settle(folder: Path, number: int) -> None:
    """Drain so many pieces of the first file."""
    first = segments(folder, all_closed=True)[0]
    first.settle(list(first.pieces())[:number])


def test_nothing_is_made_before_it_is_needed(spool: Spool, folder: Path) -> None:
    assert not spool.is_used
    assert not spool.take_up()
    assert spool.census() is None
    assert not folder.exists()


def test_what_was_put_there_is_read_back_in_order(spool: Spool, folder: Path) -> None:
    for number in range(5):
        assert spool.put(delivery(number), droppable=number > 2, tried=number < 2, begin=True)
    found = [piece.record for piece in pieces(folder) if piece.record]
    assert [record.delivery for record in found] == [delivery(number) for number in range(5)]
    assert [(record.droppable, record.tried) for record in found] == [
        (False, True),
        (False, True),
        (False, False),
        (True, False),
        (True, False),
    ]
    assert [record.written_ns for record in found] == sorted(record.written_ns for record in found)


def test_only_the_owner_can_read_what_lies_there(spool: Spool, folder: Path) -> None:
    spool.put(delivery(1), begin=True)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_it_is_not_begun_by_who_only_follows_others(spool: Spool, folder: Path) -> None:
    spool.put(delivery(1), begin=True)
    assert spool.put(delivery(2), begin=False)
    spool.end()
    assert not spool.put(delivery(3), begin=False)
    assert ids(folder) == ["d000001", "d000002"]


def test_another_process_sees_at_once_that_it_is_used(spool: Spool, folder: Path) -> None:
    other = Spool(folder)
    spool.put(delivery(1), begin=True)
    assert other.is_used
    assert other.put(delivery(2), begin=False)
    spool.end()
    assert not other.is_used


def test_each_process_writes_to_a_file_of_its_own_and_to_another_one_when_that_is_full(folder: Path) -> None:
    one, other = Spool(folder, segment_bytes=1000), Spool(folder, segment_bytes=1000)
    for number in range(10):
        (one if number % 2 else other).put(delivery(number, b"x" * 400), begin=True)
    found = segments(folder, all_closed=False)
    assert len({segment.writer for segment in found}) == 2
    assert [segment.number for segment in found] == [1, 2] * 2
    assert [segment.is_closed for segment in found] == [True, False] * 2


def test_threads_that_come_at_once_share_an_fsync(spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(file), time.sleep(0.002), sync(file)))
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda number: spool.put(delivery(number), begin=True), range(160)))
    assert sorted(ids(folder)) == [f"d{number:06}" for number in range(160)]
    assert len(synced) < 100


def test_the_folder_is_synced_when_a_file_is_new_and_the_file_before_the_answer(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def note(file: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        sync(file)

    monkeypatch.setattr(os, "fsync", note)
    spool.put(delivery(1), begin=True)
    spool.put(delivery(2), begin=True)
    # The folder's own parent, the folder with the new file, and each delivery.
    assert synced == ["folder", "folder", "file", "file"]


def test_a_file_that_was_drained_and_removed_is_not_written_to(spool: Spool, folder: Path) -> None:
    spool.put(delivery(1), begin=True)
    settle(folder, 1)
    assert segments(folder, all_closed=True)[0].finish()
    spool.put(delivery(2), begin=True)
    assert ids(folder) == ["d000002"]


def test_draining_goes_on_where_it_stopped(spool: Spool, folder: Path) -> None:
    for number in range(5):
        spool.put(delivery(number), begin=True)
    settle(folder, 2)
    assert ids(folder) == ["d000002", "d000003", "d000004"]
    assert not segments(folder, all_closed=True)[0].finish()
    spool.put(delivery(5), begin=True)
    settle(folder, 4)
    assert segments(folder, all_closed=True)[0].finish()
    assert ids(folder) == []


def test_a_header_that_cannot_be_read_means_from_the_beginning(spool: Spool, folder: Path) -> None:
    for number in range(3):
        spool.put(delivery(number), begin=True)
    settle(folder, 2)
    (segment,) = segments(folder, all_closed=True)
    with segment.path.open("r+b") as file:
        file.seek(10)
        file.write(b"\xff")
    assert ids(folder) == ["d000000", "d000001", "d000002"]


def test_it_counts_what_lies_there_of_all_writers_and_since_when(spool: Spool, folder: Path) -> None:
    began = time.time()
    for number in range(4):
        (spool if number % 2 else Spool(folder)).put(delivery(number), begin=True)
    settle(folder, 1)
    census = spool.census()
    assert census is not None
    assert census.deliveries == 3
    assert census.bytes > 3 * len(delivery(1).body)
    assert census.since == pytest.approx(began, abs=5)


class TestDamage:
    @pytest.fixture
    def path(self, spool: Spool, folder: Path) -> Path:
        """A file with three records."""
        for number in range(3):
            spool.put(delivery(number), begin=True)
        return segments(folder, all_closed=True)[0].path

    def cut(self, path: Path, size: int) -> None:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - size)

    def spoil(self, path: Path, number: int) -> None:
        """Change a byte within a record."""
        place = path.read_bytes().index(f"d{number:06}".encode())
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"?")

    def test_a_torn_last_record_is_dropped_and_told_of_once(self, path: Path, folder: Path, lines: Lines) -> None:
        self.cut(path, 3)
        assert ids(folder) == ["d000000", "d000001"]
        settle(folder, 3)
        assert [line["file"] for line in lines.saying("torn record dropped from the spool")] == [path.name]
        assert pieces(folder) == []
        assert segments(folder, all_closed=True)[0].finish()
        assert not list(folder.glob("*.broken"))

    def test_while_its_writer_may_be_writing_it_nothing_is_said_of_an_unfinished_record(
        self, path: Path, folder: Path
    ) -> None:
        self.cut(path, 3)
        assert [piece.record is not None for piece in pieces(folder, all_closed=False)] == [True, True]

    @pytest.mark.parametrize("number", [0, 1])
    def test_around_a_damaged_record_the_others_are_read_and_the_file_is_kept(
        self, path: Path, folder: Path, lines: Lines, number: int
    ) -> None:
        self.spoil(path, number)
        before = path.read_bytes()
        assert ids(folder) == [f"d{other:06}" for other in range(3) if other != number]
        settle(folder, 3)
        assert len(lines.saying("spool file damaged, what can be read is stored")) == 1
        assert segments(folder, all_closed=True)[0].finish()
        (broken,) = folder.glob("*.broken")
        assert broken.read_bytes()[24:] == before[24:]
        assert segments(folder, all_closed=True) == []

    def test_a_writer_whose_file_was_found_damaged_goes_on_in_another_one(
        self, path: Path, folder: Path, spool: Spool
    ) -> None:
        self.spoil(path, 1)
        settle(folder, 2)
        spool.put(delivery(9), begin=True)
        assert ids(folder) == ["d000002", "d000009"]

    @pytest.mark.parametrize("size", [0, 1, 19])
    def test_a_file_without_a_whole_header_holds_nothing(self, path: Path, folder: Path, size: int) -> None:
        with path.open("r+b") as file:
            file.truncate(size)
        assert pieces(folder) == []
        assert segments(folder, all_closed=True)[0].finish()


class TestADiskThatCannotBeWritten:
    @pytest.fixture
    def full(self) -> Iterator[Callable[[int], None]]:
        """Let no file grow beyond so many bytes, as a full disk would: what fits before is written."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)

    def test_it_is_told_with_the_setting_its_value_and_what_to_do(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        spool = Spool(tmp_path / "file" / "spool")
        for attempt in (lambda: spool.put(delivery(1), begin=True), spool.check):
            with pytest.raises(StoreUnavailable, match=r"KOMMO_SPOOL_DIR=.*/file/spool cannot be written .*make room"):
                attempt()

    def test_half_a_record_is_taken_back_and_later_ones_can_be_read(
        self, spool: Spool, folder: Path, full: Callable[[int], None]
    ) -> None:
        spool.put(delivery(1), begin=True)
        full(1000)
        with pytest.raises(StoreUnavailable, match="KOMMO_SPOOL_DIR"):
            spool.put(delivery(2, b"x" * 5000), begin=True)
        spool.put(delivery(3), begin=True)
        full(resource.RLIM_INFINITY)
        spool.put(delivery(4, b"x" * 5000), begin=True)
        assert ids(folder) == ["d000001", "d000003", "d000004"]
        assert all(piece.record for piece in pieces(folder))

    def test_after_a_failed_write_nothing_is_written_to_that_file_again(
        self, spool: Spool, folder: Path, full: Callable[[int], None]
    ) -> None:
        """Joined writes end half-way, and a drainer that looks in between has read the first of them."""
        spool.put(delivery(1), begin=True)
        full(6000)
        with pytest.raises(StoreUnavailable):
            spool.put(delivery(2, b"x" * 9000), begin=True)
        full(resource.RLIM_INFINITY)
        spool.put(delivery(3), begin=True)
        assert [segment.number for segment in segments(folder, all_closed=True)] == [1, 2]

    def test_what_is_answered_after_a_failed_write_is_drained_though_the_failed_one_was_drained_as_well(
        self, spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool.put(delivery(1), begin=True)
        drained: list[str] = []
        sync = os.fsync

        def drain() -> None:
            for segment in segments(folder, all_closed=False):
                found = list(segment.pieces())
                drained.extend(piece.record.delivery.id for piece in found if piece.record)
                if found:
                    segment.settle(found)

        def fail_after_a_drain(_file: int) -> None:
            monkeypatch.setattr(os, "fsync", sync)
            drain()
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fsync", fail_after_a_drain)
        with pytest.raises(StoreUnavailable):
            spool.put(delivery(2, b"x" * 5000), begin=True)
        spool.put(delivery(3), begin=True)
        spool.put(delivery(4, b"x" * 3000), begin=True)
        drain()
        assert drained == ["d000001", "d000002", "d000003", "d000004"]
        assert all(segment.finish() for segment in segments(folder, all_closed=True))

    def test_a_disk_that_stays_full_does_not_fill_the_folder_with_files(
        self, spool: Spool, folder: Path, full: Callable[[int], None]
    ) -> None:
        spool.put(delivery(1), begin=True)
        full(2000)
        for number in range(20):
            with pytest.raises(StoreUnavailable):
                spool.put(delivery(number, b"x" * 5000), begin=True)
        assert len(segments(folder, all_closed=True)) == 1
        full(resource.RLIM_INFINITY)
        spool.put(delivery(2), begin=True)
        assert ids(folder) == ["d000001", "d000002"]

    def test_a_file_that_its_writer_has_taken_away_meanwhile_is_an_empty_one(self, spool: Spool, folder: Path) -> None:
        spool.put(delivery(1), begin=True)
        (segment,) = segments(folder, all_closed=True)
        found = list(segment.pieces())
        segment.path.unlink()
        segment.settle(found)
        assert list(segment.pieces()) == []
        assert segment.finish()
        assert list(folder.glob("*.spool")) == []

    def test_a_file_that_cannot_even_be_begun_is_not_left_behind(
        self, spool: Spool, folder: Path, full: Callable[[int], None]
    ) -> None:
        full(5)
        with pytest.raises(StoreUnavailable):
            spool.put(delivery(1), begin=True)
        assert segments(folder, all_closed=True) == []
        full(resource.RLIM_INFINITY)
        spool.put(delivery(2), begin=True)
        assert ids(folder) == ["d000002"]

    def test_a_probe_finds_out_beforehand_and_leaves_nothing(
        self, spool: Spool, folder: Path, full: Callable[[int], None]
    ) -> None:
        spool.check()
        full(100)
        with pytest.raises(StoreUnavailable, match="KOMMO_SPOOL_DIR"):
            spool.check()
        assert list(folder.iterdir()) == []


class TestSeveralWritersOfOneProcess:
    """Threads, and requests that one thread runs side by side, which do not wait in the threads' row."""

    def test_a_write_that_fails_takes_back_nothing_of_another_one(
        self, spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool.put(delivery(1), begin=True)
        under_way, go_on, sync = threading.Event(), threading.Event(), os.fsync

        def fail_when_told(_file: int) -> None:
            monkeypatch.setattr(os, "fsync", sync)
            under_way.set()
            go_on.wait(10)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", fail_when_told)
        with ThreadPoolExecutor(2) as threads:
            failing = threads.submit(spool.put, delivery(2), begin=True)
            under_way.wait(10)
            other = threads.submit(run_together, [lambda: spool.put(delivery(3), begin=True)])
            wait_for(lambda: other.done() or spool._writing.locked(), what="the other one has come")
            go_on.set()
            assert other.result(10) == [True]
            with pytest.raises(StoreUnavailable):
                failing.result(10)
        assert ids(folder) == ["d000001", "d000003"]

    def test_whoever_waits_too_long_for_another_write_is_told(self, spool: Spool, folder: Path) -> None:
        spool.put(delivery(1), begin=True)
        with spool._writing:
            (outcome,) = run_together([lambda: spool.put(delivery(2), begin=True)])
        assert isinstance(outcome, StoreUnavailable)
        assert "KOMMO_SPOOL_DIR" in str(outcome)
        assert run_together([lambda: spool.put(delivery(3), begin=True)]) == [True]
        assert ids(folder) == ["d000001", "d000003"]

    def test_what_all_of_them_were_answered_is_there_once_over_many_changes_of_the_file(self, folder: Path) -> None:
        spool = Spool(folder, segment_bytes=2000)
        answered: list[int] = []
        meeting = threading.Barrier(4)

        def put(number: int) -> None:
            try:
                spool.put(delivery(number, b"x" * 300), begin=True)
            except KommoError:
                return
            answered.append(number)

        def alone(first: int) -> None:
            meeting.wait(10)
            for number in range(first, first + 100):
                put(number)

        def side_by_side(first: int) -> None:
            meeting.wait(10)
            for number in range(first, first + 100, 4):
                failed = run_together([lambda one=one: put(one) for one in range(number, number + 4)])
                assert failed == [None] * 4

        with ThreadPoolExecutor(4) as threads:
            writers = [threads.submit(alone, 0), threads.submit(alone, 100)]
            writers += [threads.submit(side_by_side, 200), threads.submit(side_by_side, 300)]
        assert [writer.exception() for writer in writers] == [None] * 4
        assert sorted(answered) == list(range(400))
        assert sorted(ids(folder)) == [f"d{number:06}" for number in range(400)]


class TestTheGate:
    def test_writers_wait_while_somebody_is_alone_and_are_told_that_the_spool_has_ended(
        self, spool: Spool, folder: Path
    ) -> None:
        spool.put(delivery(1), begin=True)
        with ThreadPoolExecutor(1) as thread:
            with Spool(folder).gate.alone():
                waiting = thread.submit(spool.put, delivery(2), begin=False)
                wait_for(lambda: spool._together._writing, what="the writer has come")
                assert not waiting.done()
                spool.end()
            assert waiting.result(5) is False
        assert ids(folder) == ["d000001"]

    def test_writers_do_not_keep_out_who_has_to_be_alone(self, folder: Path) -> None:
        ended = threading.Event()

        def write(number: int) -> None:
            spool = Spool(folder)
            while not ended.is_set():
                spool.put(delivery(number), begin=True)

        with ThreadPoolExecutor(4) as threads:
            writers = [threads.submit(write, number) for number in range(4)]
            wait_for(lambda: folder.exists() and len(ids(folder)) > 10, what="they write")
            for _ in range(5):
                with Spool(folder).gate.alone():
                    assert len({len(ids(folder)) for _ in range(5)}) == 1
            ended.set()
        assert [writer.exception() for writer in writers] == [None] * 4

    def test_who_is_kept_out_for_too_long_says_so(self, spool: Spool, folder: Path) -> None:
        spool.put(delivery(1), begin=True)
        with Spool(folder).gate.alone(), pytest.raises(StoreUnavailable, match="another process holds"):
            spool.put(delivery(2), begin=True)

    def test_only_one_drains(self, spool: Spool, folder: Path) -> None:
        spool.put(delivery(1), begin=True)
        other = Spool(folder)
        with spool.gate.draining() as mine, other.gate.draining() as theirs:
            assert (mine, theirs) == (True, False)
        with other.gate.draining() as theirs:
            assert theirs


WRITER = """
import os, sys, threading
from pathlib import Path
from receiver.spool import Spool
from kommo.store.inbox import Delivery

spool = Spool(Path(sys.argv[1]), segment_bytes=100_000)

def write(thread):
    for number in range(10**6):
        name = f"{thread}-{number}"
        spool.put(Delivery(name, 31_555_001, b"x" * 3000, "", 0), begin=True)
        os.write(1, name.encode() + bytes([10]))

for thread in range(4):
    threading.Thread(target=write, args=(thread,)).start()
"""


@pytest.mark.parametrize("after", [20, 50, 90])
def test_whatever_was_answered_before_a_kill_can_be_read_and_at_most_the_last_write_is_torn(
    folder: Path, after: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    answered = [process.stdout.readline().decode().strip() for _ in range(after)]
    process.kill()
    answered += process.stdout.read().decode().split("\n")[:-1]
    process.stdout.close()
    process.wait(10)
    found = ids(folder)
    assert {line for line in answered if re.fullmatch(r"\d-\d+", line)} <= set(found)
    assert len(found) == len(set(found))
    assert Spool(folder).take_up()


def test_what_a_former_run_left_is_taken_up_even_without_the_mark(spool: Spool, folder: Path) -> None:
    spool.put(delivery(1), begin=True)
    spool.end()
    assert Spool(folder).take_up()
    assert spool.is_used
