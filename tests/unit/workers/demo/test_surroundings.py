"""Where the demo runs: checkout, ports, and an environment that holds nothing of the caller's account."""

import socket
from pathlib import Path

import pytest

import workers
from workers.demo.surroundings import (
    NoCheckout,
    PortTaken,
    Surroundings,
    find_checkout,
    free_ports,
    listens,
)


@pytest.fixture
def around():
    return Surroundings(folder=Path("/tmp/x"), redis_url="unix:///tmp/x/r", receiver_port=8001, sandbox_port=7301)


def test_the_checkout_is_where_the_packages_lie():
    root = find_checkout(Path(workers.__file__).parent)
    assert (root / "setup.cfg").exists()


def test_an_installed_package_says_that_the_demo_needs_a_checkout(tmp_path):
    with pytest.raises(NoCheckout, match="runs from a checkout") as caught:
        find_checkout(tmp_path / "workers")
    assert "\n" not in str(caught.value)


def test_free_ports_differ():
    ports = free_ports(0, 0, 0, 0)
    assert len(set(ports)) == 4
    assert all(ports)


def test_a_port_that_was_asked_for_is_given():
    (port,) = free_ports(0)
    assert free_ports(port, 0)[0] == port


def test_a_port_that_somebody_listens_on_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert listens(port)
        with pytest.raises(PortTaken, match=f"port {port} "):
            free_ports(port)
    assert not listens(port)


def test_nothing_of_the_callers_account_reaches_the_processes(around):
    caller = {"PATH": "/bin", "KOMMO_ACCESS_TOKEN": "t", "KOMMO_SHARDS": "3", "REDIS_URL": "redis://h", "PORT": "1"}
    assert around.environ(caller) == {"PATH": "/bin", "PYTHONUNBUFFERED": "1"}


def test_the_settings_name_the_sandbox_and_this_runs_receiver(around):
    settings = around.settings(77, "shop")
    assert settings["KOMMO_API_BASE"] == "http://127.0.0.1:7301"
    assert settings["KOMMO_PUBLIC_URL"] == "http://127.0.0.1:8001"
    assert (settings["KOMMO_ACCOUNT_ID"], settings["KOMMO_SUBDOMAIN"]) == ("77", "shop")


def test_secrets_are_made_anew_for_each_run_and_do_not_show(around):
    other = Surroundings(folder=around.folder, redis_url="", receiver_port=1, sandbox_port=2)
    assert around.client_secret != other.client_secret
    assert around.token != other.token
    assert around.client_secret not in repr(around)
    assert around.token not in repr(around)
