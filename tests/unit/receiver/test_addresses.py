"""Whose request it is, with and without proxies."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.addresses import client_address, neighbourhood

PROXIES = (ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48"))


def address(peer: str, forwarded: str | None = None) -> str:
    environ = {"REMOTE_ADDR": peer} if forwarded is None else {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded}
    return client_address(environ, PROXIES)


@pytest.mark.parametrize("forwarded", [None, "", "198.51.100.7", "10.0.0.9, 10.0.0.8", "nonsense"])
def test_who_is_no_proxy_is_believed_nothing(forwarded: str | None) -> None:
    assert address("203.0.113.5", forwarded) == "203.0.113.5"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("1.2.3.4, 198.51.100.7", "198.51.100.7"),
        ("1.2.3.4, 198.51.100.7, 10.0.0.2, 10.0.0.3", "198.51.100.7"),
        ("10.0.0.2,10.0.0.3", "10.0.0.2"),
        ("198.51.100.7:4711", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("2001:db8::7, 2001:db8:ffff::1", "2001:db8::7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
    ],
)
def test_a_proxys_list_is_read_from_the_right_past_all_proxies(forwarded: str, client: str) -> None:
    assert address("10.0.0.1", forwarded) == client


@pytest.mark.parametrize(
    "forwarded", ["unknown", "198.51.100.7, _hidden", "", "1.2.3.4, \x1b[2J", "1.2.3.4, 300.1.1.1"]
)
def test_what_is_no_address_ends_the_list_at_the_last_one_that_is(forwarded: str) -> None:
    assert address("10.0.0.1", forwarded) == "10.0.0.1"
    assert address("10.0.0.1", f"{forwarded}, 10.0.0.2") == "10.0.0.2"


def test_a_list_without_end_is_not_read_to_its_end() -> None:
    assert address("10.0.0.1", "198.51.100.7," + "10.0.0.2," * 50 + "10.0.0.3") == "10.0.0.2"


@pytest.mark.parametrize("peer", ["", "unix:", "unknown"])
def test_a_peer_without_an_address_has_none_whatever_it_says(peer: str) -> None:
    assert address(peer, "198.51.100.7") == ""


def test_a_proxy_that_is_seen_as_ipv6_is_the_same_one() -> None:
    assert address("::ffff:10.0.0.1", "198.51.100.7") == "198.51.100.7"


@given(st.text(max_size=60), st.text(max_size=200))
def test_no_peer_and_no_list_raise(peer: str, forwarded: str) -> None:
    assert "\n" not in address(peer, forwarded)
    assert "\n" not in address("10.0.0.1", forwarded)


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_all_of_a_64_are_one_neighbourhood(one: object, host: int) -> None:
    network = ip_network(f"{one}/64", strict=False)
    if network.network_address.ipv4_mapped is None and network[host].ipv4_mapped is None:
        assert neighbourhood(str(network[host])) == str(network)


def test_ipv4_is_a_neighbourhood_of_its_own() -> None:
    assert neighbourhood("198.51.100.7") == "198.51.100.7"
    assert neighbourhood("") == ""
