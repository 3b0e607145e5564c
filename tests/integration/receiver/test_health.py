"""Health: alive, able to store, and what else is wrong."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from kommo.store.connection import connect
from kommo.store.fleet import Fleet
from kommo.store.keys import Keys
from kommo.store.server import PrivateServer
from tests.integration.receiver.conftest import Serve
from tests.integration.receiver.wire import DOOR, lead
from tests.integration.workers.logs import Lines
from tests.waiting import wait_for


@pytest.fixture
def worker(redis: Redis) -> None:
    """A worker process that lives."""
    Fleet(redis).announce("w1", {"inbox": 1}, [], sweep_ms=900)


def ready(client: FlaskClient) -> tuple[int, dict[str, Any]]:
    answer = client.get("/health/ready")
    return answer.status_code, json.loads(answer.data)


def reasons(client: FlaskClient) -> str:
    """The reasons of a receiver that is degraded, and can store nevertheless."""
    status, told = ready(client)
    assert (status, told["status"]) == (200, "degraded")
    assert client.post(DOOR, data=lead()).status_code == 200
    return "\n".join(told["reasons"])


def test_a_process_that_answers_is_alive_whatever_else_is_wrong(serve: Serve) -> None:
    app = serve("unix:///nowhere/redis.sock")
    answer = app.test_client().get("/health/live")
    assert (answer.status_code, answer.json) == (200, {"status": "alive"})


@pytest.mark.parametrize("slash", ["", "/"], ids=["no slash", "slash"])
@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_probes_may_end_in_a_slash(client: FlaskClient, path: str, slash: str) -> None:
    answer = client.get(path + slash)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")


@pytest.mark.parametrize("path", ["/", "/health/live", "/health/ready"])
def test_probes_ask_with_get_or_head_and_change_nothing(client: FlaskClient, path: str) -> None:
    assert client.head(path).status_code == 200
    assert client.post(path).status_code == 405


def test_the_root_answers_kommos_probe_of_the_domain(client: FlaskClient) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")


@pytest.mark.usefixtures("worker")
def test_with_a_worker_and_a_durable_redis_it_is_ready(client: FlaskClient) -> None:
    assert client.get("/health/ready").json == {"status": "ready", "reasons": []}


def test_without_a_worker_deliveries_are_kept_and_it_says_so(client: FlaskClient) -> None:
    assert "no worker" in reasons(client)


def test_a_worker_that_has_not_been_seen_for_long_does_not_count(client: FlaskClient, redis: Redis) -> None:
    Fleet(redis).announce("w1", {"inbox": 1}, [], sweep_ms=900)
    redis.zadd("kommo:{fleet}:processes", {"w1": 1})
    assert "no worker" in reasons(client)


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("queue", ["inbox", "lanes", "outbox"])
def test_work_that_nobody_took_for_a_minute_is_a_reason(
    client: FlaskClient, redis: Redis, now_ms: Callable[[], int], queue: str
) -> None:
    redis.zadd(Keys().queue(queue, 0).ready, {"101": now_ms() - 61_000})
    assert "waiting for more than a minute" in reasons(client)


@pytest.mark.usefixtures("worker")
def test_work_that_is_due_later_or_since_just_now_is_none(
    client: FlaskClient, redis: Redis, now_ms: Callable[[], int]
) -> None:
    redis.zadd(Keys().queue("lanes", 0).ready, {"101": now_ms() + 900_000, "102": now_ms() - 1000})
    assert ready(client)[1]["status"] == "ready"


@pytest.fixture
def lone_client(serve: Serve, lone_server: PrivateServer) -> FlaskClient:
    return serve(lone_server.url).test_client()


def test_a_redis_without_an_append_only_file_is_a_reason(lone_client: FlaskClient, lone_server: PrivateServer) -> None:
    with connect(lone_server.url) as redis:
        redis.config_set("appendonly", "no")
    assert "append-only file" in reasons(lone_client)


def test_a_redis_that_may_evict_is_a_reason(lone_client: FlaskClient, lone_server: PrivateServer) -> None:
    with connect(lone_server.url) as redis:
        redis.config_set("maxmemory-policy", "allkeys-lru")
        assert "evict" not in reasons(lone_client)
        redis.config_set("maxmemory", "1gb")
    assert "evict" in reasons(lone_client)


@pytest.mark.usefixtures("worker")
def test_work_that_lies_in_another_number_of_shards_is_a_reason(
    serve: Serve, redis: Redis, redis_server: PrivateServer
) -> None:
    Fleet(redis).check_shards(4)
    assert "KOMMO_SHARDS" in reasons(serve(redis_server.url).test_client())


class TestRedisThatCannotStore:
    """A delivery goes to the disk and is answered 200, long before Kommo's two seconds are over."""

    def spooled(self, client: FlaskClient) -> None:
        began = time.perf_counter()
        assert client.post(DOOR, data=lead()).status_code == 200
        assert time.perf_counter() - began < 0.7
        told = reasons(client)
        assert "Redis" in told
        assert "deliveries (" in told

    def test_one_that_was_killed(self, lone_client: FlaskClient, lone_server: PrivateServer) -> None:
        assert lone_client.post(DOOR, data=lead()).status_code == 200
        lone_server.kill()
        self.spooled(lone_client)
        lone_server.start()
        wait_for(lambda: "in the spool" not in reasons(lone_client), what="the spool is empty")

    def test_one_that_was_never_there(self, serve: Serve) -> None:
        self.spooled(serve("unix:///nowhere/redis.sock").test_client())

    def test_it_is_told_how_much_lies_on_the_disk_and_since_when(self, serve: Serve) -> None:
        client = serve("unix:///nowhere/redis.sock").test_client()
        for number in range(3):
            assert client.post(DOOR, data=lead(number)).status_code == 200
        assert re.search(
            r"3 deliveries \(\d{3} bytes\) lie in the spool, used since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\+00:00",
            reasons(client),
        )

    @pytest.mark.parametrize("warm", [True, False], ids=["connected before", "not connected before"])
    def test_one_that_hangs(
        self, lone_client: FlaskClient, stalled: Callable[[PrivateServer], None], lone_server: PrivateServer, warm: bool
    ) -> None:
        if warm:
            assert lone_client.post(DOOR, data=lead()).status_code == 200
        stalled(lone_server)
        self.spooled(lone_client)

    def test_one_whose_memory_is_full(self, lone_client: FlaskClient, lone_server: PrivateServer) -> None:
        with connect(lone_server.url) as redis:
            redis.config_set("maxmemory", "1")
            self.spooled(lone_client)
            redis.config_set("maxmemory", "0")
        assert lone_client.post(DOOR, data=lead()).status_code == 200

    def test_one_that_is_a_replica(self, lone_client: FlaskClient, lone_server: PrivateServer) -> None:
        with connect(lone_server.url) as redis:
            redis.config_set("replica-serve-stale-data", "yes")
            cast(Any, redis).execute_command("REPLICAOF", "127.0.0.1", "1")
        self.spooled(lone_client)


