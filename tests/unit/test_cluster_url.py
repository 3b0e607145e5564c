"""The URL of a Redis Cluster, and the broker that it needs beside it."""

import pytest

from kommo.errors import SettingsError
from kommo.settings import Settings
from kommo.variables import is_cluster, nodes_of

BROKER = "redis://127.0.0.1:6379/1"


def refusal(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(environ)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "nodes"),
    [
        ("redis+cluster://one", ["redis://one"]),
        ("redis+cluster://one:7001/0", ["redis://one:7001"]),
        ("redis+cluster://one:7001,two:7002/", ["redis://one:7001", "redis://two:7002"]),
        ("redis+cluster://:pw@one,two:7002", ["redis://:pw@one", "redis://:pw@two:7002"]),
        ("rediss+cluster://u:p%40w@one,two?ssl_cert_reqs=none",
         ["rediss://u:p%40w@one?ssl_cert_reqs=none", "rediss://u:p%40w@two?ssl_cert_reqs=none"]),
        ("redis+cluster://[::1]:7001", ["redis://[::1]:7001"]),
    ],
)  # fmt: skip
def test_a_url_names_some_of_the_nodes_with_one_set_of_credentials(url: str, nodes: list[str]) -> None:
    assert is_cluster(url)
    assert [*nodes_of(url)] == nodes
    settings = Settings.from_environ({"REDIS_URL": url, "KOMMO_BROKER_URL": BROKER})
    assert (settings.redis_url, settings.broker) == (url, BROKER)


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster:///0",
        "redis+cluster://one/1",
        "redis+cluster://one,",
        "redis+cluster://one:x",
        "redis+cluster://one:0",
        "redis+cluster://[::1",
        "redis+cluster://one:99999,two",
    ],
)
def test_one_that_names_no_node_or_another_database_is_refused_and_not_shown(url: str) -> None:
    text = refusal(REDIS_URL=url, KOMMO_BROKER_URL=BROKER)
    assert text == "REDIS_URL=*** is not the URL of a Redis Cluster: write redis+cluster://host:6379,other-host:6379"


def test_beside_a_cluster_a_broker_has_to_be_named() -> None:
    text = refusal(REDIS_URL="redis+cluster://one", KOMMO_BROKER_URL=" ", KOMMO_SHARDS="many")
    first, second = text.splitlines()
    assert first.startswith("KOMMO_SHARDS=many")
    assert second.startswith("KOMMO_BROKER_URL is not set: Celery cannot use the Redis Cluster of REDIS_URL; ")


def test_a_cluster_is_no_broker() -> None:
    text = refusal(KOMMO_BROKER_URL="redis+cluster://:pw@one")
    assert text.startswith("KOMMO_BROKER_URL=*** is a Redis Cluster, which Celery cannot use: ")


@pytest.mark.parametrize("url", ["redis://one", "rediss://one", "unix:///run/redis.sock", "cluster", ""])
def test_other_urls_are_none_of_a_cluster(url: str) -> None:
    assert not is_cluster(url)
