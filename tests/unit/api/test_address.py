"""Which host an account's calls go to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.api.address import DOMAINS, SERVICES, api_base, is_loopback, is_service
from kommo.errors import RequestError


@pytest.mark.parametrize(
    ("subdomain", "base"),
    [
        ("acme", "https://acme.kommo.com"),
        ("ACME", "https://acme.kommo.com"),
        ("a", "https://a.kommo.com"),
        ("my-shop-2", "https://my-shop-2.kommo.com"),
        ("acme.kommo.com", "https://acme.kommo.com"),
        ("acme.amocrm.ru", "https://acme.amocrm.ru"),
        ("acme.amocrm.com", "https://acme.amocrm.com"),
        ("kommo", "https://kommo.kommo.com"),
    ],
)
def test_a_name_or_a_full_host_gives_the_accounts_own_host(subdomain, base):
    assert api_base(subdomain) == base
    assert api_base(subdomain, "") == base


@pytest.mark.parametrize("host", ["www", "WWW", *DOMAINS, *(f"www.{domain}" for domain in DOMAINS)])
def test_the_host_that_all_accounts_share_is_refused(host):
    with pytest.raises(RequestError, match="share"):
        api_base(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "acme ",
        "-acme",
        "acme-",
        "acme.example.com",
        "acme.kommo.com.evil.example",
        "evil.example/acme.kommo.com",
        "user@acme.kommo.com",
        "acme.kommo.com:444",
        "https://acme.kommo.com",
        "a.b.kommo.com",
        "acme.",
        "acme.kommo.com.",
        "акме",
        "acme\n",
        "a" * 64,
        "acme_1",
        "127.0.0.1",
        "localhost.evil.example",
    ],
)
def test_anything_that_is_no_account_is_refused(host):
    with pytest.raises(RequestError, match="no account"):
        api_base(host)


@given(st.text(max_size=30))
def test_whatever_passes_is_one_name_before_a_known_domain(text):
    try:
        base = api_base(text)
    except RequestError:
        return
    label, _, domain = base.removeprefix("https://").partition(".")
    assert domain in DOMAINS
    assert label.isascii()
    assert label != "www"


@pytest.mark.parametrize(
    ("template", "base"),
    [
        ("https://{subdomain}.test.example", "https://acme.test.example"),
        ("https://proxy.example:8443", "https://proxy.example:8443"),
        ("https://proxy.example/", "https://proxy.example"),
        ("http://127.0.0.1:7300", "http://127.0.0.1:7300"),
        ("http://localhost:7300/", "http://localhost:7300"),
        ("http://[::1]:7300", "http://[::1]:7300"),
        ("http://127.8.9.1", "http://127.8.9.1"),
    ],
)
def test_the_override_replaces_the_host(template, base):
    assert api_base("acme.amocrm.ru", template) == base


@pytest.mark.parametrize(
    "template",
    [
        "http://proxy.example",
        "http://10.0.0.1",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://{subdomain}.test.example",
    ],
)
def test_plain_http_is_for_this_computer_only(template):
    with pytest.raises(RequestError, match="in the clear"):
        api_base("acme", template)


@pytest.mark.parametrize(
    "template",
    [
        "proxy.example",
        "ftp://proxy.example",
        "https://",
        "https://u:p@proxy.example",
        "https://proxy.example/api",
        "https://proxy.example?x=1",
        "https://proxy.example#x",
        "https://proxy.example:99999",
        "https://pro xy.example",
        "https://[::1",
        "https://-.example",
        "https://@proxy.example",
        "https://proxy.example:0",
    ],
)
def test_an_override_that_is_more_or_less_than_a_host_is_refused(template):
    with pytest.raises(RequestError, match="KOMMO_API_BASE"):
        api_base("acme", template)


@pytest.mark.parametrize("template", ["https://www.kommo.com", "https://kommo.com", "https://www.amocrm.ru"])
def test_the_shared_host_is_refused_as_an_override_too(template):
    with pytest.raises(RequestError, match="share"):
        api_base("acme", template)


def test_a_placeholder_needs_an_account():
    with pytest.raises(RequestError, match="no account"):
        api_base("evil.example/", "https://{subdomain}.test.example")


def test_an_override_without_placeholder_needs_no_account():
    assert api_base("", "http://127.0.0.1:7300") == "http://127.0.0.1:7300"


@pytest.mark.parametrize(
    ("host", "answer"), [("localhost", True), ("::1", True), ("127.1.1.1", True), ("10.0.0.1", False)]
)
def test_loopback_is_this_computer(host, answer):
    assert is_loopback(host) is answer


@pytest.mark.parametrize("name", [*sorted(SERVICES), "api-b", "drive-c", "amojo-2"])
def test_kommos_own_names_are_services(name):
    assert is_service(f"{name}.kommo.com")
    assert is_service(name.upper())


@pytest.mark.parametrize("name", ["acme", "apis", "drive2", "my-api", "api-", "support-acme"])
def test_other_names_are_accounts(name):
    assert not is_service(f"{name}.kommo.com")


def test_a_service_is_called_all_the_same_where_kommo_says_so():
    assert api_base("api-c.kommo.com") == "https://api-c.kommo.com"