class TestNeitherRedisNorADisk:
    """Only then a delivery is answered 503, so that Kommo sends it again."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        # Below a file no folder can be made, whoever tries.
        (tmp_path / "spool").touch()
        return tmp_path / "spool"

    @pytest.mark.usefixtures("folder")
    def test_it_is_not_ready_and_stores_nothing(self, serve: Serve, lines: Lines) -> None:
        client = serve("unix:///nowhere/redis.sock").test_client()
        for _ in range(2):
            began = time.perf_counter()
            assert client.post(DOOR, data=lead()).status_code == 503
            assert time.perf_counter() - began < 0.7
        status, told = ready(client)
        assert (status, told["status"]) == (503, "unavailable")
        assert len(told["reasons"]) == 2
        told_of = lines.saying("delivery not stored: Kommo will send it again")
        assert len(told_of) == 2
        assert all("KOMMO_SPOOL_DIR=" in line["reason"] and "make room" in line["reason"] for line in told_of)

    @pytest.mark.usefixtures("folder", "worker")
    def test_a_folder_that_cannot_be_written_is_a_reason_while_redis_is_there(self, client: FlaskClient) -> None:
        assert "KOMMO_SPOOL_DIR=" in reasons(client)


def test_asking_for_health_stores_nothing_that_stays(app: Flask, redis: Redis) -> None:
    app.test_client().get("/health/ready")
    lives = [redis.ttl(key) > 0 for key in redis.keys("*")]
    assert lives
    assert all(lives)
